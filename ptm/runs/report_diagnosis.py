"""Diagnoses of evaluation sets as a part of a run's page: tables of labels and worst examples."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from ptm.counted import counted
from ptm.train.diagnoses import DiagnosisFile

_MOST_LABELS = 20
"""Labels of a confusion matrix; of more labels the most frequent confusions are listed."""
_MOST_ROWS = 100
_MOST_CONFUSIONS = 30

STYLE = """
table.counts td, table.counts th { padding: 0.15rem 0.6rem; text-align: right; font-weight: 400 }
table.counts th { color: #555 } table.counts td:first-child { text-align: left }
table.worst td { vertical-align: top; padding-bottom: 0.4rem }
"""


def diagnosis_section(found: DiagnosisFile) -> str:
    """The HTML of one evaluation set; empty if there is nothing to show."""
    step = "" if found.step is None else f" (step {found.step:,})"
    parts = [_labels(found), _confusions(found), _worst(found)]
    body = "".join(part for part in parts if part)
    return f"<h2>{_text(found.evaluation)}{step}</h2>{body}" if body else ""


def _labels(found: DiagnosisFile) -> str:
    if not found.labels:
        return ""
    kept = sorted(found.labels, key=lambda one: -one.support)[:_MOST_ROWS]
    rows = [
        (one.label, *(f"{value:.4f}" for value in (one.precision, one.recall, one.f1)))
        + (f"{one.support:,}",)
        for one in kept
    ]
    left = len(found.labels) - len(kept)
    note = f"<p>{counted(left, 'rarer label is', 'rarer labels are')} left out.</p>" if left else ""
    return _table(("label", "precision", "recall", "F1", "number"), rows) + note


def _confusions(found: DiagnosisFile) -> str:
    names = list(dict.fromkeys(one.label for one in found.confusions))
    names += [
        name for name in dict.fromkeys(one.predicted for one in found.confusions)
        if name not in names
    ]
    if not names:
        return ""
    if len(names) > _MOST_LABELS:
        wrong = [one for one in found.confusions if one.label != one.predicted]
        rows = [(one.label, one.predicted, f"{one.count:,}") for one in wrong[:_MOST_CONFUSIONS]]
        return "<h3>Most frequent confusions</h3>" + _table(("label", "predicted", "number"), rows)
    counts = {(one.label, one.predicted): one.count for one in found.confusions}
    names.sort()
    matrix = [(name, *(f"{counts.get((name, other), 0):,}" for other in names)) for name in names]
    head = ("label \\ predicted", *names)
    return "<h3>Confusion matrix</h3>" + _table(head, matrix)


def _worst(found: DiagnosisFile) -> str:
    if not found.worst:
        return ""
    rows = "".join(
        f"<tr><td>{_text(one.label)}</td><td>{_text(one.predicted)}</td>"
        f"<td>{one.loss:.4f}</td><td>{_text(text)}</td></tr>"
        for one, text in zip(found.worst, found.texts, strict=True)
    )
    return (
        "<h3>Examples with the highest loss</h3><table class=worst>"
        f"<tr><td>label</td><td>predicted</td><td>loss</td><td>tokens</td></tr>{rows}</table>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    names = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table class=counts><tr>{names}</tr>{lines}</table>"


def _text(value: str) -> str:
    return html.escape(value)
