"""The permutohedral lattice: what it takes to build one, and to filter with it."""

from typing import NamedTuple

import torch
from _bench import Bench, make_parser, parse_args
from _inputs import make_scene

from afa_mmseg.functional.permutohedral import PermutohedralLattice, bilateral_features


class Setting(NamedTuple):
    """Images, standard deviations of their bilateral filter, and how many channels are filtered at once."""

    use: str
    batch: int
    size: tuple[int, int]
    sigma_rgb: float
    sigma_xy: float
    channels: tuple[int, ...]


SETTINGS = (
    Setting('CRF', 1, (375, 500), 5.0, 64.0, (1, 21)),
    Setting('energy loss', 2, (256, 256), 15.0, 50.0, (21,)),
)


def run_setting(bench: Bench, setting: Setting, scale: float) -> None:
    """Time the lattice of one setting; `scale` shrinks images and distances together."""
    height, width = (max(round(side * scale), 1) for side in setting.size)
    image = make_scene(setting.batch, (height, width))[0].to(bench.args.device)
    features = bilateral_features(image, setting.sigma_rgb, setting.sigma_xy * scale)
    lattice = PermutohedralLattice(features)
    cases = {'build': lambda: PermutohedralLattice(features)}
    generator = torch.Generator().manual_seed(0)
    for channels in setting.channels:
        values = torch.rand(setting.batch, height * width, channels, generator=generator).to(bench.args.device)
        cases[f'filter, {channels} channels'] = lambda values=values: lattice(values)
    group = f'{setting.use} {setting.batch}x{height}x{width}'
    bench.compare(group, cases, baseline='build')
    pixels = setting.batch * height * width
    bench.fact(f'{group}', f'{lattice.num_vertices} vertices, {lattice.num_vertices / pixels:.3g} per pixel')


def main() -> None:
    """Time building and filtering where the CRF and where the energy loss use them."""
    parser = make_parser(__doc__)
    parser.add_argument('--scale', type=float, default=1.0, help='of the images, for a quick try (default: 1)')
    args = parse_args(parser)
    bench = Bench('Permutohedral lattice', args)
    for setting in SETTINGS:
        run_setting(bench, setting, args.scale)
    bench.finish()


if __name__ == '__main__':
    main()
