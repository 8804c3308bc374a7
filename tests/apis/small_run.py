"""A small network with random weights, its config, and images of ShapesVOC for it."""

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from tests.tools.toolbox import REPO

CONFIG = f"""
_base_ = '{REPO}/configs/afa/afa_mit-tiny_shapes.py'
model = dict(
    backbone=dict(num_layers=(1, 1, 1, 2)),
    decode_head=dict(channels=32),
    pseudo_labeler=dict(radius=4, bkg_scores=(0.3, 0.6)),
)
train_dataloader = dict(dataset=dict(data_root={{root!r}}))
val_dataloader = dict(dataset=dict(data_root={{root!r}}))
test_dataloader = val_dataloader
"""
DATASET_META = dict(classes=('background', *'abcdef'), palette=[[0, 0, 0]] * 7)


def write_small_run(folder, num_train=12, size=64):
    """Write `data`, `small.py` and `small.pth` into a folder; return the paths of the two files."""
    make_shapes_voc(folder / 'data', num_train=num_train, num_val=1, size=size)
    config, checkpoint = folder / 'small.py', folder / 'small.pth'
    config.write_text(CONFIG.replace('{root!r}', repr(str(folder / 'data'))))
    write_checkpoint(Config.fromfile(config), checkpoint, DATASET_META)
    return config, checkpoint


def write_checkpoint(config, path, dataset_meta):
    """Write a checkpoint of random weights."""
    init_default_scope('mmseg')
    MMLogger.get_instance(str(path))  # that of a run before has closed its file
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dataset_meta)), path)
