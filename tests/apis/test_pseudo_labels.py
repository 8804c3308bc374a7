"""Export of pseudo-labels: equal to prediction, resumable, one set of settings for each folder."""

import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.apis import init_model
from mmseg.registry import DATASETS
from PIL import Image

from afa_mmseg.apis import export_pseudo_labels
from afa_mmseg.utils import read_mask
from tests.apis.small_run import write_small_run

ODD = 'train_000001'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Config, checkpoint, and the folder they are in; one of the images is of odd size."""
    folder = tmp_path_factory.mktemp('run')
    config, checkpoint = write_small_run(folder)
    path = folder / f'data/JPEGImages/{ODD}.jpg'
    Image.open(path).resize((97, 71)).save(path)
    return config, checkpoint, folder


@pytest.fixture(scope='module')
def exported(run):
    config, checkpoint, folder = run
    return export_pseudo_labels(config, checkpoint, folder / 'labels', device='cpu', num_workers=0)


@pytest.fixture
def copy(run, exported, tmp_path):
    """A copy of the exported folder, and a function that exports there again with other settings."""
    config, checkpoint, folder = run
    shutil.copytree(folder / 'labels', tmp_path / 'labels')

    def export_again(weights=checkpoint, **options):
        cfg = Config.fromfile(config)
        cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
        return export_pseudo_labels(cfg, weights, tmp_path / 'labels', device='cpu', num_workers=0)

    return tmp_path / 'labels', export_again


def predicted(config, checkpoint, **changes):
    """Predict the pseudo-labels of the training images by mmseg's `test_step`; yield image id and label."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    model = init_model(cfg, str(checkpoint), device='cpu')
    pipeline = [step for step in cfg.test_pipeline if step['type'] != 'LoadMask']
    dataset = DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': pipeline})
    with torch.no_grad(), model.predicting_cams(pseudo_label=True):
        for i in range(len(dataset)):
            (sample,) = model.test_step(pseudo_collate([dataset[i]]))
            yield sample.img_id, sample.pred_pseudo_label.data[0].numpy()


def test_each_label_is_the_one_that_the_segmentor_predicts(run, exported):
    config, checkpoint, _ = run
    values = set()
    for job, (img_id, label) in zip(exported.jobs, predicted(config, checkpoint)):
        assert job.file.name == f'{img_id}.png'
        assert np.array_equal(read_mask(job.file), label)
        present = {0, 255, *(np.flatnonzero(job.info['gt_label']) + 1)}
        assert set(np.unique(label)) <= present
        values.update(np.unique(label).tolist())
    assert {0, 255} < values
    assert len(values) >= 4
    assert len(exported.jobs) == exported.num_written == 12
    assert read_mask(run[2] / f'labels/{ODD}.png').shape == (71, 97)
    with Image.open(exported.jobs[0].file) as image:
        assert image.getpalette()[3:6] == [44, 182, 190]


def test_another_refiner_makes_its_own_labels(run, exported, tmp_path):
    config, checkpoint, folder = run
    changes = {
        'model.refiner': dict(type='DenseCRF', num_iters=2, _delete_=True),
        'train_dataloader.dataset.ann_file': 'ImageSets/Segmentation/val.txt',
    }
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(changes)
    export_pseudo_labels(cfg, checkpoint, tmp_path, device='cpu', num_workers=0)
    ((img_id, label),) = predicted(config, checkpoint, **changes)
    assert np.array_equal(read_mask(tmp_path / f'{img_id}.png'), label)
    ((_, plain),) = predicted(config, checkpoint, **{**changes, 'model.refiner': dict(type='PAR', _delete_=True)})
    assert not np.array_equal(plain, label)


def test_classes_are_those_of_the_list_whatever_the_pipeline_packs(run, exported, tmp_path):
    config, checkpoint, folder = run
    cfg = Config.fromfile(config)
    cfg.val_dataloader.dataset.pipeline = [dict(type='LoadImage'), dict(type='PackSegInputs')]
    export_pseudo_labels(cfg, checkpoint, tmp_path, device='cpu', num_workers=0)
    for job in exported.jobs:
        assert (tmp_path / job.file.name).read_bytes() == job.file.read_bytes()


