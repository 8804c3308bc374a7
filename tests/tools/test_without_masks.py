"""tools/test.py on images without masks."""

import pytest
from PIL import Image

from tests.apis.small_run import write_small_run
from tests.tools.toolbox import run_tool


@pytest.mark.slow
def test_the_classifier_is_evaluated_and_overlays_are_drawn(tmp_path):
    write_small_run(tmp_path)
    options = ['test_evaluator.format_only=True', 'test_dataloader.num_workers=0']
    options += ['test_dataloader.persistent_workers=False']
    arguments = ['small.py', 'small.pth', '--work-dir', 'wd', '--show-dir', 'shown', '--cfg-options', *options]
    output = run_tool('test.py', *arguments, cwd=tmp_path).stdout
    (line,) = [line for line in output.splitlines() if '--out DIR' in line]
    assert 'only the classifier is evaluated' in line
    assert 'cls/f1: ' in output.splitlines()[-1]
    (drawn,) = (tmp_path / 'shown').rglob('*.png')
    with Image.open(drawn) as image:
        assert image.width >= 2 * 160  # the small images of this data set have masks
