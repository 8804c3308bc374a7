"""Example images of the page."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from afa_mmseg.web.examples import NUM_CHOSEN, NUM_SHOWN, find_examples


@pytest.fixture
def images(tmp_path):
    """A folder of thirty images."""
    for i in range(30):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f'{i:02}.png')
    return tmp_path


def config(folder):
    dataset = dict(type='BaseSegDataset', data_root=str(folder), data_prefix=dict(img_path=''), img_suffix='.png')
    return Config(dict(val_dataloader=dict(dataset=dict(dataset, pipeline=[]))))


def test_those_of_a_config_are_spread_over_its_validation_set(images):
    assert [path.name for path in find_examples(config(images))] == [f'{i:02}.png' for i in (0, 5, 10, 15, 20, 25)]
    (images / '05.png').unlink()
    assert len(find_examples(config(images))) == NUM_CHOSEN  # 29 images


def test_those_of_a_folder_are_the_first_ones(images):
    assert [path.name for path in find_examples(Config(), str(images))] == [f'{i:02}.png' for i in range(NUM_SHOWN)]


def test_what_is_missing_is_named(tmp_path, capsys):
    assert find_examples(Config()) == []
    assert '(the config has no val_dataloader); use --examples DIR' in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match='no images in'):
        find_examples(Config(), str(tmp_path))
