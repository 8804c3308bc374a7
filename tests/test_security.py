"""Files from others run no code, in every tool that reads a checkpoint, and write nowhere else."""

import re

import pytest
import torch

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from tests.datasets.files import write_image
from tests.refusal import refuse_command
from tests.tiny_files import write_tiny_files
from tests.tools.toolbox import REPO

#: Tools whose `source` is something else.
NO_CHECKPOINT = {'dataset_converters/convert_labels.py', 'dataset_converters/check_dataset.py'}
CONFIG = str(REPO / 'configs/afa/afa_mit-tiny_shapes.py')
#: Every tool that reads a checkpoint: the command, with CONFIG and EVIL for the files.
TOOLS = [
    'train.py CONFIG --work-dir w --cfg-options DATA load_from=EVIL',
    'train.py CONFIG --work-dir w --resume --cfg-options DATA load_from=EVIL',
    'train.py CONFIG --work-dir . --resume',
    'test.py CONFIG EVIL --work-dir w',
    'infer.py CONFIG EVIL . --out out',
    'infer_video.py CONFIG EVIL . --out out.mp4',
    'analysis_tools/error_profile.py CONFIG EVIL',
    'export_onnx.py CONFIG EVIL out.onnx',
    'export_pseudo_labels.py CONFIG EVIL --out out --procs 0 --cfg-options train_dataloader.dataset.data_root=data',
    'publish_model.py EVIL out --license other',
    'model_converters/convert_mit.py EVIL out.pth',
    'model_converters/convert_vit.py EVIL out.pth',
    'model_converters/convert_efficientnet_lite.py EVIL out.pth',
    'web_demo.py CONFIG EVIL --port 0',
]
DATA = ' '.join(f'{part}_dataloader.dataset.data_root=data' for part in ('train', 'val', 'test'))


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return open, (str(self.flag), 'w')


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    return write_tiny_files(tmp_path_factory.mktemp('tiny'))


@pytest.fixture
def evil(tiny, tmp_path):
    """A checkpoint of the tiny network that also makes the file `sprung` where Python's unpickler loads it."""
    content = torch.load(tiny[1], weights_only=True)
    content['meta'].update(cfg='', trap=Attack(tmp_path / 'sprung'))
    torch.save(content, tmp_path / 'evil.pth')
    return tmp_path / 'evil.pth'


def test_every_tool_that_reads_a_checkpoint_is_tried():
    reads = re.compile("add_argument\\(\\s*'(checkpoint|source|dump)'")
    tools = {str(path.relative_to(REPO / 'tools')) for path in (REPO / 'tools').rglob('*.py')}
    readers = {name for name in tools if reads.search((REPO / 'tools' / name).read_text(encoding='utf-8'))}
    assert readers - NO_CHECKPOINT <= {line.split()[0] for line in TOOLS}
    assert len(readers) > 6


@pytest.mark.parametrize('line', TOOLS)
def test_a_checkpoint_that_would_run_code_is_refused(line, evil, tmp_path, monkeypatch, capsys):
    (tmp_path / 'iter_1.pth').write_bytes(evil.read_bytes())  # for --resume
    write_image(tmp_path / 'a.jpg')
    make_shapes_voc(tmp_path / 'data', num_train=1, num_val=1, size=64)
    arguments = line.replace('CONFIG', CONFIG).replace('EVIL', str(evil)).replace('DATA', DATA).split()
    monkeypatch.chdir(tmp_path)
    message = refuse_command(monkeypatch, capsys, *arguments)
    assert re.search(r'(evil|iter_1)\.pth is refused.*\n *Ask its author for the bare state dict', message)
    assert not (tmp_path / 'sprung').exists()
