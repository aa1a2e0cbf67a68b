"""Diagnoses of evaluation sets as a part of a run's page: tables of labels and worst examples."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from ptm.counted import counted
from ptm.runs.page.html import subtable
from ptm.train.diagnoses import DiagnosisFile

_MOST_LABELS = 20
"""Labels of a confusion matrix; of more labels the most frequent confusions are listed."""
_MOST_ROWS = 100
_MOST_CONFUSIONS = 30


def diagnosis_section(found: DiagnosisFile) -> str:
    """The HTML of one evaluation set; empty if there is nothing to show."""
    step = "" if found.step is None else f" (step {found.step:,})"
    parts = [_labels(found), _confusions(found), _worst(found)]
    body = "".join(part for part in parts if part)
    return f"<h2>{html.escape(found.evaluation)}{step}</h2>{body}" if body else ""


def _places(found: DiagnosisFile) -> dict[str, int]:
    """The place of each label on the page: the order of the recipe, which that of `labels` is."""
    return {one.label: place for place, one in enumerate(found.labels)}


def _ordered(names: Iterable[str], places: Mapping[str, int]) -> list[str]:
    """Labels in the order of the page. Tags such as `B-PER` have the place of their entity."""
    last = len(places)

    def place(name: str) -> tuple[int, str]:
        return places.get(name, places.get(name.partition("-")[2], last)), name

    return sorted(names, key=place)


def _labels(found: DiagnosisFile) -> str:
    if not found.labels:
        return ""
    frequent = sorted(found.labels, key=lambda one: -one.support)[:_MOST_ROWS]
    places = _places(found)
    rows = [
        (
            one.label,
            *(f"{value:.4f}" for value in (one.precision, one.recall, one.f1)),
            f"{one.support:,}",
        )
        for one in sorted(frequent, key=lambda one: places[one.label])
    ]
    left = len(found.labels) - len(frequent)
    note = f"<p>{counted(left, 'rarer label is', 'rarer labels are')} left out.</p>" if left else ""
    return subtable(("label", "precision", "recall", "F1", "number"), rows, kind="counts") + note


def _confusions(found: DiagnosisFile) -> str:
    pairs = [(one.label, one.predicted) for one in found.confusions]
    names = _ordered({name for pair in pairs for name in pair}, _places(found))
    if not names:
        return ""
    if len(names) > _MOST_LABELS:
        wrong = [one for one in found.confusions if one.label != one.predicted]
        rows = [(one.label, one.predicted, f"{one.count:,}") for one in wrong[:_MOST_CONFUSIONS]]
        head: tuple[str, ...] = ("label", "predicted", "number")
        return f"<h3>Most frequent confusions</h3>{subtable(head, rows, kind='counts')}"
    counts = {(one.label, one.predicted): one.count for one in found.confusions}
    matrix = [(name, *(f"{counts.get((name, other), 0):,}" for other in names)) for name in names]
    head = ("label \\ predicted", *names)
    return f"<h3>Confusion matrix</h3>{subtable(head, matrix, kind='counts')}"


def _worst(found: DiagnosisFile) -> str:
    if not found.worst:
        return ""
    rows = [
        (one.label, one.predicted, f"{one.loss:.4f}", text)
        for one, text in zip(found.worst, found.texts, strict=True)
    ]
    table = subtable(("label", "predicted", "loss", "tokens"), rows, kind="texts")
    return f"<h3>Examples with the highest loss</h3>{table}"
