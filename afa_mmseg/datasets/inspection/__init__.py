"""Reading of a whole data set before a long run: pictures, masks, labels and split lists."""

from .findings import ERROR, WARNING, Finding
from .inspect import Inspection, inspect_sources
from .report import format_findings, format_tables, write_report
from .sources import sources_of_config, sources_of_folder
from .splitting import write_split_lists

__all__ = [
    'ERROR',
    'WARNING',
    'Finding',
    'Inspection',
    'format_findings',
    'format_tables',
    'inspect_sources',
    'sources_of_config',
    'sources_of_folder',
    'write_report',
    'write_split_lists',
]
