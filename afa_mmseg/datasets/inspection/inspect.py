"""All files of a data set, looked at once."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Optional

from ...utils import run_parallel
from .findings import ERROR, Finding, where_any
from .pictures import Job, look_at
from .rules import Facts, check_duplicates, check_labels, check_masks, check_pictures
from .sources import Source, Split, gather


class Inspection(NamedTuple):
    """What was looked at, and what was found, errors first."""

    splits: list[Split]
    facts: Facts
    findings: list[Finding]

    @property
    def num_errors(self) -> int:
        """How many of the findings are errors."""
        return sum(finding.level == ERROR for finding in self.findings)


def inspect_sources(sources: Sequence[Source], num_workers: Optional[int] = None) -> Inspection:
    """Decode every picture and every mask of these splits, and check them with their labels.

    Args:
        sources: Training first.
        num_workers: See `run_parallel`.
    """
    gathered = [gather(source) for source in sources]
    splits = [split for split, _ in gathered if split is not None]
    findings = [finding for _, found in gathered for finding in found]
    facts = _look_at_files(splits, num_workers)
    for split in splits:
        findings += [*check_pictures(split, facts), *check_masks(split, facts)]
    findings += [*check_duplicates(splits, facts), *check_labels(splits)]
    return Inspection(splits, facts, where_any(findings))


def _look_at_files(splits: Sequence[Split], num_workers: Optional[int]) -> Facts:
    """Look at each picture once; its mask comes from the split that has one."""
    jobs: dict[str, Job] = {}
    backend_args = None
    for split in splits:
        backend_args = backend_args or split.backend_args
        for img_id, path in split.paths.items():
            mask = split.masks.get(img_id)
            if path not in jobs or mask is not None:
                jobs[path] = Job(path, mask, split.exif_orientation)
    look = partial(look_at, backend_args=backend_args)
    return dict(zip(jobs, run_parallel(look, list(jobs.values()), 'pictures', num_workers)))