def test_files_that_are_there_are_kept_and_missing_ones_made_again(copy, exported):
    folder, export_again = copy
    (folder / 'train_000003.png').write_bytes(b'kept')
    (folder / '.tmp-999999999-train_000005.png').write_bytes(b'half')
    for i in (5, 7):
        (folder / f'train_{i:06d}.png').unlink()
    again = export_again()
    assert again.num_written == 2
    assert (folder / 'train_000003.png').read_bytes() == b'kept'
    for i in (5, 7):
        assert (folder / f'train_{i:06d}.png').read_bytes() == exported.jobs[i].file.read_bytes()
    assert not list(folder.glob('.tmp-*'))


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (dict(model__pseudo_labeler__radius=5), 'model.pseudo_labeler.radius: 4 before, 5 now'),
        (dict(model__refiner=dict(type='PAMR', _delete_=True)), 'model.refiner.type: PAR before, PAMR now'),
        (dict(val_dataloader__dataset__pipeline=[dict(type='LoadImage')]), 'pipeline: '),
        (dict(train_dataloader__dataset__ann_file='ImageSets/Segmentation/val.txt'), 'labels: '),
    ],
)
def test_files_of_other_settings_are_not_mixed(copy, options, named):
    folder, export_again = copy
    (folder / 'train_000005.png').unlink()
    with pytest.raises(ValueError, match='Choose another folder') as error:
        export_again(**options)
    assert f'{folder} holds files of other settings' in str(error.value)
    assert named in str(error.value)
    assert not (folder / 'train_000005.png').exists()


def test_files_of_another_checkpoint_are_not_mixed(run, copy, tmp_path):
    folder, export_again = copy
    state = torch.load(run[1], weights_only=True)
    state['state_dict']['decode_head.classifier.weight'] *= -1
    torch.save(state, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='other settings: checkpoint: '):
        export_again(weights=tmp_path / 'other.pth')


def test_a_folder_of_unknown_files_is_left_alone(copy):
    folder, export_again = copy
    (folder / 'settings.json').unlink()
    with pytest.raises(ValueError, match='without settings.json'):
        export_again()
    assert not (folder / 'settings.json').exists()


def test_images_that_cannot_be_labelled_are_named_and_the_others_made(tmp_path):
    config, checkpoint = write_small_run(tmp_path, num_train=3)
    images = tmp_path / 'data/JPEGImages'
    (images / 'train_000000.jpg').write_bytes(b'no image')
    Image.new('RGB', (9, 9)).save(images / 'train_000002.jpg')
    exported = export_pseudo_labels(config, checkpoint, tmp_path / 'labels', device='cpu', num_workers=0)
    assert set(exported.faults) == {'train_000000', 'train_000002'}
    assert exported.faults['train_000000'].startswith('cannot be read: ')
    assert 'too small' in exported.faults['train_000002']
    assert [file.name for file in (tmp_path / 'labels').glob('*.png')] == ['train_000001.png']
    assert exported.num_written == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'model.decode_head.num_classes': 4}, r'small.pth: the checkpoint has 7 classes.* the config 4'),
        ({'model.backbone.num_layers': (1, 1, 2, 2)}, 'small.pth: the checkpoint is not one of this config'),
        ({'train_dataloader.dataset.metainfo': dict(classes=('background', 'disc'))}, 'num_classes is 7, .* 2 classes'),
        (
            {'train_dataloader.dataset': dict(type='PascalVOCDataset')},
            'train_dataloader.dataset.type is PascalVOCDataset',
        ),
        ({'model': dict(type='EncoderDecoder')}, 'EncoderDecoder has no CAMs'),
    ],
)
def test_errors_are_raised_before_anything_is_written(run, tmp_path, options, message):
    config, checkpoint, _ = run
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(options)
    if cfg.model.type == 'EncoderDecoder':
        for key in ('refiner', 'pseudo_labeler', 'train_cfg'):
            cfg.model.pop(key)
    with pytest.raises(ValueError, match=message):
        export_pseudo_labels(cfg, checkpoint, tmp_path / 'labels', device='cpu', num_workers=0)
    assert not (tmp_path / 'labels').exists()
