"""Files that others give run no code, unless the user says so; what the sources may do is in test_sources.py."""

import io
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.models.checkpoints import guard_mmengine, read_checkpoint, read_state, set_trust, trusting
from tests.datasets.files import write_image
from tests.tiny_files import write_tiny_files
from tests.tools.toolbox import REPO

#: Tools whose `source` is something else.
NO_CHECKPOINT = {'dataset_converters/convert_labels.py'}


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return open, (str(self.flag), 'w')


@pytest.fixture
def evil(tiny, tmp_path):
    """A checkpoint of the tiny network that also makes the file `sprung` where Python's unpickler loads it."""
    content = torch.load(tiny[1], weights_only=True)
    content['meta'].update(cfg='', trap=Attack(tmp_path / 'sprung'))
    torch.save(content, tmp_path / 'evil.pth')
    return tmp_path / 'evil.pth'


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a tool in this process; its status and what it says."""

    def run(tool, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'path', [*sys.path])
        monkeypatch.setattr(signal, 'signal', lambda *_: None)  # the handlers of this process stay
        monkeypatch.setattr(sys, 'argv', [str(REPO / 'tools' / tool), *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(sys.argv[0], run_name='__main__')
        set_trust(False)
        output = capsys.readouterr()
        return end.value.code, f'{output.out}{output.err}{end.value.code}'

    return run


#: Every tool that takes a checkpoint: the command, with CONFIG and EVIL for the files.
TOOLS = [
    'train.py CONFIG --work-dir w --cfg-options load_from=EVIL',
    'train.py CONFIG --work-dir w --resume --cfg-options load_from=EVIL',
    'train.py CONFIG --work-dir . --resume',
    'test.py CONFIG EVIL --work-dir w',
    'infer.py CONFIG EVIL . --out out',
    'infer_video.py CONFIG EVIL . --out out.mp4',
    'export_onnx.py CONFIG EVIL out.onnx',
    'export_pseudo_labels.py CONFIG EVIL --out out --procs 0 --cfg-options train_dataloader.dataset.data_root=data',
    'publish_model.py EVIL out',
    'model_converters/convert_mit.py EVIL out.pth',
    'model_converters/convert_mit.py EVIL out.pth --to afa',
    'analysis_tools/replay_nonfinite.py CONFIG EVIL',
    'web_demo.py CONFIG EVIL --port 0',
]


def test_every_tool_that_takes_a_checkpoint_is_tried():
    reads = re.compile("add_argument\\(\\s*'(checkpoint|source|dump)'")
    tools = {str(path.relative_to(REPO / 'tools')) for path in (REPO / 'tools').rglob('*.py')}
    takers = {name for name in tools if reads.search((REPO / 'tools' / name).read_text(encoding='utf-8'))}
    assert takers - NO_CHECKPOINT <= {line.split()[0] for line in TOOLS}
    assert len(takers) > 6


@pytest.mark.parametrize('line', TOOLS)
def test_a_checkpoint_that_would_run_code_is_refused(line, run, tiny, evil, tmp_path):
    (tmp_path / 'iter_1.pth').write_bytes(evil.read_bytes())  # for --resume
    write_image(tmp_path / 'a.jpg')
    if 'data_root=data' in line:
        make_shapes_voc(tmp_path / 'data', num_train=1, num_val=1, size=64)
    arguments = line.replace('CONFIG', str(REPO / 'configs/afa/afa_mit-tiny_shapes.py')).replace('EVIL', str(evil))
    code, output = run(*arguments.split())
    assert code not in (0, None)
    assert 'loading that could run any code' in output
    assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize('scheme', ['', 'without its own guard', 'file backend', 'http', 'behind other schemes'])
def test_mmengine_itself_loads_no_code(scheme, evil, tmp_path, monkeypatch):
    guard_mmengine()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(
        torch.hub, 'download_url_to_file', lambda url, path, *_, **__: Path(path).write_bytes(evil.read_bytes())
    )
    if scheme == 'without its own guard':  # as OpenMMLab's, which has no `_safe_torch_load`
        unsafe = lambda file, *_, **__: torch.load(file, weights_only=False)  # noqa: E731
        monkeypatch.setattr(mmengine_checkpoint, '_safe_torch_load', unsafe)
    names = {'http': 'https://example.org/evil.pth', 'behind other schemes': 'https://example.org/evil.pth'}
    names['file backend'] = io.BytesIO(evil.read_bytes())
    loaders = {'file backend': mmengine_checkpoint._safe_torch_load}
    loaders['behind other schemes'] = mmengine_checkpoint.load_from_http
    with pytest.raises(ValueError, match='could run any code'):
        loaders.get(scheme, CheckpointLoader.load_checkpoint)(names.get(scheme, str(evil)), 'cpu')
    assert not (tmp_path / 'sprung').exists()


def test_whatever_builds_a_runner_loads_no_code(evil, tmp_path):
    code = f"""
import sys
from mmengine.config import Config
from afa_mmseg.engine import build_runner, prepare_runtime
cfg = Config.fromfile({str(REPO / 'configs/afa/afa_mit-tiny_shapes.py')!r})
for part in ('train', 'val', 'test'):
    cfg[f'{{part}}_cfg'] = cfg[f'{{part}}_dataloader'] = None
cfg.update(work_dir={str(tmp_path / 'run')!r}, load_from={str(evil)!r}, optim_wrapper=None, param_scheduler=None)
cfg.val_evaluator = cfg.test_evaluator = None
prepare_runtime(cfg, 'none')
build_runner(cfg).load_or_resume()
"""
    process = subprocess.run([sys.executable, '-c', code], cwd=REPO, capture_output=True, text=True)
    assert 'could run any code' in process.stderr
    assert not (tmp_path / 'sprung').exists()


def test_mmengines_own_checkpoints_load_without_what_would_have_to_be_made(tmp_path):
    guard_mmengine()
    hub = dict(log_scalars=dict(loss=HistoryBuffer([1.0], [1])), runtime_info=dict(iter=3, best=np.float64(2)))
    torch.save(dict(state_dict=dict(weight=torch.ones(1, 1)), message_hub=hub), tmp_path / 'a.pth')
    content = load_checkpoint(torch.nn.Linear(1, 1, bias=False), str(tmp_path / 'a.pth'))
    assert content['message_hub'] == dict(log_scalars={}, runtime_info=dict(iter=3))


@pytest.mark.parametrize(
    'line', ['publish_model.py EVIL out', 'model_converters/convert_mit.py EVIL out/a.pth --to afa']
)
def test_who_trusts_a_file_has_it_run_and_gets_one_that_needs_no_trust(line, run, evil, tmp_path):
    code, output = run(*line.replace('EVIL', str(evil)).split(), '--trust')
    assert code == 0, output
    assert (tmp_path / 'sprung').exists()
    (written,) = (tmp_path / 'out').glob('*.pth')
    assert len(read_state(written)) > 100


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'publish_model.py', 'model_converters/convert_mit.py'])
def test_trust_says_what_it_means(tool, run):
    code, output = run(tool, '--help')
    assert code == 0
    assert 'runs whatever code the file holds' in ' '.join(output.split())


def test_trust_ends_with_its_block(evil, tmp_path):
    with trusting():
        read_checkpoint(evil)
    (tmp_path / 'sprung').unlink()
    with pytest.raises(ValueError, match='could run any code'):
        read_checkpoint(evil)
    assert not (tmp_path / 'sprung').exists()
