"""Models of transformers that another version of ptm imports, compared with this one.

    python -m tests.integration.parity.compare_trees OTHER --seed 1 --drawn 300 --unusual

OTHER is a folder with the other version's source, such as a `git worktree` of a commit. Both
versions import the same folders: drawn ones (see `drawn_models`), and those of `cases.unusual`. The
imports of both are loaded by this version, which reads recipes of former formats. The table counts
by reason; the exit code is 1 if a model is not imported exactly any more, or differs.

    python -m tests.integration.parity.compare_trees OTHER --recipes

exports a model of each of OTHER's recipes with both versions, made small, with random weights. It
prints what only one of them exports exactly.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import logging

from ptm.interop.sources.open import open_source
from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases.models import SavedModel, save_model
from tests.integration.parity.cases.unusual import UNUSUAL
from tests.integration.parity.drawn_models import (
    EQUAL,
    Outcome,
    draw_of,
    reason_of,
    saved_models,
    small_texts,
    with_last_norm,
)
from tests.support.bert_pairs import TOLERANCE, difference
from tests.support.two_sided import plan_of

ROOT = Path(__file__).parents[3]
_COMMANDS = Path(__file__).with_name("commands_of_tree.py")


def run_commands(tree: Path, commands: Sequence[Sequence[str]]) -> list[tuple[int, str]]:
    """Run commands of the ptm in `tree`; returns exit codes and what they wrote to stderr."""
    done = subprocess.run(
        [sys.executable, str(_COMMANDS)],
        input=json.dumps(commands),
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [(code, error) for code, error in map(json.loads, done.stdout.splitlines())]


@dataclass(frozen=True)
class Compared:
    """What became of a model in the other version and in this one."""

    other: Outcome
    this: Outcome

    @property
    def is_worse(self) -> bool:
        return self.this.differs or (self.other.reason == EQUAL and self.this.rejected)


def compare_imports(other: Path, models: Sequence[SavedModel], folder: Path) -> list[Compared]:
    """Import each model with both versions, and compare the logits with transformers'."""
    outcomes = []
    for name, tree in (("other", other), ("this", ROOT)):
        outs = [folder / f"{name}{index}" for index in range(len(models))]
        commands = [
            ["import", str(model.folder), str(out), "--from", "hf"]
            for model, out in zip(models, outs, strict=True)
        ]
        results = run_commands(tree, commands)
        outcomes.append(
            [
                _imported(model, out, *result)
                for model, out, result in zip(models, outs, results, strict=True)
            ]
        )
    return [Compared(*pair) for pair in zip(*outcomes, strict=True)]


def _imported(theirs: SavedModel, out: Path, code: int, error: str) -> Outcome:
    if code:
        return Outcome(draw_of(theirs), error.strip().removeprefix("ptm: "), rejected=True)
    source = open_source(str(out))
    ours = loaded_model(plan_of(source.recipe()), source.tensors(), source=str(out))
    found = difference(theirs.inputs.ptm_logits(ours, theirs.inputs.padded), theirs.expected)
    return Outcome(draw_of(theirs), EQUAL if found <= TOLERANCE else f"differs by {found:.1e}")


def unusual_models(vocab: Path, texts: Sequence[str], folder: Path) -> list[SavedModel]:
    """The models of `cases.unusual`, saved by transformers."""
    found = []
    for index, case in enumerate(UNUSUAL):
        place = folder / f"unusual{index}"
        place.mkdir(parents=True)
        torch.manual_seed(index)
        case = with_last_norm(case)
        try:
            found.append(save_model(case, place, vocab=vocab, texts=texts))
        except Exception as error:
            print(f"transformers cannot build {case.family.name} {case.config}: {error}")
    return found


def table(compared: Sequence[Compared]) -> str:
    """The counts by reason in both versions, and every model that became worse."""
    other = Counter(reason_of(one.other) for one in compared)
    this = Counter(reason_of(one.this) for one in compared)
    reasons = sorted(other.keys() | this.keys(), key=lambda reason: (-this[reason], reason))
    lines = ["  other    this", *(f"{other[r]:7} {this[r]:7}  {r}" for r in reasons)]
    worse = [one for one in compared if one.is_worse]
    lines += [f"WORSE {w.this.draw}: {w.other.reason} -> {w.this.reason}" for w in worse]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Compare, print the tables; 1 if something became worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drawn", type=int, default=0)
    parser.add_argument("--unusual", action="store_true")
    parser.add_argument("--recipes", action="store_true")
    parsed = parser.parse_args(arguments)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    worse = False
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        vocab, texts = small_texts(folder)
        groups: list[tuple[str, list[SavedModel]]] = []
        if parsed.drawn:
            drawn = saved_models(
                parsed.seed, parsed.drawn, vocab=vocab, texts=texts, folder=folder / "drawn"
            )
            groups.append(("drawn", list(drawn)))
        if parsed.unusual:
            groups.append(("unusual", unusual_models(vocab, texts, folder)))
        for name, models in groups:
            compared = compare_imports(parsed.other.resolve(), models, folder / f"{name}-imports")
            print(f"{len(models)} {name} configurations\n{table(compared)}\n")
            worse = worse or any(one.is_worse for one in compared)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
