"""Dense CRF beside the C++ one of pydensecrf2, if that is installed (pip install pydensecrf2)."""

from typing import Any, Optional

import numpy as np
import torch
from _bench import Bench, make_parser, parse_args
from _inputs import make_prob, make_scene
from torch import Tensor

from afa_mmseg.functional import crf

try:
    from pydensecrf import densecrf
except ImportError:
    densecrf = None


def run_pydensecrf(image: np.ndarray, prob: np.ndarray, num_iters: int) -> np.ndarray:
    """Run the C++ CRF with the settings that ours has by default.

    Shape:
        image (H, W, 3) uint8; prob (C, H, W) float32; output (C, H, W).
    """
    model = densecrf.DenseCRF2D(image.shape[1], image.shape[0], len(prob))
    model.setUnaryEnergy(-np.log(prob.clip(crf.MIN_PROB)).reshape(len(prob), -1))
    model.addPairwiseGaussian(sxy=3, compat=3)
    model.addPairwiseBilateral(sxy=64, srgb=5, rgbim=image, compat=4)
    return np.array(model.inference(num_iters)).reshape(prob.shape)


def peer(image: Tensor, prob: Tensor, num_iters: int) -> Optional[Any]:
    """Return the call of pydensecrf2 on one image; None where it is not installed."""
    if densecrf is None:
        return None
    pixels = np.ascontiguousarray(image[0].permute(1, 2, 0).byte().cpu().numpy())
    scores = np.ascontiguousarray(prob[0].cpu().numpy())
    return lambda: run_pydensecrf(pixels, scores, num_iters)


def main() -> None:
    """Time both, and report how far they agree."""
    parser = make_parser(__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=(375, 500), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--classes', type=int, default=21)
    parser.add_argument('--iters', type=int, default=10)
    args = parse_args(parser)
    group = f'{args.size[0]}x{args.size[1]}x{args.classes}, {args.iters} iterations'
    bench = Bench('Dense CRF', args)
    image, scores = (x.to(args.device) for x in make_scene(1, tuple(args.size), args.classes))
    prob = make_prob(scores)
    cases = {'dense_crf': lambda: crf.dense_crf(image, prob, args.iters)}
    theirs = peer(image, prob, args.iters)
    if theirs is None:
        bench.compare(group, cases)
        bench.fact('pydensecrf2', 'not installed, so nothing to compare with: pip install pydensecrf2')
    else:
        bench.compare(group, {**cases, 'pydensecrf2 (CPU, one thread)': theirs}, 'pydensecrf2 (CPU, one thread)')
        if not bench.is_child:
            report_agreement(bench, cases['dense_crf']()[0].cpu(), torch.from_numpy(theirs()), prob[0].cpu())
    bench.finish()


def report_agreement(bench: Bench, ours: Tensor, theirs: Tensor, prob: Tensor) -> None:
    """Report how far two results (C, H, W) agree, and how much the CRF changed at all."""
    difference = (ours - theirs).abs()
    bench.fact('largest difference of probabilities', float(difference.max()))
    bench.fact('mean difference of probabilities', float(difference.mean()))
    bench.fact('share of equal labels', float((ours.argmax(0) == theirs.argmax(0)).float().mean()))
    bench.fact('share of labels that the CRF changed', float((ours.argmax(0) != prob.argmax(0)).float().mean()))


if __name__ == '__main__':
    main()
