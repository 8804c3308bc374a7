"""Checks of a whole data set before a long run: images, masks, labels and split lists."""

from .checks import inspect_sources
from .report import draw_histogram, format_findings, format_tables, write_report, write_split_lists
from .sources import ERROR, WARNING, Finding, Inspection, sources_of_config, sources_of_folder

__all__ = [
    'ERROR',
    'WARNING',
    'Finding',
    'Inspection',
    'draw_histogram',
    'format_findings',
    'format_tables',
    'inspect_sources',
    'sources_of_config',
    'sources_of_folder',
    'write_report',
    'write_split_lists',
]
