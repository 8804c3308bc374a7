"""Importing the package: a clear message without the mm* stack, registration from anywhere."""

import os
import subprocess
import sys

import pytest

from tests.wheels import REPO, build_wheel, pip

GOOD = dict(mmengine='0.10.4', mmcv='2.1.0', mmseg='1.2.2')
REGISTERED = dict(
    MODELS=['AttnMixVisionTransformer', 'AFAHead', 'AFA', 'AffinityPseudoLabeler', 'PAR', 'PAMR', 'ToCo', 'ToCoHead'],
    DATASETS=['ImageLevelDataset', 'VOCImageLevelDataset'],
    HOOKS=['AverageNormStatsHook', 'ShutdownHook'],
    OPTIM_WRAPPERS=['CPUAmpOptimWrapper'],
)


def write_stubs(folder, versions=GOOD, utils='', distributions=()):
    """Write modules that look like the mm* packages; ``utils`` is the code of ``mmseg.utils``."""
    for name, version in versions.items():
        (folder / name).mkdir()
        (folder / name / '__init__.py').write_text(f'__version__ = {version!r}\n')
    if 'mmseg' in versions:
        (folder / 'mmseg' / 'utils.py').write_text(utils)
    for name in distributions:
        info = folder / f'{name.replace("-", "_")}-9.9.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n')


def import_error(stubs, root=REPO):
    """Import the package where nothing but ``stubs`` is installed; return the message of its ImportError."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(stubs), str(root)])}
    code = 'try:\n    import afa_mmseg\nexcept ImportError as error:\n    print(error)'
    command = [sys.executable, '-S', '-c', code]  # -S: no site-packages
    process = subprocess.run(command, cwd=stubs, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def without(name):
    return {key: version for key, version in GOOD.items() if key != name}


#: What is installed, and what the message must hold.
PROBLEMS = {
    **{
        f'no {name}': (dict(versions=without(name)), [f'{name} is not installed', f'pip install -e "{REPO}[onedl]"'])
        for name in GOOD
    },
    'nothing': (dict(versions={}), [f'{name} is not installed' for name in GOOD]),
    **{
        f'old {name}': (dict(versions={**GOOD, name: old}), [f'{name} {old} ', minimum])
        for name, old, minimum in (
            ('mmengine', '0.9.1', '0.10.0'),
            ('mmcv', '1.7.2', '2.0.0'),
            ('mmseg', '1.1.2', '1.2.0'),
        )
    },
    'mmcv without operators': (dict(utils='import mmcv._ext'), ["'mmcv._ext'", 'MMCV_WITH_OPS=1 pip install']),
    'no ftfy': (dict(utils='import ftfy'), ["'ftfy'", 'pip install ftfy regex']),
    'no pkg_resources': (dict(utils='import pkg_resources'), ["'pkg_resources'", 'pip install "setuptools<81"']),
    'incompatible': (
        dict(utils='assert False, "MMCV==2.9 is"'),
        ['mmseg is installed', 'AssertionError: MMCV==2.9 is'],
    ),
    'OpenMMLab': (
        dict(versions=without('mmseg'), distributions=['mmcv', 'mmengine']),
        [f'pip install -e "{REPO}[openmmlab]"'],
    ),
    'both families': (
        dict(versions=without('mmseg'), distributions=['mmcv', 'onedl-mmcv']),
        ['onedl-mmcv and mmcv both install', 'pip uninstall -y onedl-mmengine mmengine onedl-mmcv mmcv'],
    ),
}


@pytest.mark.parametrize(('stubs', 'words'), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_with_the_packages_is_named_with_its_remedy(tmp_path, stubs, words):
    write_stubs(tmp_path, **stubs)
    message = import_error(tmp_path)
    assert [word for word in words if word not in message] == [], message
    assert ('[onedl]' in message) != ('[openmmlab]' in message)


def test_a_system_with_fewer_signals_will_do():
    code = """
import signal, mmseg, mmpretrain
for name in ('SIGUSR1', 'SIGHUP', 'SIGCHLD'):  # Windows has none of these
    delattr(signal, name)
from afa_mmseg.engine import shutdown
assert shutdown.SIGNALS == (signal.SIGINT, signal.SIGTERM)
"""
    subprocess.run([sys.executable, '-c', code], cwd=REPO, check=True)


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A throw-away, non-editable install."""
    folder = tmp_path_factory.mktemp('install')
    pip('install', '--no-deps', '--target', folder / 'target', build_wheel(folder))
    return folder / 'target'


def test_message_of_an_install_names_the_distribution(tmp_path, installed):
    write_stubs(tmp_path, without('mmseg'))
    assert 'pip install "afa-mmseg[onedl]"' in import_error(tmp_path, installed)


def test_a_config_registers_everything_from_any_folder(tmp_path, installed):
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['afa_mmseg'])\n")
    code = f"""
from mmengine.config import Config
Config.fromfile('config.py')
import sys
from importlib import metadata
import mmseg.registry
package = sys.modules['afa_mmseg']
assert package.__file__.startswith({str(installed)!r}), package.__file__
assert package.__version__ == metadata.version('afa-mmseg')
for registry, names in {REGISTERED!r}.items():
    for name in names:
        found = getattr(mmseg.registry, registry).get(name)
        assert found is not None and found.__module__.startswith('afa_mmseg.'), (name, found)
"""
    environment = {**os.environ, 'PYTHONPATH': str(installed)}
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-2000:]
