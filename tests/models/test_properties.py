"""Whatever a batch holds, losses and gradients are finite: hypothesis looks for a batch where they are not."""

import os
from contextlib import contextmanager

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmseg.registry import MODELS

from tests.reference_network import at_iteration, make_sample, tiny_config

SIZE, NUM_CLASSES, IGNORED = 64, 20, 255
REFINERS = {
    'par': dict(type='PAR', num_iters=3, dilations=(1, 2, 24)),
    'pamr': dict(type='PAMR', num_iters=3, dilations=(1, 2, 24)),
    'crf': dict(type='DenseCRF', num_iters=1),
    'none': None,
}
#: The last one as on a CPU under `--amp`; float16 is that of GPUs, where a scaler skips infinite gradients.
PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)
#: Iterations of the three phases of `tiny_config`.
PHASES = (0, 3, 7)

labels = st.one_of(
    st.just(()), st.just(tuple(range(NUM_CLASSES))), st.sets(st.integers(0, NUM_CLASSES - 1), max_size=3).map(tuple)
)
boxes = st.one_of(
    st.sampled_from([(0, SIZE, 0, SIZE), (0, 0, 0, 0), (SIZE, SIZE, 0, 5), (3, 4, 7, 8), (-9, 99, -9, 99)]),
    st.tuples(*[st.integers(-5, SIZE + 5)] * 4),
)
#: Normalised images: as many distinct colours as there are, one, two in stripes one pixel wide, far out of range.
images = st.one_of(
    st.integers(0, 9).map(lambda seed: torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))),
    st.sampled_from([-2.2, 0.0, 2.7, 1e4]).map(lambda value: torch.full((3, SIZE, SIZE), value)),
    st.just(torch.tensor([-2.2, 2.7]).repeat(SIZE // 2).expand(3, SIZE, SIZE)),
)
#: Label maps in place of those made from CAMs: all background, all one class, all ignored, two classes.
forced = st.sampled_from(
    [
        torch.zeros(SIZE, SIZE).long(),
        torch.full((SIZE, SIZE), NUM_CLASSES),
        torch.full((SIZE, SIZE), IGNORED),
        torch.tensor([3, IGNORED]).repeat(SIZE // 2).expand(SIZE, SIZE),
    ]
)


@st.composite
def batches(draw):
    """Images, samples, and the label maps that they are to have, or None for those that the step makes."""
    samples = [make_sample(draw(labels), img_box=draw(boxes)) for _ in range(2)]
    inputs = torch.stack([draw(images) for _ in samples])
    maps = torch.stack([draw(forced) for _ in samples]) if draw(st.booleans()) else None
    return inputs, samples, maps


@contextmanager
def multiplied(segmentor, features, weights):
    """Multiply the features of the last stage, and the weights of its attention and of the classifier."""
    before = {name: weight.clone() for name, weight in segmentor.state_dict().items()}
    _, blocks, norm = segmentor.backbone.layers[3]
    with torch.no_grad():
        norm.weight.mul_(features)
        for block in blocks:
            block.attn.attn.in_proj_weight.mul_(weights)
        segmentor.decode_head.classifier.weight.mul_(weights)
    try:
        yield
    finally:
        segmentor.load_state_dict(before)


@pytest.fixture(params=REFINERS)
def network(request):
    """The segmentor with each refiner, and the energy loss; as a function, which does not fill failure reports."""
    config = tiny_config()
    config['refiner'] = REFINERS[request.param]
    config['decode_head']['loss_energy'] = dict(type='DenseEnergyLoss', loss_weight=0.01)
    segmentor = MODELS.build(config).train()
    return lambda: segmentor


def not_finite(named):
    return [name for name, value in named if value is not None and not value.isfinite().all()]


@settings(
    max_examples=50 if os.environ.get('CI') == 'true' else 20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    batch=batches(),
    iteration=st.sampled_from(PHASES),
    precision=st.sampled_from(PRECISIONS),
    features=st.sampled_from([1.0, 1e2, 1e4]),
    weights=st.sampled_from([1.0, 1e2, 1e3]),
)
def test_losses_and_gradients_are_finite(network, batch, iteration, precision, features, weights):
    segmentor, (inputs, samples, maps) = network(), batch
    at_iteration(iteration)
    segmentor.zero_grad()
    with pytest.MonkeyPatch.context() as patch, multiplied(segmentor, features, weights):
        if maps is not None:
            patch.setattr(segmentor, 'pseudo_labels', lambda *args: (maps, maps))
        with torch.autocast('cpu', precision, enabled=precision != torch.float32):
            losses = segmentor.loss(inputs, samples)
        assert not_finite(losses.items()) == []
        segmentor.parse_losses(losses)[0].backward()
    if precision != torch.float16:
        assert not_finite((name, p.grad) for name, p in segmentor.named_parameters()) == []
