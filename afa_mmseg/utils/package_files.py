"""Files of the project that are no modules: its configs, in a checkout or in an installed package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def config_folder() -> Path:
    """Return the folder that holds `afa/`, `toco/` and `_base_/`.

    That is `.mim/configs` of a package that was installed as a wheel, and `configs` of a checkout.

    Raises:
        FileNotFoundError: Neither exists.
    """
    folders = (PACKAGE / '.mim/configs', PACKAGE.parent / 'configs')
    for folder in folders:
        if (folder / 'afa').is_dir():
            return folder
    raise FileNotFoundError(
        f'no configs in {" or ".join(map(str, folders))}: install the package as a wheel, or from a checkout '
        '(pip install -e .)'
    )
