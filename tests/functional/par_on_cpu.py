"""Compare PAR's Triton kernels with goldens and with the eager implementation, in Triton's interpreter, on a CPU.

Triton reads TRITON_INTERPRET when it is imported: this runs in a process of its own. Prints one JSON object, the
largest difference of each case.
"""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

REPO = Path(__file__).resolve().parents[2]
if __name__ == '__main__':  # `functional` needs torch only: leave out the package's own imports, which take seconds
    sys.modules['afa_mmseg'] = ModuleType('afa_mmseg')
    sys.modules['afa_mmseg'].__path__ = [str(REPO / 'afa_mmseg')]

from afa_mmseg.functional import par, par_triton  # noqa: E402

GOLDENS = ('40x56_c3', '40x56_c3_highmask', '64x64_c3_lowmask', '96x96_flat')
#: Batch, channels, height, width, dilations.
SHAPES = (
    (1, 1, 1, 1, (1, 2)),
    (1, 21, 9, 11, (1, 2, 4, 8, 12, 24)),
    (2, 5, 11, 13, (1, 3, 7)),
    (3, 2, 9, 1, (2,)),
    (1, 8, 8, 8, (24, 48)),  # larger than the image
    (1, 3, 1, 70, (1, 2, 4)),
)


def golden_differences():
    for name in GOLDENS:
        with np.load(REPO / f'tests/data/par_{name}.npz') as file:
            data = {key: torch.from_numpy(np.array(value)) for key, value in file.items()}
        for key in (key for key in data if key.startswith('out_it')):
            out = par(data['imgs'], data['masks'], num_iters=int(key[len('out_it') :]), implementation='triton')
            yield f'golden {name} {key}', out, data[key]


def both(image, cam, *settings):
    return (par(image, cam, *settings, implementation=how) for how in ('triton', 'eager'))


def shape_differences():
    generator = torch.Generator().manual_seed(0)
    for batch, channels, height, width, dilations in SHAPES:
        image = torch.rand(batch, 3, height, width, generator=generator)
        cam = torch.randn(batch, channels, height, width, generator=generator)
        yield (f'shape {batch}x{channels}x{height}x{width}', *both(image, cam, dilations, 3))


def other_differences():
    image, cam = torch.rand(1, 3, 12, 10), torch.rand(1, 2, 12, 10)
    before = cam.clone()
    par(image, cam, (1, 2), 3, implementation='triton')
    yield 'input is kept', cam, before
    yield 'no iteration', par(image, cam, (1, 2), 0, implementation='triton'), cam
    yield ('strided', *both(image.transpose(2, 3), cam.transpose(2, 3), (1, 2), 2))
    yield ('half precision', *both(image, cam.half(), (1, 2), 2))


def main():
    differences = {}
    for cases, pixels in ((golden_differences, 1024), (shape_differences, par_triton.PIXELS), (other_differences, 64)):
        par_triton.PIXELS = pixels  # large blocks for speed: the interpreter's time goes by programs
        for name, out, expected in cases():
            assert out.dtype == expected.dtype
            differences[name] = float((out.float() - expected.float()).abs().max())
    json.dump(differences, sys.stdout)


if __name__ == '__main__':
    main()
