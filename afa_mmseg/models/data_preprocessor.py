"""Normalisation of batches without waiting for the GPU."""

from typing import Any

from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS


@MODELS.register_module()
class NonBlockingSegDataPreProcessor(SegDataPreProcessor):
    """Move batches to the GPU by copies that the host does not wait for, then normalise and pad as mmseg does.

    Copies overlap with computation where the data loader pins its memory (`pin_memory=True`). On a CPU, and in its
    results, it equals mmseg's `SegDataPreProcessor`, whose arguments it has.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # mmengine's base class has the option, mmseg's constructor does not pass it on.
        self._non_blocking = True

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalise and pad a batch.

        Args:
            data: `inputs`, images (C, H, W), and `data_samples`.
            training: Pad to `size`, and images of different sizes to the same.

        Shape:
            output `inputs` (B, C, H, W).
        """
        # Flip the channels: mmseg indexes them by a list, which is copied to the GPU and waited for, image by image.
        name = 'channel_conversion' if hasattr(self, 'channel_conversion') else '_channel_conversion'  # of OneDL
        swap = getattr(self, name)
        setattr(self, name, False)
        try:
            if swap:
                images = [image.flip(0) if len(image) == 3 else image for image in self.cast_data(data['inputs'])]
                data = {**data, 'inputs': images}
            return super().forward(data, training)
        finally:
            setattr(self, name, swap)
