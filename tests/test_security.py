"""Nothing in the project loads what may run code, unless its user says so."""

import ast
import io
import re
import runpy
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from afa_mmseg.datasets import read_voc_xml
from afa_mmseg.datasets.preparation.voc_tree import VOCTree
from afa_mmseg.datasets.preparation.voc_zip import open_zip
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.models.checkpoints import guard_mmengine, read_checkpoint, read_state, set_trust, trusting
from tests.datasets.files import write_picture
from tests.tiny_files import write_tiny_files
from tests.tools.toolbox import REPO

FOLDERS = ('afa_mmseg', 'tools', 'benchmarks', 'configs')
FILES = sorted([REPO / 'setup.py', *(path for name in FOLDERS for path in (REPO / name).rglob('*.py'))])
#: Modules that unpickle, or are made of pickles; `pickletools` only lists what a pickle holds.
UNPICKLING = {
    'pickle', '_pickle', 'cPickle', 'cloudpickle', 'copyreg', 'dill', 'hickle', 'joblib', 'jsonpickle', 'marshal',
    'pandas', 'shelve',
}  # fmt: skip
#: What runs code or commands that may come from data.
RUNNING = re.compile(
    r"""
    (builtins\.)?(eval|exec|compile|__import__)
    | os\.(system|popen) | subprocess\.get(status)?output | asyncio\.create_subprocess_shell
    | runpy\.\w+ | importlib\.(machinery\.SourceFileLoader|util\.spec_from_file_location)
    | pickle | yaml\.(load|full_load|unsafe_load)(_all)?
    | torch\.(load|serialization\.load|jit\.load|hub\.load\w*)
    | (mmcv|mmengine)(\.fileio)?(\.io)?\.load | mmengine\.(\w+\.)*load_checkpoint
    | mmengine\.(\w+\.)*Config\.from(file|string)
    """,
    re.VERBOSE,
)
#: Arguments that are dangerous unless false: in any call by name, in these also by place.
SWITCHES = [('allow_pickle', r'numpy\.(\w+\.)*load', 2), ('shell', r'subprocess\.\w+', 8)]
#: An exception that torch raises; to catch it loads nothing.
HARMLESS = 'pickle.UnpicklingError'

READS_CONFIGS = [
    'afa_mmseg/engine/options.py', 'benchmarks/_inputs.py', 'benchmarks/inference.py', 'benchmarks/loading.py',
    'benchmarks/soak.py', 'benchmarks/train_step.py', 'tools/quickstart_report.py',
]  # fmt: skip
#: What stays, and why.
ALLOWED = {
    'setup.py': ['exec'],  # our own version.py, which the package also imports
    'afa_mmseg/models/checkpoints/trust.py': ['torch.load'],  # the user passed `--trust`
    # mmengine's loader reads by `read_checkpoint` once `guard_mmengine` was called.
    'afa_mmseg/models/checkpoints/mmengine_loading.py': ['mmengine.runner.CheckpointLoader.load_checkpoint'],
    # A config is Python; these read one of ours, or one that the user names.
    **dict.fromkeys(READS_CONFIGS, ['mmengine.config.Config.fromfile']),
}
#: Tools whose `source` is something else.
NO_CHECKPOINT = {'dataset_converters/convert_labels.py'}


def dangers(source):
    """Name what in a Python source may run code that comes from data."""
    nodes = list(ast.walk(ast.parse(source)))
    bound = {name: origin for node in nodes for name, origin in imports(node)}
    safe = {id(part) for node in nodes for part in safe_parts(node, bound)}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from unpickling_imports(node)
        elif isinstance(node, ast.Constant) and node.value in UNPICKLING:
            yield node.value  # import_module('pickle')
        elif isinstance(node, ast.Call):
            yield from dangerous_switches(node, full_name(node.func, bound))
        elif id(node) not in safe and RUNNING.fullmatch(full_name(node, bound)):
            yield full_name(node, bound)


