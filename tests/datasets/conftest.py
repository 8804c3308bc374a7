"""Small data sets of real files."""

from pathlib import Path

import pytest

from tests.datasets.files import write_image, write_mask, write_xml

VOC_IMAGES = {'2007_000001': ['cat', 'dog'], '2007_000002': ['person'], '2007_000003': []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images a, b, c, a split list and labels of two classes."""
    for seed, name in enumerate('abc'):
        write_image(tmp_path / 'img' / f'{name}.jpg', seed=seed)
        write_mask(tmp_path / 'mask' / f'{name}.png', value=1 + seed % 2)
    (tmp_path / 'train.txt').write_text('b\na\n')
    (tmp_path / 'labels.json').write_text('{"a": ["cat"], "b": ["dog", "cat"], "c": []}')
    return tmp_path


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """A VOC folder of three images: cat and dog, person, nothing."""
    root = tmp_path / 'VOC2012'
    for seed, (name, objects) in enumerate(VOC_IMAGES.items()):
        write_image(root / 'JPEGImages' / f'{name}.jpg', seed=seed)
        write_xml(root / 'Annotations' / f'{name}.xml', objects)
        write_mask(root / 'SegmentationClassAug' / f'{name}.png', value=8)
    split = root / 'ImageSets' / 'Segmentation' / 'train_aug.txt'
    split.parent.mkdir(parents=True)
    split.write_text('\n'.join(VOC_IMAGES) + '\n')
    return root
