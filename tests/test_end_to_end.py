"""The main job as a user does it: make a data set, train with two processes, test, predict."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot
from PIL import Image

from afa_mmseg.datasets import ShapesVOCDataset
from afa_mmseg.datasets.shapes_generator import make_shapes_voc
from tests.tools.toolbox import REPO, run_tool

pytestmark = pytest.mark.slow  # starts processes that train or measure

CONFIG = REPO / 'configs/afa/afa_mit-tiny_shapes.py'
OPTIONS = [
    'model.backbone.num_layers=(1,1,1,2)',
    'model.train_cfg.cls_only_until=1',
    'model.train_cfg.cam_label_until=3',
    'train_cfg.max_iters=6',
    'train_cfg.val_interval=6',
    'param_scheduler.0.max_iters=6',
    'param_scheduler.0.warmup_iters=2',
    'default_hooks.checkpoint.interval=3',
    'default_hooks.checkpoint.max_keep_ckpts=-1',
    'default_hooks.logger.interval=1',
    'train_dataloader.batch_size=2',
    'randomness.seed=3',
]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A finished run of six iterations, two in each phase, without a folder of training masks."""
    root = tmp_path_factory.mktemp('run')
    make_shapes_voc(str(root / 'data/ShapesVOC'), num_train=8, num_val=4)
    for mask in (root / 'data/ShapesVOC/SegmentationClassAug').glob('train_*.png'):
        mask.unlink()
    output = run_tool('dist_train.sh', CONFIG, 2, '--work-dir', 'wd', '--cfg-options', *OPTIONS, cwd=root, timeout=400)
    return root, output.stdout


def log_of(root):
    (file,) = root.glob('wd/2*/vis_data/2*.json')
    lines = [json.loads(line) for line in file.open()]
    return [line for line in lines if 'loss' in line], [line for line in lines if 'mIoU' in line]


def test_training_goes_through_its_phases_and_validates_four_figures(run):
    root, _ = run
    training, validation = log_of(root)
    assert [line['step'] for line in training] == [1, 2, 3, 4, 5, 6]
    assert [line['loss_seg'] > 0 for line in training] == [False, False, True, True, True, True]
    assert all(np.isfinite(line['loss']) for line in training)
    assert all(line['positive_pairs'] > 0 for line in training[2:])
    (figures,) = validation
    for key in ('mIoU', 'cam/mIoU', 'propagated_cam/mIoU', 'cls/f1'):
        assert 0 <= figures[key] <= 100
    assert figures['cam/mIoU'] > 5


def test_testing_the_checkpoint_repeats_the_validation(run):
    root, _ = run
    figures = log_of(root)[1][0]
    arguments = [CONFIG, 'wd/iter_6.pth', '--work-dir', 'test', '--out', 'png', '--show-dir', 'shown']
    options = ['--cfg-options', OPTIONS[0]]
    run_tool('test.py', *arguments, *options, cwd=root, timeout=300)
    (result,) = [json.loads(file.read_text()) for file in root.glob('test/2*/2*.json')]
    assert result['mIoU'] == pytest.approx(figures['mIoU'], abs=0.02)
    labels = [np.array(Image.open(file)) for file in sorted((root / 'png').glob('val_*.png'))]
    assert len(labels) == 4
    assert all(label.shape == (128, 128) and label.max() < 7 for label in labels)
    assert len(list((root / 'shown').rglob('*.png'))) == 4


def test_submission_files_come_from_scales_mirror_and_crf_in_two_processes(run):
    root, _ = run
    options = ['model.test_cfg.crf.num_iters=3', 'tta_model.scales=[0.5,1.0]', OPTIONS[0]]
    without_truth = ['test_evaluator.format_only=True', 'test_evaluator.output_dir=submission']
    arguments = [CONFIG, 'wd/iter_6.pth', 2, '--work-dir', 'tta', '--tta', '--cfg-options', *options]
    run_tool('dist_test.sh', *arguments, *without_truth, cwd=root, timeout=300)
    plain = {file.name: np.array(Image.open(file)) for file in (root / 'submission').iterdir()}
    run_tool('dist_test.sh', *arguments, '--out', 'palette', cwd=root, timeout=300)
    images = {file.name: Image.open(file) for file in (root / 'palette').iterdir()}
    assert sorted(images) == sorted(plain) == [f'val_{i:06d}.png' for i in range(4)]
    for name, image in images.items():
        assert image.mode == 'P'
        assert image.getpalette()[3:6] == ShapesVOCDataset.METAINFO['palette'][1]
        assert np.array_equal(np.array(image), plain[name])


def test_mmsegs_apis_work_on_config_and_checkpoint(run, tmp_path):
    root, _ = run
    config = Config.fromfile(CONFIG)
    config.merge_from_dict({'model.backbone.num_layers': (1, 1, 1, 2)})
    checkpoint = str(root / 'wd/iter_6.pth')
    image = str(next((root / 'data/ShapesVOC/JPEGImages').glob('val_*.jpg')))
    model = init_model(config, checkpoint, device='cpu')
    assert model.dataset_meta['classes'][1] == 'disc'
    result = inference_model(model, image)
    assert result.pred_sem_seg.shape == (128, 128)
    assert 'pred_cam' not in result
    assert torch.equal(result.seg_logits.data.argmax(0), result.pred_sem_seg.data[0])
    drawn = tmp_path / 'drawn.png'
    show_result_pyplot(model, image, result, show=False, out_file=str(drawn))
    assert np.array(Image.open(drawn)).std() > 1
    with model.predicting_cams(pseudo_label=True):
        result = inference_model(model, image)
    assert result.pred_cam.data.shape == (6, 128, 128)
    assert result.pred_pseudo_label.data.shape == (1, 128, 128)


def test_mmsegs_inferencer_runs_on_the_dumped_config(run):
    root, _ = run
    (dumped,) = root.glob('wd/2*/vis_data/config.py')
    image = str(next((root / 'data/ShapesVOC/JPEGImages').glob('val_*.jpg')))
    inferencer = MMSegInferencer(str(dumped), str(root / 'wd/iter_6.pth'), device='cpu')
    assert np.asarray(inferencer(image)['predictions']).shape == (128, 128)


def test_the_report_draws_a_panel_for_each_validation_image(run):
    root, _ = run
    output = run_tool('quickstart_report.py', '--afa', 'wd', '--out', 'report', cwd=root, timeout=300).stdout
    panels = sorted((root / 'report/panels').glob('*.png'))
    assert [panel.stem for panel in panels] == [f'val_{i:06d}' for i in range(4)]
    assert np.array(Image.open(panels[0])).shape[1] == 6 * 256 + 5 * 4
    table = (root / 'report/summary.md').read_text()
    for row in ('CAM', 'propagated CAM', 'refined pseudo-label', 'segmentation', 'segmentation with CRF'):
        assert f'| {row} |' in table
    assert table.split('\n')[0] in output
    assert f'| segmentation | {log_of(root)[1][0]["mIoU"]:.1f} |' in table
