"""What a report page leaves out because it is damaged: a warning on the console and on the page."""

from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from pathlib import Path

from ptm.recipe.saved_files import read_environment, read_metrics
from ptm.train.diagnoses import read_diagnoses
from ptm.train.samples.record import read_samples

_MOST = 20
"""Sentences about a run; a file may have many damaged lines."""

logger = logging.getLogger(__name__)


def damage_of(run: Path) -> list[str]:
    """A sentence for each damaged file or line of a run, with its place; at most 21."""
    damage: list[str] = []
    for read in (read_environment, read_metrics, read_samples, read_diagnoses):
        read(run, damage=damage)
    more = len(damage) - _MOST
    return [*damage[:_MOST], *([f"{run}: {more} more."] if more > 0 else [])]


def log_damage(runs: Sequence[Path]) -> None:
    """Warn of everything that the page of `runs` leaves out."""
    for run in runs:
        for sentence in damage_of(run):
            logger.warning("left out of the page: %s", sentence)


def damage_section(runs: Sequence[Path]) -> str:
    """The HTML that names what the page leaves out; empty if nothing is damaged."""
    sentences = [sentence for run in runs for sentence in damage_of(run)]
    rows = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>Damaged files</h2><p>Left out of this page:</p><ul>{rows}</ul>" if rows else ""
