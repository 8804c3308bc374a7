"""Overlays, panels and plots of each step from CAM to prediction."""

from .explanation_panel import image_of, panel_of_explanation, row_of_explanation, salient_points
from .hook import WeakSegVisualizationHook
from .overlays import mark_point, overlay_heat, overlay_label, overlay_propagated, overlay_scores
from .panel import draw_grid, draw_legend, stack_panels, with_legend
from .samples import FixedSample, draw_sample, draw_summary, take_samples
from .text import draw_text, text_size
from .visualizer import OverlayVisualizer

__all__ = [
    'FixedSample',
    'OverlayVisualizer',
    'WeakSegVisualizationHook',
    'draw_grid',
    'draw_legend',
    'draw_sample',
    'draw_summary',
    'draw_text',
    'image_of',
    'mark_point',
    'overlay_heat',
    'overlay_label',
    'overlay_propagated',
    'overlay_scores',
    'panel_of_explanation',
    'row_of_explanation',
    'salient_points',
    'stack_panels',
    'take_samples',
    'text_size',
    'with_legend',
]
