"""Mixtures of two small sources, the English and the Chinese lines of the bundled corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptm.cli import main
from ptm.errors import EXIT_DONE
from tests.support.small_runs import QUICKSTART, small_overrides

RECIPE = str(QUICKSTART / "roberta-tiny.yaml")
LINES = {"english": 120, "chinese": 200}
"""Lines of each source. The English ones are longer."""
SPLIT = ("data.sentence_splitting=true", "data.held_out=0.1")


def mixed(folder: Path, *others: str, weights: Sequence[float] = (0.7, 0.3)) -> list[str]:
    """Overrides for a mixture of English and Chinese with `weights`; its stores are in `folder`."""
    sources = ", ".join(
        f"{name}: {{files: {folder / name}.txt, weight: {weight}}}"
        for name, weight in zip(LINES, weights, strict=True)
    )
    return [f"data.corpus={{{sources}}}", f"data.store={folder / 'stores'}", *SPLIT, *others]


def write_corpora(folder: Path) -> None:
    """Write the files of both sources to `folder`."""
    for name, count in LINES.items():
        lines = (QUICKSTART / "corpus" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        (folder / f"{name}.txt").write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")


def preprocess_mixture(folder: Path, *overrides: str, fresh: bool = False) -> int:
    """Run `ptm preprocess` for the mixture with `overrides`; return its exit code."""
    words = small_overrides(folder / "stores", folder, "mixture", *overrides)
    return main(["preprocess", RECIPE, *(["--fresh"] if fresh else []), *words])


def write_mixture(folder: Path) -> None:
    """Write the files and the stores of both sources."""
    write_corpora(folder)
    assert preprocess_mixture(folder, *mixed(folder)) == EXIT_DONE
