"""Figures of a measurement: one JSON line each, and a Markdown table of them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from traceback import print_exc
from typing import Any

FIGURES, TABLE, PROFILES = "figures.jsonl", "table.md", "profiles.txt"
FAILED, SKIPPED = "failed", "skipped"
_LONGEST_MESSAGE = 200
_DRY_RUN = (
    "**A dry run on a CPU at tiny sizes: it shows that the program runs, and no figure means "
    "anything.**"
)


@dataclass(frozen=True)
class Bench:
    """Where a section writes its figures, and until when it may run.

    `dry`: whether to run at tiny sizes. `only`: part of the names of the cases to run. `deadline`:
    of time.monotonic().
    """

    folder: Path
    dry: bool = False
    only: str = ""
    deadline: float = float("inf")
    began: float = field(default_factory=time.monotonic)

    @property
    def has_time(self) -> bool:
        """Whether another case may begin."""
        return time.monotonic() < self.deadline

    def record(self, kind: str, **values: Any) -> None:
        """Append a line to figures.jsonl and print it; `kind` is the heading of its table."""
        line = {"kind": kind, **{key: _rounded(value) for key, value in values.items()}}
        with (self.folder / FIGURES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        seconds = time.monotonic() - self.began
        print(f"{seconds:6.1f} s", *(f"{key}={value}" for key, value in line.items()), flush=True)

    @contextmanager
    def case(self, kind: str, **names: Any) -> Iterator[None]:
        """Context of one case: an error in it is recorded, and ends only this case."""
        try:
            yield
        except Exception as error:
            print_exc(limit=-4)
            self.record(kind, **names, **{FAILED: short_message(error)})

    def may_run(self, kind: str, **names: Any) -> bool:
        """Whether the case is chosen and there is time; if only time lacks, that is recorded."""
        if not any(self.only in str(name) for name in names.values()):
            return False
        if not self.has_time:
            self.record(kind, **names, **{SKIPPED: "no time left"})
        return self.has_time


def short_message(error: BaseException) -> str:
    """The type of `error` and the beginning of its message, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST_MESSAGE]}"


def read_figures(folder: Path) -> list[dict[str, Any]]:
    path = folder / FIGURES
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_table(folder: Path, *, dry: bool) -> None:
    """Write table.md from all different lines of figures.jsonl."""
    lines = read_figures(folder)
    kinds = list(dict.fromkeys(line["kind"] for line in lines))
    parts = [_DRY_RUN] if dry else []
    for kind in kinds:
        rows: list[dict[str, Any]] = []
        for line in lines:
            row = {key: value for key, value in line.items() if key != "kind"}
            if line["kind"] == kind and row not in rows:
                rows.append(row)
        parts.append(f"### {kind}\n\n{markdown(rows)}")
    (folder / TABLE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table with one column per key, in the order in which keys first occur."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row.get(column, "")) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rounded(value: Any) -> Any:
    """A float with four digits; other values as they are."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "<br>".join(map(_cell, value))
    if isinstance(value, float) and abs(value) >= 1000:
        return f"{value:,.0f}"
    return str(value).replace("|", "\\|")
