"""Images and masks that are read through a file backend of mmengine, not from the local disk."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from mmengine.runner import Runner
from mmengine.runner.utils import set_random_seed
from mmseg.registry import DATASETS

from afa_mmseg.datasets import ImageLevelDataset

CLASSES = ['background', 'cat', 'dog']


class Server(SimpleHTTPRequestHandler):
    """Serves a folder, and records the requested paths."""

    def do_GET(self):
        self.server.paths.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(folder):
    """An HTTP server of the data set's folder, on the loopback."""
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(Server, directory=str(folder))) as server:
        server.paths = []
        server.url = f'http://127.0.0.1:{server.server_port}'
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def settings(folder, root, steps, **kwargs):
    """A data set whose list and labels are local; its images and masks are below `root`."""
    return dict(
        type=ImageLevelDataset,
        ann_file=str(folder / 'train.txt'),
        label_file=str(folder / 'labels.json'),
        data_prefix=dict(img_path=f'{root}/img', seg_map_path=f'{root}/mask'),
        metainfo=dict(classes=CLASSES),
        pipeline=steps,
        **kwargs,
    )


def train_steps(**kwargs):
    return [
        dict(type='LoadImage', **kwargs),
        dict(type='RandomScale'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomCropWithBox', crop_size=(48, 48)),
        dict(type='PackImageLevelInputs'),
    ]


def train_batch(dataset):
    """The first training batch, from a worker process."""
    set_random_seed(0)
    sampler = dict(type='InfiniteSampler', shuffle=True)
    loader = Runner.build_dataloader(dict(batch_size=2, num_workers=1, sampler=sampler, dataset=dataset), seed=5)
    return next(iter(loader))


def assert_same(one, other, root):
    for a, b in zip(one['inputs'], other['inputs']):
        assert torch.equal(a, b)
    for a, b in zip(one['data_samples'], other['data_samples']):
        assert a.gt_label.tolist() == b.gt_label.tolist()
        assert (a.img_id, a.img_box, a.img_shape) == (b.img_id, b.img_box, b.img_shape)
        assert b.img_path == f'{root}/img/{b.img_id}.jpg'


def test_a_training_batch_over_http_is_the_local_one(folder, server):
    remote = dict(backend_args=dict(backend='http'))
    there = settings(folder, server.url, train_steps(**remote), **remote)
    batch = train_batch(there)
    assert_same(train_batch(settings(folder, folder, train_steps())), batch, server.url)
    asked = set(server.paths)
    assert {f'/img/{sample.img_id}.jpg' for sample in batch['data_samples']} <= asked <= {'/img/a.jpg', '/img/b.jpg'}


def test_masks_over_http_are_the_local_ones(folder, server):
    remote = dict(backend_args=dict(backend='http'))
    kinds = ('LoadImage', 'LoadMask')
    local = [*(dict(type=kind) for kind in kinds), dict(type='PackImageLevelInputs')]
    there = [*(dict(type=kind, **remote) for kind in kinds), dict(type='PackImageLevelInputs')]
    local = DATASETS.build(settings(folder, folder, local))
    there = DATASETS.build(settings(folder, server.url, there, **remote))
    assert server.paths == []  # nothing is fetched before it is needed
    for i in range(len(local)):
        a, b = local[i]['data_samples'], there[i]['data_samples']
        assert torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
        assert b.gt_sem_seg.data.unique().tolist() == [0, 2 - i, 255]
    assert sorted(server.paths) == ['/img/a.jpg', '/img/b.jpg', '/mask/a.png', '/mask/b.png']
