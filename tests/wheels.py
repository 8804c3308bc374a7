"""Build the wheel from a copy of the checkout, and install it where nothing else of the project is."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
SOURCES = (
    'afa_mmseg', 'configs', 'tools', 'afa_mmseg_cli.py', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'model-index.yml',
    'README.md', 'LICENSE',
)  # fmt: skip


def build_wheel(folder: Path) -> Path:
    """Build the wheel in `folder`; building leaves files behind, so it is done in a copy."""
    source = folder / 'source'
    source.mkdir(parents=True)
    for name in SOURCES:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(REPO / name, source)
    pip('wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', folder, source)
    (wheel,) = folder.glob('*.whl')
    return wheel


def pip(*arguments):
    """Run pip without an index."""
    command = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check', *map(str, arguments)]
    # A PYTHONPATH that names the checkout would make pip think that the package is there.
    variables = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    subprocess.run([*command, '--no-index'], check=True, env=variables)


def make_environment(folder: Path, wheel: Path) -> Path:
    """Make an environment with the wheel and the packages of this one; return its `bin`.

    The other packages are found by a path in a `.pth` file, which does not run the `.pth` files of an editable install.
    """
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', str(folder)], check=True)
    python = folder / 'bin' / 'python'
    (site,) = (folder / 'lib').glob('python*/site-packages')
    pip('--python', python, 'install', '--no-deps', wheel)
    (site / 'stack.pth').write_text(f'{sysconfig.get_path("purelib")}\n')
    return folder / 'bin'


def environment_of(scripts: Path, **extra: str) -> dict:
    """Return the variables of a shell in which that environment is active."""
    kept = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    return {**kept, 'PATH': f'{scripts}{os.pathsep}{os.environ["PATH"]}', 'CUDA_VISIBLE_DEVICES': '-1', **extra}
