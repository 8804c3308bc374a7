"""Fully connected conditional random field (CRF)."""

from torch import Tensor

from .permutohedral import PermutohedralLattice, bilateral_features, check_maps, check_positive, spatial_features

#: Probabilities below this count as this.
MIN_PROB = 1e-5
EPS = 1e-20


class PairwiseKernel:
    """A Gaussian kernel between pixels, normalised symmetrically: K becomes D^-1/2 K D^-1/2, D the row sums of K.

    Args:
        features: Positions in units of the kernel's standard deviation.
        weight: Factor on the kernel.

    Shape:
        features (B, N, d).
    """

    def __init__(self, features: Tensor, weight: float) -> None:
        self.lattice = PermutohedralLattice(features)
        self.weight = weight
        ones = features.new_ones(features.shape[0] * features.shape[1], 1)
        self.norm = (self.lattice.filter(ones) + EPS).rsqrt()  # (B N, 1)

    def __call__(self, values: Tensor) -> Tensor:
        """Weigh and sum values; (B N, C) -> (B N, C)."""
        return self.lattice.filter(values * self.norm).mul_(self.norm * self.weight)


def dense_crf(
    image: Tensor,
    prob: Tensor,
    num_iters: int = 10,
    *,
    gaussian_sxy: float = 3.0,
    gaussian_weight: float = 3.0,
    bilateral_sxy: float = 64.0,
    bilateral_srgb: float = 5.0,
    bilateral_weight: float = 4.0,
) -> Tensor:
    """Refine probabilities by a dense CRF, solved by mean field (Kraehenbuehl and Koltun, NeurIPS 2011).

    Two pixels of different class cost energy if near, and more if also of similar colour (Potts model).

    Args:
        image: RGB in 0..255.
        prob: Class probabilities; each pixel's are made to sum to 1, and values below 1e-5 count as 1e-5.
        num_iters: Mean-field updates.
        gaussian_sxy: Standard deviation of the distance kernel, in pixels.
        gaussian_weight: Weight of the distance kernel; 0 leaves it out.
        bilateral_sxy: Standard deviation of the colour kernel over positions, in pixels.
        bilateral_srgb: Standard deviation of the colour kernel over colours, in pixel values.
        bilateral_weight: Weight of the colour kernel; 0 leaves it out.

    Shape:
        image (B, 3, H, W); prob (B, C, H, W); output (B, C, H, W) in the dtype of `prob`, summing to 1 over C.

    Raises:
        ValueError: shapes, a standard deviation or `num_iters` are invalid, or an input holds NaN or infinity.
    """
    check_maps(image, prob)
    check_positive(gaussian_sxy=gaussian_sxy, bilateral_sxy=bilateral_sxy, bilateral_srgb=bilateral_srgb)
    _check_prob(prob, num_iters)
    kernels = []
    if gaussian_weight != 0:
        kernels.append(PairwiseKernel(_distances(image, gaussian_sxy), gaussian_weight))
    if bilateral_weight != 0:
        kernels.append(PairwiseKernel(bilateral_features(image, bilateral_srgb, bilateral_sxy), bilateral_weight))
    return _mean_field(prob, kernels, num_iters)


def _check_prob(prob: Tensor, num_iters: int) -> None:
    if num_iters < 0:
        raise ValueError(f'num_iters={num_iters} must not be negative')
    if not prob.isfinite().all():
        raise ValueError('prob holds NaN or infinity')


def _distances(image: Tensor, sigma: float) -> Tensor:
    return spatial_features(image, sigma).expand(len(image), -1, -1)


def _mean_field(prob: Tensor, kernels: list[PairwiseKernel], num_iters: int) -> Tensor:
    unary = prob.float().flatten(2).transpose(1, 2).flatten(0, 1)  # (B N, C)
    unary = (unary / unary.sum(dim=1, keepdim=True).clamp_(min=EPS)).clamp_(min=MIN_PROB).log_()
    belief = unary.softmax(dim=1)
    for _ in range(num_iters):
        logits = unary.clone()
        for kernel in kernels:
            logits += kernel(belief)
        belief = logits.softmax(dim=1)
    return belief.unflatten(0, (len(prob), -1)).transpose(1, 2).reshape(prob.shape).to(prob.dtype)
