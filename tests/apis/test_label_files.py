"""Label files of other tools, read back by these tools' own libraries."""

import json
import runpy
import xml.etree.ElementTree as ElementTree
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from afa_mmseg.apis.label_files import (
    LabelledImage,
    find_masks,
    labelling_config,
    read_class_names,
    to_coco,
    to_label_studio,
)
from afa_mmseg.utils import save_mask
from tests.tools.toolbox import REPO

CLASSES = ['cat', 'dog & <co>', 'cow']


@pytest.fixture
def masks(tmp_path):
    """Two masks of different sizes with ignored pixels, one in a subfolder, and an image without; the masks by name."""
    drawn = {'a.jpg': np.zeros((30, 40), np.uint8), 'day/b.png': np.full((17, 11), 255, np.uint8)}
    drawn['a.jpg'][5:20, 7:] = 1
    drawn['a.jpg'][8:12, :20] = 3
    drawn['day/b.png'][3:, 4:6] = 2
    (tmp_path / 'images/day').mkdir(parents=True)
    for name, mask in drawn.items():
        Image.new('RGB', mask.shape[::-1]).save(tmp_path / 'images' / name)
        save_mask(mask, [[0, 0, 0]] * 4, (tmp_path / 'out/masks' / name).with_suffix('.png'))
    Image.new('RGB', (9, 9)).save(tmp_path / 'images/unlabelled.jpg')
    return drawn


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Run the tool in this process; return what it wrote."""

    def run(kind, *arguments):
        script, out = str(REPO / 'tools/export_labels.py'), tmp_path / 'labels.json'
        command = ['out/masks', '--images', 'images', '--format', kind, '--out', out, *arguments]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr('sys.argv', [script, *map(str, command)])
        runpy.run_path(script)['main']()
        return out

    return run


def foreground(mask):
    return {index: mask == index for index in np.unique(mask).tolist() if 0 < index < 255}


def test_pycocotools_reads_the_same_masks(masks, export):
    coco = pytest.importorskip('pycocotools.coco').COCO(export('coco', '--classes', ','.join(CLASSES)))
    assert [category['name'] for category in coco.loadCats(coco.getCatIds())] == CLASSES
    assert sorted(image['file_name'] for image in coco.loadImgs(coco.getImgIds())) == sorted(masks)
    for image in coco.loadImgs(coco.getImgIds()):
        expected = foreground(masks[image['file_name']])
        annotations = coco.loadAnns(coco.getAnnIds(image['id']))
        assert [annotation['category_id'] for annotation in annotations] == list(expected)
        for annotation in annotations:
            pixels = expected[annotation['category_id']]
            assert np.array_equal(coco.annToMask(annotation), pixels)
            assert annotation['area'] == pixels.sum()
            rows, columns = np.nonzero(pixels)
            left, top, width, height = annotation['bbox']
            assert (left, top, width, height) == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_label_studio_reads_the_same_masks(masks, export, tmp_path):
    brush = pytest.importorskip('label_studio_converter.brush')
    tasks = json.loads(export('label-studio', '--classes', ','.join(CLASSES), '--prefix', 'http://host/').read_text())
    assert sorted(task['data']['image'] for task in tasks) == sorted(f'http://host/{name}' for name in masks)
    tree = ElementTree.parse(tmp_path / 'labels.xml')
    assert [label.get('value') for label in tree.iter('Label')] == CLASSES
    for task in tasks:
        mask = masks[task['data']['image'].removeprefix('http://host/')]
        results = task['predictions'][0]['result']
        for result in results:
            assert (result['from_name'], result['to_name']) == (tree.find('BrushLabels').get('name'), 'image')
            (name,) = result['value']['brushlabels']
            shape = result['original_height'], result['original_width'], 4
            alpha = brush.decode_rle(result['value']['rle']).reshape(shape)[..., 3]
            assert np.array_equal(alpha, 255 * (mask == CLASSES.index(name) + 1))
        assert len(results) == len(foreground(mask))


@pytest.mark.parametrize('source', ['settings', 'classes'])
def test_class_names_are_those_beside_the_masks(masks, export, tmp_path, source):
    pytest.importorskip('pycocotools')
    with pytest.raises(ValueError, match='--classes'):
        export('coco')
    if source == 'settings':  # of export_pseudo_labels.py
        (tmp_path / 'out/masks/settings.json').write_text(json.dumps(dict(classes=['background', *CLASSES])))
    else:  # of infer.py
        (tmp_path / 'out/classes.txt').write_text('\n'.join(CLASSES) + '\n')
    assert read_class_names(tmp_path / 'out/masks') == CLASSES
    assert [c['name'] for c in json.loads(export('coco').read_text())['categories']] == CLASSES


def test_missing_masks_and_names_are_errors(masks, tmp_path):
    with pytest.raises(FileNotFoundError, match='no masks in .*images'):
        find_masks(tmp_path / 'images/day', tmp_path / 'images')
    with pytest.raises(ValueError, match='class 3; --classes names 2'):
        to_coco(find_masks(tmp_path / 'out/masks', tmp_path / 'images'), CLASSES[:2])
    assert 'value="dog &amp; &lt;co&gt;"' in labelling_config(CLASSES)


@pytest.mark.parametrize('name', ['cat & dog.jpg', 'no #1.jpg', 'a+b 50%25.jpg', 'day/ä.jpg'])
def test_addresses_of_label_studio_name_the_file(name):
    pytest.importorskip('label_studio_converter.brush')
    image = LabelledImage(name, np.ones((4, 5), np.uint8))
    (task,) = to_label_studio([image], CLASSES, '/data/local-files/?d=photos/')
    assert parse_qs(urlsplit(task['data']['image']).query) == dict(d=[f'photos/{name}'])
