import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from afa_mmseg.evaluation import CAMIoUMetric, PaletteIoUMetric


def make_sample(scores, label):
    sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
    sample.pred_cam = PixelData(data=scores)
    sample.gt_sem_seg = PixelData(data=label)
    sample.pred_sem_seg = PixelData(data=torch.zeros_like(label))
    return sample.to_dict()


def evaluate(metric, *samples):
    metric.dataset_meta = dict(classes=('background', 'cat'))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_iou_by_hand_pooled_over_the_data_set():
    scores = torch.tensor([[[0.9, 0.4, 0.5, 0.1]]])
    first = make_sample(scores, torch.tensor([[[1, 1, 1, 0]]]))
    second = make_sample(scores, torch.tensor([[[1, 255, 0, 0]]]))
    result = evaluate(CAMIoUMetric(bkg_score=0.45, prefix='cam'), first, second)
    # background: 2 right of 4 in the union; cat: 3 right of 5.
    assert result['cam/mIoU'] == pytest.approx(100 * (2 / 4 + 3 / 5) / 2, abs=0.01)


def test_maps_with_a_background_channel_need_no_score():
    scores = torch.tensor([[[0.2, 0.6]], [[0.8, 0.4]]])
    result = evaluate(CAMIoUMetric(prefix='cam'), make_sample(scores, torch.tensor([[[1, 0]]])))
    assert result['cam/mIoU'] == 100


@pytest.mark.parametrize(
    ('metric', 'title'),
    [
        (PaletteIoUMetric(), 'segmentation'),
        (CAMIoUMetric(bkg_score=0.5), 'CAM'),
        (CAMIoUMetric('pred_propagated_cam'), 'propagated CAM'),
        (CAMIoUMetric('pred_other_map'), 'pred_other_map'),
    ],
)
def test_the_table_follows_the_name_of_what_it_is_of(metric, title, monkeypatch):
    logged = []
    monkeypatch.setattr('afa_mmseg.evaluation.iou_metrics.print_log', lambda text, logger: logged.append(text))
    monkeypatch.setattr('mmseg.evaluation.metrics.iou_metric.print_log', lambda text, logger: logged.append(text))
    sample = make_sample(torch.rand(2, 1, 2), torch.tensor([[[1, 0]]]))
    sample.update(dict.fromkeys(('pred_propagated_cam', 'pred_other_map'), sample['pred_cam']))
    if metric.__dict__.get('bkg_score'):
        sample['pred_cam'] = dict(data=torch.rand(1, 1, 2))
    evaluate(metric, sample)
    assert logged[0] == f'IoU of the {title}:'
    assert '| background |' in logged[-1].replace('  ', ' ')


def test_a_missing_map_is_named_with_its_remedy():
    with pytest.raises(KeyError, match=r"'pred_propagated_cam'.*CAMValLoop.*val_evaluator"):
        evaluate(CAMIoUMetric(field='pred_propagated_cam'), make_sample(torch.rand(1, 1, 2), torch.zeros(1, 1, 2)))


def test_predictions_are_named_by_image_id(tmp_path):
    metric = PaletteIoUMetric(format_only=True, output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=('background', 'cat'), palette=[[0, 0, 0], [1, 1, 1]])
    samples = [make_sample(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long)) for _ in range(3)]
    for sample, img_id in zip(samples, ('day/a', 'night/a')):
        sample['img_id'] = img_id
    metric.process({}, samples)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.png')) == [
        'a.png',
        'day/a.png',
        'night/a.png',
    ]
