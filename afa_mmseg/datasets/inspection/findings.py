"""What a check finds."""

from collections.abc import Sequence
from textwrap import indent
from typing import NamedTuple

ERROR, WARNING = 'error', 'warning'
#: Items that are printed of each finding; the report lists all.
SHOWN = 5


class Finding(NamedTuple):
    """An error, which stops training or makes its figures wrong, or a warning, which is worth a look.

    Args:
        level: `ERROR` or `WARNING`.
        title: What is wrong.
        items: Where: picture ids, files or classes, with details.
        remedy: What to do about it.
    """

    level: str
    title: str
    items: Sequence[str] = ()
    remedy: str = ''

    def lines(self, shown: int = SHOWN) -> list[str]:
        """Write it for reading."""
        count = f' ({len(self.items)})' if self.items else ''
        more = [f'... and {len(self.items) - shown} more'] if len(self.items) > shown else []
        details = [*self.items[:shown], *more, *([f'-> {self.remedy}'] if self.remedy else [])]
        return [f'{self.level}: {self.title}{count}', *(indent(text, '    ') for text in details)]


def error(title: str, items: Sequence[str] = (), remedy: str = '') -> Finding:
    """Give an error."""
    return Finding(ERROR, title, list(items), remedy)


def warning(title: str, items: Sequence[str] = (), remedy: str = '') -> Finding:
    """Give a warning."""
    return Finding(WARNING, title, list(items), remedy)


def where_any(findings: Sequence[Finding]) -> list[Finding]:
    """Keep the findings that list something, each once, errors first."""
    kept: list[Finding] = []
    for finding in findings:
        if finding.items and finding not in kept:
            kept.append(finding)
    return sorted(kept, key=lambda finding: finding.level != ERROR)
