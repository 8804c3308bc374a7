"""Small downloads of VOC 2012 and SBD, as they are unpacked and completed."""

import pytest

from afa_mmseg.datasets.preparation.voc import prepare_voc
from tests.datasets.preparation.voc_files import write_sbd, write_voc


@pytest.fixture
def downloads(tmp_path):
    """The folder VOC2012 as it is unpacked; SBD and the zip lie beside VOCdevkit."""
    write_sbd(tmp_path)
    return write_voc(tmp_path)


@pytest.fixture
def sbd(downloads):
    return downloads.parents[1] / 'benchmark_RELEASE'


@pytest.fixture
def prepared(downloads, sbd):
    """The folder VOC2012, complete."""
    prepare_voc(downloads, sbd=sbd, num_workers=0)
    return downloads
