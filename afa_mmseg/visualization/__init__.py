"""Pictures of each step from CAM to prediction."""

from .panel import draw_panel, overlay_label, overlay_scores, panel_of_sample, stack_panels
from .panel_hook import CAMPanelHook

__all__ = ['CAMPanelHook', 'draw_panel', 'overlay_label', 'overlay_scores', 'panel_of_sample', 'stack_panels']
