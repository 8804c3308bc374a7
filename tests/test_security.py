"""Nothing in the project loads what may run code."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FILES = sorted(path for name in ('afa_mmseg', 'tools', 'benchmarks', 'configs') for path in (REPO / name).rglob('*.py'))
#: Modules that unpickle, or are made of pickles; `pickletools` only lists what a pickle holds.
UNPICKLING = {
    'pickle', '_pickle', 'cPickle', 'cloudpickle', 'copyreg', 'dill', 'hickle', 'joblib', 'jsonpickle', 'marshal',
    'pandas', 'shelve',
}  # fmt: skip
RUNNING = {'eval', 'exec', 'compile', '__import__'}


#: An exception that torch raises; to catch it loads nothing.
HARMLESS = 'pickle.UnpicklingError'


def dangers(source):
    """Name what in a Python source may run code that comes from data."""
    tree = ast.parse(source)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    harmless = {id(node.value) for node in attributes if ast.unparse(node) == HARMLESS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in UNPICKLING and id(node) not in harmless:
            yield node.id
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_unpickling(alias))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from [node.module] * (node.module.split('.')[0] in UNPICKLING)
        elif isinstance(node, ast.Constant) and node.value in UNPICKLING:
            yield node.value  # import_module('pickle')
        elif isinstance(node, ast.Call):
            yield from dangers_of_call(node)


def dangers_of_call(node):
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    function = ast.unparse(node.func)
    if function in RUNNING:
        yield function
    if not is_constant(keywords.get('allow_pickle'), False, None):
        yield 'allow_pickle'
    if function == 'torch.load' and not is_constant(keywords.get('weights_only'), True):
        yield function
    if not is_constant(keywords.get('shell'), False, None):
        yield 'shell'


def is_unpickling(alias):
    """Whether an import is dangerous by itself; of a plain `import pickle`, the uses are looked at."""
    return alias.name.split('.')[0] in UNPICKLING and (alias.name != 'pickle' or alias.asname is not None)


def is_constant(node, *values):
    return (node.value if isinstance(node, ast.Constant) else node) in values


def test_files_are_found():
    names = {path.name for path in FILES}
    assert {'restricted_unpickler.py', 'convert_labels.py', 'train.py', 'crf.py', 'afa_mit-b1_voc.py'} <= names


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(REPO)))
def test_no_file_unpickles_or_runs_data(path):
    assert list(dangers(path.read_text(encoding='utf-8'))) == []


@pytest.mark.parametrize(
    ('source', 'found'),
    [
        ('import os, pickle as p', ['pickle']),
        ('import pickle\npickle.loads(data)', ['pickle']),
        ('import pickle\nload = pickle', ['pickle']),
        ('import pickle\ntry:\n    f()\nexcept pickle.UnpicklingError:\n    pass', []),
        ('def f():\n    from _pickle import loads', ['_pickle']),
        ('import joblib.numpy_pickle', ['joblib.numpy_pickle']),
        ("importlib.import_module('dill')", ['dill']),
        ('np.load(path, allow_pickle=True)', ['allow_pickle']),
        ('np.load(path, allow_pickle=flag)', ['allow_pickle']),
        ('np.load(path, allow_pickle=False)', []),
        ('torch.load(path)', ['torch.load']),
        ('torch.load(path, weights_only=False)', ['torch.load']),
        ("torch.load(path, map_location='cpu', weights_only=True)", []),
        ('subprocess.run(line, shell=True)', ['shell']),
        ('eval(text); model.eval()', ['eval']),
        ('import pickletools; from . import pickle', []),
    ],
)
def test_what_counts_as_dangerous(source, found):
    assert list(dangers(source)) == found