def imports(node):
    """The names that an import binds, each with what it stands for."""
    if isinstance(node, ast.ImportFrom):
        module = '.' * node.level + (node.module or '')
        yield from ((alias.asname or alias.name, f'{module}.{alias.name}') for alias in node.names)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.split('.')[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)


def full_name(node, bound):
    """What a name or attribute stands for, as far as imports tell: `np.load` is `numpy.load`."""
    if isinstance(node, ast.Attribute):
        return f'{full_name(node.value, bound)}.{node.attr}'
    return bound.get(node.id, node.id) if isinstance(node, ast.Name) else ''


def safe_parts(node, bound):
    """Functions that are called with `weights_only=True`, and the module of the harmless exception."""
    if isinstance(node, ast.Call) and is_constant(argument(node, 'weights_only'), True):
        yield node.func
    elif isinstance(node, ast.Attribute) and full_name(node, bound) == HARMLESS:
        yield node.value


def unpickling_imports(node):
    """Modules that unpickle; of a plain `import pickle`, the uses are looked at."""
    if isinstance(node, ast.ImportFrom):
        names = [] if node.level else [node.module]
    else:
        names = [alias.name for alias in node.names if alias.name != 'pickle']
    return [name for name in names if name.split('.')[0] in UNPICKLING]


def dangerous_switches(call, function):
    for switch, pattern, place in SWITCHES:
        positional = call.args[place:] if re.fullmatch(pattern, function) else []
        if not is_constant(argument(call, switch, positional), False, None):
            yield switch


def argument(call, name, positional=()):
    """What a call passes under a name, else the first of some positional arguments."""
    return next(iter([*(keyword.value for keyword in call.keywords if keyword.arg == name), *positional]), None)


def is_constant(node, *values):
    return (node.value if isinstance(node, ast.Constant) else node) in values


def test_files_are_found():
    names = {path.relative_to(REPO).as_posix() for path in FILES}
    assert ALLOWED.keys() <= names
    assert {'tools/train.py', 'afa_mmseg/functional/crf.py', 'configs/afa/afa_mit-b1_voc.py'} <= names


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(REPO)))
def test_no_file_unpickles_or_runs_data(path):
    assert list(dangers(path.read_text(encoding='utf-8'))) == ALLOWED.get(path.relative_to(REPO).as_posix(), [])


@pytest.mark.parametrize(
    ('source', 'found'),
    [
        ('import os, pickle as p\np.loads(data)', 'pickle'),
        ('import pickle\npickle.loads(data)', 'pickle'),
        ('import pickle\nload = pickle', 'pickle'),
        ('from pickle import loads as read', 'pickle'),
        ('def f():\n    from _pickle import loads', '_pickle'),
        ('import joblib.numpy_pickle', 'joblib.numpy_pickle'),
        ('import joblib\njoblib.load(path)', 'joblib'),
        ('import shelve as s\ns.open(path)', 'shelve'),
        ('from marshal import loads\nloads(data)', 'marshal'),
        ("importlib.import_module('dill')", 'dill'),
        ('np.load(path, allow_pickle=True)', 'allow_pickle'),
        ('np.load(path, allow_pickle=flag)', 'allow_pickle'),
        ('import numpy as np\nnp.load(path, None, True)', 'allow_pickle'),
        ('from numpy import load as read\nread(path, None, flag)', 'allow_pickle'),
        ('torch.load(path)', 'torch.load'),
        ('torch.load(path, weights_only=False)', 'torch.load'),
        ('torch.load(path, **settings)', 'torch.load'),
        ('from functools import partial\nimport torch as t\nread = partial(t.load)', 'torch.load'),
        ('from torch import load\nload(path)', 'torch.load'),
        ('import torch.serialization\ntorch.serialization.load(path)', 'torch.serialization.load'),
        ('from torch import serialization as s\ns.load(path)', 'torch.serialization.load'),
        ('from torch import jit\njit.load(path)', 'torch.jit.load'),
        ('torch.hub.load_state_dict_from_url(url)', 'torch.hub.load_state_dict_from_url'),
        ("import mmengine\nmmengine.load('a.pkl')", 'mmengine.load'),
        ('from mmengine.fileio import load\nload(path)', 'mmengine.fileio.load'),
        ('from mmengine.runner import load_checkpoint\nload_checkpoint(m, p)', 'mmengine.runner.load_checkpoint'),
        ('from mmengine import Config as C\nC.fromstring(text, ".py")', 'mmengine.Config.fromstring'),
        ('from mmengine.config import Config\nConfig.fromfile(path)', 'mmengine.config.Config.fromfile'),
        ('import yaml\nyaml.load(text, yaml.Loader)', 'yaml.load'),
        ('from yaml import unsafe_load as read\nread(text)', 'yaml.unsafe_load'),
        ('import os\nos.system(line)', 'os.system'),
        ('from os import popen as p\nlines = p(line).read()', 'os.popen'),
        ('import subprocess as s\ns.getoutput(line)', 'subprocess.getoutput'),
        ('subprocess.run(line, shell=True)', 'shell'),
        ('from subprocess import Popen\nPopen(line, -1, None, None, None, None, None, True, True)', 'shell'),
        ('import runpy\nrunpy.run_path(path)', 'runpy.run_path'),
        ('eval(text); model.eval()', 'eval'),
        ('import builtins as b\nb.eval(text)', 'builtins.eval'),
        ('exec(text)', 'exec'),
        ('run = exec', 'exec'),
        ('compile(text, name, "exec")', 'compile'),
        ('__import__(name)', '__import__'),
    ],
)
def test_what_may_run_data_is_found(source, found):
    assert list(dangers(source)) == [found]


