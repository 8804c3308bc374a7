"""The contract of refiners, and `NoRefinement`, which only resizes."""

from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional.neighbours import resize_to_image


class Refiner(nn.Module):
    """Base class of refiners: modules that move the boundaries of score maps onto the edges of the image.

    A refiner receives what pseudo-label rules and `Explanation.refined` call it with:

    - `image`: RGB in 0..1, float32, at half the size of the network's input, cut to the part that shows real image.
    - `cam`: scores that are not negative, background first, of any size. Unless `couples_classes` is true, several
      score maps (of a low and a high background score, of plain and of propagated CAMs) may arrive as one stack of
      channels, so that all share one kernel.

    It resizes `cam` to `image` itself (the published refiners do so bilinearly with `align_corners=True`:
    `functional.neighbours.resize_to_image`) and returns scores of that size with as many channels. The caller
    resizes the result to the size of the input. It must not move data to the host, which a GPU would wait for.
    """

    #: True where classes compete for a pixel, as in a softmax over the channels: each background score's scores
    #: are then refined in a call of their own.
    couples_classes = False

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Refine scores.

        Shape:
            image (B, 3, H, W); cam (B, C, h, w); output (B, C, H, W).
        """
        raise NotImplementedError(f'{type(self).__name__} must implement forward(image, cam)')


def check_num_iters(num_iters: int) -> int:
    """Return a number of iterations; raise a `ValueError` if it is negative."""
    if num_iters < 0:
        raise ValueError(f'num_iters={num_iters} of the refiner must be 0 or more')
    return num_iters


@MODELS.register_module()
class NoRefinement(Refiner):
    """Resize the scores to the image's size and leave them as they are: what `refiner=None` means."""

    def forward(self, image: Tensor, cam: Tensor) -> Tensor:
        """Resize cam (B, C, h, w) to image (B, 3, H, W) as the other refiners do; output (B, C, H, W)."""
        return resize_to_image(image, cam)[1]
