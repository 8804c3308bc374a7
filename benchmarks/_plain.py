"""The published arithmetic written plainly, to compare with: neighbours gathered, all pairs of cells, every pass whole.

It stands in for the reference implementation, which is not part of this project: the same results from the operations
that the paper's formulas name, without sharing work between them.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from afa_mmseg.functional import affinity_label, fuse_labels, normalize_cam, propagate_cam, radius_mask
from afa_mmseg.functional.affinity import add_background, label_on_grid
from afa_mmseg.functional.neighbours import WINDOW
from afa_mmseg.functional.par import DILATIONS, EPS, distance_weights


def gather_neighbours(x: Tensor, dilations: Sequence[int]) -> Tensor:
    """Copy each pixel's neighbours; (B, C, H, W) -> (B, C, K, H, W)."""
    height, width = x.shape[-2:]
    shifted = []
    for d in dilations:
        padded = F.pad(x, (d, d, d, d), mode='replicate')
        for dy, dx in WINDOW:
            top, left = d + d * dy, d + d * dx
            shifted.append(padded[..., top : top + height, left : left + width])
    return torch.stack(shifted, dim=2)


def plain_par(image: Tensor, cam: Tensor, dilations: Sequence[int] = DILATIONS, num_iters: int = 10) -> Tensor:
    """Refine as the formula reads: weights times neighbours, summed; image (B, 3, H, W), CAM (B, C, h, w)."""
    cam = F.interpolate(cam, size=image.shape[-2:], mode='bilinear', align_corners=True)
    near = gather_neighbours(image, dilations)
    deviation = near.std(dim=2, keepdim=True)
    distance = (near - image[:, :, None]).abs() / (deviation + EPS) / 0.3
    colour = (-(distance**2)).mean(dim=1).softmax(dim=1)
    weights = (colour + 0.01 * distance_weights(dilations, 0.3).to(colour))[:, None]  # (B, 1, K, H, W)
    for _ in range(num_iters):
        cam = (gather_neighbours(cam, dilations) * weights).sum(dim=2)
    return cam


def plain_affinity(head: nn.Module, attentions: Sequence[Any]) -> Tensor:
    """Make the affinity from the logits of all heads; (B, N, N)."""
    logits = torch.cat([a.query @ a.key.transpose(-2, -1) for a in attentions], dim=1)  # (B, heads, N, N)
    return head.affinity_proj(logits + logits.transpose(-2, -1))[:, 0].sigmoid()


class PlainStep:
    """A training step in the last phase, all of it in plain operations.

    Args:
        model: AFA, with its head's and its backbone's modules.
        optimizer: mmengine's wrapper.
        batch: `inputs` and `data_samples`; each crop is all image.
    """

    def __init__(self, model: nn.Module, optimizer: Any, batch: dict) -> None:
        self.model, self.optimizer = model, optimizer
        self.inputs = batch['inputs']
        self.gt_label = torch.stack([sample.gt_label for sample in batch['data_samples']])

    def run(self) -> None:
        """Run the training pass, the label work, the losses and the update."""
        with self.optimizer.optim_context(self.model):
            loss = self.loss()
        self.optimizer.update_params(loss)

    def loss(self) -> Tensor:
        """Compute the sum of the losses."""
        head = self.model.decode_head
        with sdpa_kernel(SDPBackend.MATH):  # attention with its matrix of all pairs
            features, attentions = self.model.backbone.forward_with_attention(self.inputs)
            affinity = plain_affinity(head, attentions)
            logits = head(features)
            seg_label, affinity_label_ = self.labels()
            mask = self._mask(features[-1].shape[-2:])
            target = affinity_label(label_on_grid(affinity_label_, features[-1].shape[-2:]), mask)
            logits = F.interpolate(logits, size=seg_label.shape[-2:], mode='bilinear', align_corners=False)
            loss = head.loss_cls(head.image_logits(features), self.gt_label)
            return loss + head.loss_affinity(affinity, target) + head.loss_decode(logits, seg_label)

    @torch.no_grad()
    def labels(self) -> tuple[Tensor, Tensor]:
        """Make the labels from propagated and from plain CAMs; (B, H, W) each."""
        cam, affinity, grid = self._cams()
        image = self.model.to_rgb(self.inputs)
        half = F.interpolate(image, scale_factor=0.5, mode='bilinear', align_corners=False)
        scores = self.model.pseudo_labeler.bkg_scores
        on_grid = F.interpolate(cam * self.gt_label[..., None, None], size=grid, mode='bilinear', align_corners=False)
        propagated, plain = [], []
        for score in scores:
            walked = propagate_cam(on_grid, affinity, self._mask(grid), self.gt_label, score)
            walked = F.interpolate(walked, size=cam.shape[-2:], mode='bilinear', align_corners=False)
            propagated.append(self._refined_label(half, walked))
            small = F.interpolate(cam, size=half.shape[-2:], mode='bilinear', align_corners=False)
            plain.append(self._refined_label(half, add_background(small, self.gt_label, score)))
        return fuse_labels(*propagated), fuse_labels(*plain)

    def _cams(self) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Run the whole network at every scale, its decoder included."""
        head, total, size = self.model.decode_head, 0.0, self.inputs.shape[-2:]
        scales = self.model.pseudo_labeler.cam_scales
        for scale in scales:
            x = F.interpolate(self.inputs, [int(scale * side) for side in size], mode='bilinear', align_corners=False)
            features, attentions = self.model.backbone.forward_with_attention(torch.cat([x, x.flip(-1)]))
            head(features)
            pairs = plain_affinity(head, attentions)
            cam = F.interpolate(head.cam_logits(features), size=size, mode='bilinear', align_corners=False)
            plain, mirrored = cam.chunk(2)
            total = total + torch.maximum(plain, mirrored.flip(-1)).relu()
            if scale == max(scales):
                affinity, grid = pairs[: len(x)], features[-1].shape[-2:]
        return normalize_cam(total), affinity, tuple(grid)

    def _refined_label(self, half: Tensor, scores: Tensor) -> Tensor:
        """Refine the present classes of each image, and take the likeliest; scores (B, C + 1, h, w) -> (B, H, W)."""
        size = self.inputs.shape[-2:]
        out = scores.new_zeros(len(scores), scores.shape[1], *size)
        for i, label in enumerate(self.gt_label):
            present = [0, *(label.nonzero().flatten() + 1).tolist()]
            refined = plain_par(half[i, None], scores[i, None, present], num_iters=10)
            out[i, present] = F.interpolate(refined, size=size, mode='bilinear', align_corners=False)[0]
        return out.argmax(dim=1)

    def _mask(self, grid: tuple[int, int]) -> Tensor:
        return radius_mask(*grid, self.model.pseudo_labeler.radius).to(self.inputs.device)
