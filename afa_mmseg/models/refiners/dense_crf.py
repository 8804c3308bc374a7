"""Dense CRF as a module: a refiner, and post-processing of predictions."""

from mmseg.registry import MODELS
from torch import Tensor

from ...functional import dense_crf
from ...functional.neighbours import resize_to_image
from .base import Refiner, check_num_iters


@MODELS.register_module()
class DenseCRF(Refiner):
    """Fully connected CRF (Kraehenbuehl and Koltun, NeurIPS 2011); see `functional.dense_crf`.

    Args:
        num_iters: Mean-field updates.
        gaussian_sxy: Standard deviation of the distance kernel, in pixels.
        gaussian_weight: Weight of the distance kernel.
        bilateral_sxy: Standard deviation of the colour kernel over positions, in pixels.
        bilateral_srgb: Standard deviation of the colour kernel over colours, in pixel values.
        bilateral_weight: Weight of the colour kernel.
    """

    couples_classes = True

    def __init__(
        self,
        num_iters: int = 10,
        gaussian_sxy: float = 3.0,
        gaussian_weight: float = 3.0,
        bilateral_sxy: float = 64.0,
        bilateral_srgb: float = 5.0,
        bilateral_weight: float = 4.0,
    ) -> None:
        super().__init__()
        self.num_iters = check_num_iters(num_iters)
        self.settings = dict(
            gaussian_sxy=gaussian_sxy,
            gaussian_weight=gaussian_weight,
            bilateral_sxy=bilateral_sxy,
            bilateral_srgb=bilateral_srgb,
            bilateral_weight=bilateral_weight,
        )

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Turn scores cam (B, C, h, w), not negative, into probabilities (B, C, H, W) on image (B, 3, H, W) in 0..1."""
        image, cam = resize_to_image(image, cam)
        return dense_crf(image * 255, cam, self.num_iters, **self.settings)
