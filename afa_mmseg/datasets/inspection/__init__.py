"""Checks of a whole data set before a long run: images, masks, labels and split lists; and a config for it."""

from .checks import inspect_sources
from .report import format_findings, format_tables, write_report
from .sources import ERROR, WARNING, Finding, Inspection, sources_of_config, sources_of_folder
from .start import DataFiles, write_config, write_split_lists

__all__ = [
    'ERROR',
    'WARNING',
    'DataFiles',
    'Finding',
    'Inspection',
    'format_findings',
    'format_tables',
    'inspect_sources',
    'sources_of_config',
    'sources_of_folder',
    'write_config',
    'write_report',
    'write_split_lists',
]
