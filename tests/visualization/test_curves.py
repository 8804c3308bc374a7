"""Plots of runs: their content, and that text stays inside the figure."""

import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from afa_mmseg.visualization.curves import draw_curves, save_curves
from afa_mmseg.visualization.training_log import Run, read_runs
from tests.visualization.training_logs import write_run


def make_run(name='run', num_steps=40, seed=0, **more):
    """A run with curves of its own."""
    rng = np.random.default_rng(seed)
    steps = list(range(1, num_steps + 1))
    losses = {key: (steps, rng.random(num_steps).tolist()) for key in ('loss', 'loss_cls', *more)}
    metrics = {key: (steps[9::10], (100 * rng.random(num_steps // 10)).tolist()) for key in ('mIoU', 'cam/mIoU')}
    return Run(name, {**losses, **metrics, 'lr': (steps, [1e-5] * num_steps)})


def panels(figure):
    return {axes.get_title(loc='left'): axes for axes in figure.axes}


def test_of_one_run_related_quantities_share_a_panel():
    run = make_run(loss_seg=1)
    figure = draw_curves([run])
    assert list(panels(figure)) == ['losses', 'validation (mIoU)', 'learning rate']
    losses, validation, rate = panels(figure).values()
    for line, key in zip(losses.get_lines(), ('loss', 'loss_cls', 'loss_seg')):
        assert line.get_label() == key
        assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == run.curves[key]
    assert [line.get_label() for line in validation.get_lines()] == [
        f'segmentation: {run.curves["mIoU"][1][-1]:.1f}',
        f'CAM: {run.curves["cam/mIoU"][1][-1]:.1f}',
    ]
    assert rate.get_lines()[0].get_ydata().tolist() == run.curves['lr'][1]


def test_shares_of_pseudo_labels_have_a_panel():
    runs = [make_run('a', ignored_share=1, foreground_share=1), make_run('b')]
    lines = panels(draw_curves(runs[:1]))['pseudo-labels (share of pixels)'].get_lines()
    assert [line.get_label() for line in lines] == ['ignored', 'foreground']
    assert lines[1].get_ydata().tolist() == runs[0].curves['foreground_share'][1]
    drawn = panels(draw_curves(runs))
    assert [
        len(drawn[f'{name} (share of pixels)'].get_lines()[0].get_xdata()) for name in ('ignored', 'foreground')
    ] == [40, 40]


def test_every_kind_of_cam_has_its_figure():
    run = make_run()
    for number, key in enumerate(('aux_cam', 'propagated_cam', 'refined_cam')):
        run.curves[f'{key}/mIoU'] = ([40], [10.0 * number])
    lines = panels(draw_curves([run]))['validation (mIoU)'].get_lines()
    shown = {line.get_label() for line in lines}
    assert {'auxiliary CAM: 0.0', 'propagated CAM: 10.0', 'refined CAM: 20.0'} < shown


def test_of_several_runs_each_quantity_has_a_panel_and_each_run_a_colour():
    runs = [make_run('a'), make_run('b', seed=1, loss_energy=1), make_run('c', seed=2, num_steps=60)]
    drawn = panels(draw_curves(runs))
    titles = ['loss', 'loss_cls', 'loss_energy', 'segmentation (mIoU)', 'CAM (mIoU)', 'learning rate']
    assert list(drawn) == titles
    for title, key in (('loss', 'loss'), ('CAM (mIoU)', 'cam/mIoU')):
        for line, run in zip(drawn[title].get_lines(), runs):
            assert line.get_ydata().tolist() == run.curves[key][1]
    colours = [[line.get_color() for line in axes.get_lines()] for axes in drawn.values()]
    assert len(set(map(tuple, colours))) == 1
    assert len(set(colours[0])) == 3
    (axes, *_) = panels(draw_curves([make_run(str(i), seed=i) for i in range(20)])).values()
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 20


def test_long_noisy_losses_are_smoothed_over_finite_values():
    run = make_run(num_steps=3000)
    run.curves['loss'][1][1000] = math.nan
    faint, mean, *_ = panels(draw_curves([run]))['losses'].get_lines()
    assert np.array_equal(faint.get_ydata(), run.curves['loss'][1], equal_nan=True)
    assert mean.get_ydata()[1500] == pytest.approx(np.nanmean(run.curves['loss'][1][1450:1550]), abs=0.002)
    assert np.isfinite(mean.get_ydata()).all()
    assert len(panels(draw_curves([run]))['learning rate'].get_lines()) == 1


def test_all_text_is_inside_the_figure():
    figure = draw_curves([make_run(name * 30, num_steps=1600, loss_seg=1) for name in 'abcd'])
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(renderer), figure.get_size_inches()
    assert 0 <= drawn.x0 < drawn.x1 <= width
    assert 0 <= drawn.y0 < drawn.y1 <= height


def test_files_are_the_same_each_time(tmp_path):
    runs = read_runs([write_run(tmp_path / 'wd')])
    for name in ('a', 'b'):
        save_curves(draw_curves(runs), [tmp_path / f'{name}.png', tmp_path / f'{name}.svg'])
    for suffix in ('png', 'svg'):
        assert (tmp_path / f'a.{suffix}').read_bytes() == (tmp_path / f'b.{suffix}').read_bytes()
    with Image.open(tmp_path / 'a.png') as image:
        assert image.width == 1440
        assert len(image.getcolors(2**20)) > 50
    assert '<svg' in (tmp_path / 'a.svg').read_text()


def test_no_run_and_unknown_suffixes_are_errors(tmp_path):
    with pytest.raises(ValueError, match='no run'):
        draw_curves([])
    with pytest.raises(ValueError, match=r'a\.gif'):
        save_curves(draw_curves([make_run()]), [tmp_path / 'a.png', tmp_path / 'a.gif'])
    assert not (tmp_path / 'a.png').exists()