@pytest.mark.parametrize(
    'source',
    [
        'import pickle\ntry:\n    f()\nexcept pickle.UnpicklingError:\n    pass',
        'import pickletools; from . import pickle; from .pickle import load',
        'import json\njson.load(file)',
        'from json import load\nload(file)',
        'from .reading import load\nload(file)',
        'import numpy as np\nnp.load(path)\nnp.load(path, None, False)\nnp.load(path, allow_pickle=False)',
        "import torch\ntorch.load(path, map_location='cpu', weights_only=True)",
        'from torch import load\nload(path, weights_only=True)',
        'import subprocess\nsubprocess.run([program, path], check=True)\nsubprocess.run(words, shell=False)',
        'import os, platform\nos.path.exists(path)\nplatform.system()',
        'import re, torch\nre.compile(pattern)\ntorch.compile(model)',
        'from re import compile\ncompile(pattern)',
        'import ast\nast.literal_eval(text)',
        'import yaml\nyaml.safe_load(text)',
        'model.load(path)\nmodel.eval()\nself.exec()\nmodel.load_state_dict(state)',
        'from mmengine import Config\nConfig(dict())',
    ],
)
def test_what_only_looks_like_it_is_not(source):
    assert list(dangers(source)) == []


# Files that others give


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
    write_picture(tmp_path / 'a.jpg')
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


@pytest.mark.parametrize(
    'name', ['../out.png', '/tmp/out.png', 'C:/out.png', 'SegmentationClassAug/../../a.png', 'link']
)
def test_archives_cannot_write_outside_their_target(name, tmp_path):
    entry = zipfile.ZipInfo('SegmentationClassAug/a.png' if name == 'link' else name)
    if name == 'link':
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr(entry, '/etc')
    with pytest.raises(ValueError, match='lead out of the folder.*nothing was unpacked'):
        open_zip(VOCTree(tmp_path / 'VOC2012'), tmp_path / 'a.zip')


def test_nothing_else_unpacks_archives():
    unpacking = re.compile(r'extractall|unpack_archive|tarfile|archive\.extract\b')
    assert [str(path) for path in FILES if unpacking.search(path.read_text(encoding='utf-8'))] == []


def test_an_annotation_with_entities_is_refused(tmp_path):
    (tmp_path / 'a.xml').write_text('<!DOCTYPE a [<!ENTITY b "dog">]><a><object><name>&b;</name></object></a>')
    with pytest.raises(ValueError, match=r"a\.xml: .*document type 'a', which no annotation needs"):
        read_voc_xml(tmp_path / 'a.xml')
