"""Layers: what a folder of the package may import."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'afa_mmseg'
#: Folders that work with any method, and what they may import from `models`.
GENERIC = ('apis', 'engine', 'evaluation', 'utils', 'visualization', 'web')
CONTRACTS = {
    'Attention', 'CamOutput', 'Classification', 'Explanation', 'ImageLevelSegmentor', 'MaxScaleTTAModel',
    'PseudoLabeler', 'Refiner', 'to_original',
}  # fmt: skip


def files_of(*folders):
    return sorted(path for folder in folders for path in (PACKAGE / folder).rglob('*.py'))


def imports_of(path):
    """Yield (module, name) of all imports of a file, relative ones resolved; the name is None for `import module`."""
    package = ['afa_mmseg', *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = '.'.join([*base, *(node.module or '').split('.')]).rstrip('.')
            yield from ((module, alias.name) for alias in node.names)


def label(path):
    return str(path.relative_to(PACKAGE))


def test_files_are_found():
    assert {'par.py', 'cam.py', 'affinity.py'} <= {path.name for path in files_of('functional')}
    assert {path.relative_to(PACKAGE).parts[0] for path in files_of(*GENERIC)} == set(GENERIC)


@pytest.mark.parametrize('path', files_of('functional'), ids=label)
def test_functional_imports_torch_and_itself_only(path):
    allowed = {'torch', *sys.stdlib_module_names}
    if path.name == 'par_triton.py':
        allowed.add('triton')  # comes with torch on CUDA; imported when used
    foreign = [
        module
        for module, _ in imports_of(path)
        if module.split('.')[0] not in allowed and not module.startswith('afa_mmseg.functional')
    ]
    assert foreign == []


@pytest.mark.parametrize('path', files_of(*GENERIC), ids=label)
def test_generic_folders_import_no_concrete_method(path):
    methods = [
        f'{module}.{name}'
        for module, name in imports_of(path)
        if module.startswith('afa_mmseg.models')
        and not module.startswith('afa_mmseg.models.checkpoints')
        and name not in CONTRACTS
    ]
    assert methods == []


@pytest.mark.parametrize('path', files_of('utils'), ids=label)
def test_utils_import_nothing_else_of_the_package(path):
    ours = [module for module, _ in imports_of(path) if module.startswith('afa_mmseg')]
    assert [module for module in ours if not module.startswith('afa_mmseg.utils')] == []
