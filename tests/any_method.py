"""Tests that every method without affinity passes; a test class of a method inherits them."""

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.apis import WeakSegInferencer, export_pseudo_labels
from afa_mmseg.apis.image_results import Request, infer_images
from afa_mmseg.apis.images import find_images
from afa_mmseg.apis.video import infer_video
from afa_mmseg.datasets import ShapesVOCDataset
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from afa_mmseg.utils import read_mask
from tests.apis.small_run import write_checkpoint


class AnyMethod:
    """Inference, video and export of a network with random weights; `config` maps a ShapesVOC folder to its config."""

    config = None

    @pytest.fixture(scope='class')
    def data(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp('shapes')
        make_shapes_voc(folder, num_train=4, num_val=1, size=64)
        return folder

    @pytest.fixture(scope='class')
    def files(self, data):
        """Config and checkpoint."""
        config = type(self).config(data)
        write_checkpoint(config, data / 'net.pth', ShapesVOCDataset.METAINFO)
        return config, data / 'net.pth'

    @pytest.fixture(scope='class')
    def inferencer(self, files):
        return WeakSegInferencer(*files, device='cpu', show_progress=False)

    def test_inference_leaves_out_the_propagated_cam(self, inferencer, data, tmp_path):
        images = find_images([data / 'JPEGImages'])[:2]
        outcomes = infer_images(inferencer, images, tmp_path, Request(classes=['disc'], npz=True))
        assert [outcome.error for outcome in outcomes] == ['', '']
        assert sorted(path.name for path in (tmp_path / 'overlay').iterdir()) == ['cam', 'pred', 'pseudo']
        with np.load(tmp_path / f'scores/{images[0].name}.npz') as scores:
            assert scores.files == ['probability', 'score', 'classes', 'cam']
            assert scores['cam'].shape == (1, 64, 64)
        assert set(np.unique(read_mask(tmp_path / f'mask/pseudo/{images[0].name}.png'))) <= {0, 1, 255}

    def test_a_video_is_written(self, inferencer, data, tmp_path):
        assert infer_video(inferencer, data / 'JPEGImages', [tmp_path / 'out.gif'], max_frames=3) == (3, False)
        assert Image.open(tmp_path / 'out.gif').n_frames == 2  # every second frame

    def test_exported_labels_are_those_of_the_inferencer(self, inferencer, files, tmp_path):
        exported = export_pseudo_labels(*files, tmp_path, device='cpu', num_workers=0)
        assert (exported.num_written, exported.faults) == (4, {})
        job = exported.jobs[0]
        classes = [exported.classes[i + 1] for i in np.flatnonzero(job.info['gt_label'])]
        expected = inferencer(job.info['img_path'], classes=classes)['pred_pseudo_label']
        assert np.array_equal(read_mask(job.file), expected)
