"""`ptm report`: one HTML page with the curves, metrics and errors of a run, without scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.escaping import escaped_block
from ptm.files.writing import write_file
from ptm.recipe.saved_files import read_environment, read_metrics, read_recipe_data
from ptm.runs.report_diagnosis import STYLE, diagnosis_section
from ptm.train.diagnoses import read_diagnoses

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 260, 64, 28
_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#00838f", "#975a16", "#4a5568")
"""Line colours: of training, the held-out split, and further evaluation sets."""
_NOT_CURVES = {"step", "split", "epoch", "rows", "examples", "tokens", "skipped_steps"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1400px; color: #222 }
figure { display: inline-block; margin: 0 1.5rem 1.5rem 0 } figcaption { font-weight: 600 }
svg { background: #fafafa; border: 1px solid #ddd } text { font-size: 11px; fill: #555 }
pre { background: #f5f5f5; padding: 1rem; overflow: auto } td { padding-right: 1.5rem }
"""


def write_report(run: Path) -> Path:
    """Write `report.html` into the run folder; return its path.

    Raises UserError if `run` is not a run or has no reports yet.
    """
    if not (run / "recipe.yaml").exists():
        raise UserError(f'"{run}" is not a run: it has no recipe.yaml.')
    records = read_metrics(run)
    if not records:
        raise UserError(f"{run}: no reports yet (metrics.jsonl is empty).")
    names = sorted({key for r in records for key, v in r.items() if _is_curve(key, v)}, key=_order)
    figures = "\n".join(_figure(name, records) for name in names)
    diagnoses = "".join(map(diagnosis_section, read_diagnoses(run)))
    read_recipe_data(run / "recipe.yaml")
    recipe = html.escape((run / "recipe.yaml").read_text(encoding="utf-8"))
    title = html.escape(run.name)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}{STYLE}</style><h1>{title}</h1>{_facts(run, records)}{figures}{diagnoses}"
        f"<h2>Recipe</h2><pre>{recipe}</pre></html>\n"
    )
    path = run / "report.html"
    write_file(path, escaped_block(page))
    return path


def _is_curve(key: str, value: Any) -> bool:
    return key not in _NOT_CURVES and isinstance(value, int | float)


def _order(name: str) -> tuple[int, str]:
    first = ("loss", "perplexity", "accuracy", "learning_rate", "grad_norm", "tokens_per_second")
    return next((i for i, word in enumerate(first) if name.endswith(word)), len(first)), name


def _facts(run: Path, records: Sequence[dict[str, Any]]) -> str:
    last = records[-1]
    rows = {"steps": f"{last['step']:,}", "real tokens seen": f"{last.get('tokens', 0):,}"}
    for split in _splits(records):
        first, *others = (r for r in records if r["split"] == split)
        found: dict[str, Any] = others[-1] if others else first
        for key, value in found.items():
            # An evaluation reports nothing but metrics, training also rates and times.
            measured = split != "train" or key.endswith(("loss", "accuracy"))
            if value is None and measured:
                rows[f"{split} {key.replace('_', ' ')}"] = "not measured"
            if _is_curve(key, value) and measured:
                rows[f"{split} {key.replace('_', ' ')}"] = f"{value:.4f}"
                if others and first["step"] == 0 and _is_curve(key, first.get(key)):
                    rows[f"{split} {key.replace('_', ' ')}"] = f"{first[key]:.4f} → {value:.4f}"
    environment = read_environment(run)
    if environment is not None:
        hosts = environment.hosts.items()
        rows["hosts"] = ", ".join(f"{host} ({ranks})" for host, ranks in hosts)
        rows["versions"] = ", ".join(f"{k} {v}" for k, v in environment.versions.items())
    cells = "".join(
        f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in rows.items()
    )
    return f"<table>{cells}</table>"


def _splits(records: Sequence[dict[str, Any]]) -> list[str]:
    """The splits in `records`, training first."""
    return sorted(dict.fromkeys(r["split"] for r in records), key=lambda split: split != "train")


def _figure(name: str, records: Sequence[dict[str, Any]]) -> str:
    series = {
        split: [
            (r["step"], float(r[name]))
            for r in records
            if r["split"] == split and isinstance(r.get(name), int | float)
        ]
        for split in _splits(records)
    }
    colours = dict(zip(series, cycle(_COLOURS), strict=False))
    points = [point for line in series.values() for point in line]
    low, high = min(y for _, y in points), max(y for _, y in points)
    if low == high:
        # In proportion to the value, since 0.5 is lost in the rounding of a large one.
        margin = max(0.5, 0.01 * abs(low))
        low, high = low - margin, high + margin
    last = max(x for x, _ in points)

    def place(step: int, value: float) -> str:
        x = _LEFT + (_WIDTH - _LEFT - 10) * step / max(1, last)
        y = 10 + (_HEIGHT - _BOTTOM - 10) * (high - value) / (high - low)
        return f"{x:.1f},{y:.1f}"

    lines = "".join(
        f'<polyline fill="none" stroke="{colours[split]}" stroke-width="1.5" '
        f'points="{" ".join(place(*point) for point in line)}"/>'
        for split, line in series.items()
        if line
    )
    labels = (
        f'<text x="4" y="16">{high:.4g}</text><text x="4" y="{_HEIGHT - _BOTTOM}">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">0</text>'
        f'<text x="{_WIDTH - 90}" y="{_HEIGHT - 8}">step {last:,}</text>'
    )
    shown = ", ".join(
        f'<span style="color:{colours[split]}">{html.escape(split)}</span>'
        for split, x in series.items()
        if x
    )
    return (
        f"<figure><figcaption>{html.escape(name)} ({shown})</figcaption>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">{lines}{labels}</svg></figure>'
    )
