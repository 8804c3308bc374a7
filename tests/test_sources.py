"""No file of the project runs what data says, but for those that are named here."""

import ast
import re

import pytest

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
    'afa_mmseg/datasets/preparation/pickled_labels.py': ['pickle'],  # `find_class` admits arrays only
    'afa_mmseg/models/checkpoints/trust.py': ['torch.load'],  # the user passed `--trust`
    # mmengine's loader reads by `read_checkpoint` once `guard_mmengine` was called.
    'afa_mmseg/models/checkpoints/mmengine_loading.py': ['mmengine.runner.CheckpointLoader.load_checkpoint'],
    # A config is Python; these read one of ours, or one that the user names.
    **dict.fromkeys(READS_CONFIGS, ['mmengine.config.Config.fromfile']),
}


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


def test_nothing_else_unpacks_archives():
    unpacking = re.compile(r'extractall|unpack_archive|tarfile|archive\.extract\b')
    assert [str(path) for path in FILES if unpacking.search(path.read_text(encoding='utf-8'))] == []
