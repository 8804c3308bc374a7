"""tools/analysis_tools/plot_training.py as a user runs it."""

from PIL import Image

from tests.tools.toolbox import run_tool
from tests.visualization.training_logs import write_run

SCRIPT = 'analysis_tools/plot_training.py'


def test_two_runs_become_a_png_and_an_svg(tmp_path):
    for name in ('first', 'second'):
        write_run(tmp_path / name)
    output = run_tool(SCRIPT, 'first', 'second', '--out', 'out/both.runs', cwd=tmp_path).stdout
    assert output.splitlines()[-1] == 'out/both.runs.png out/both.runs.svg written'
    with Image.open(tmp_path / 'out/both.runs.png') as image:
        assert image.width == 1440
    assert (tmp_path / 'out/both.runs.svg').read_text().count('<svg') == 1
