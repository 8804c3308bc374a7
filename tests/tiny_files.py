"""The golden tiny network as a user has a network: a config and a checkpoint in files."""

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from tests.conftest import DATA
from tests.reference_network import map_reference_keys, tiny_config

CLASSES = ('background', *(f'kind{i}' for i in range(1, 21)))
PALETTE = [[0, 0, 0], *([i * 12, 255 - i * 12, (i * 90) % 256] for i in range(1, 21))]
#: A class that the classifier sees in images of `make_image`, and one that it does not.
SEEN, UNSEEN = 'kind2', 'kind4'


def write_tiny_files(folder, **overrides):
    """Write config and checkpoint; return their paths."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackImageLevelInputs')]
    settings = dict(
        model=tiny_config(),
        test_dataloader=dict(dataset=dict(type='BaseSegDataset', data_root='nowhere', pipeline=pipeline)),
        tta_model=dict(type='MaxScaleTTAModel', scales=[1.0, 0.75], long_side=96),
        tta_pipeline=pipeline,
        visualizer=dict(type='SegLocalVisualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_scope='mmseg',
        custom_imports=dict(imports=['afa_mmseg']),
        **overrides,
    )
    Config(settings).dump(folder / 'tiny.py')
    state = map_reference_keys(torch.load(DATA / 'tiny/wetr_tiny.pth', weights_only=True))
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=state, meta=meta), folder / 'tiny.pth')
    return str(folder / 'tiny.py'), str(folder / 'tiny.pth')


def make_image(height=64, width=80, seed=0):
    """Make a smooth image, another one for each seed; BGR."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.array(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
