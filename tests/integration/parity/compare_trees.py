"""Models that another version of ptm imports and exports, compared with those of this one.

    python -m tests.integration.parity.compare_trees OTHER --seed 1 --drawn 300 --unusual --recipes

OTHER is a folder with the other version's source, such as a `git worktree` of a commit. Both
versions import the same models of transformers: drawn ones (see `drawn_models`), and those of
`cases.unusual`. Both export the same small models of OTHER's recipes. This version, which reads
recipes of former formats, computes the logits.

The tables count by the option that an error names. The exit code is 1 if this version differs from
transformers, or rejects what the other one converts exactly, apart from NEW_ERRORS.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import logging

from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases.models import SavedModel, save_model
from tests.integration.parity.cases.unusual import UNUSUAL
from tests.integration.parity.drawn_models import (
    Outcome,
    comparison,
    draw_of,
    saved_models,
    small_texts,
    with_last_norm,
)
from tests.integration.parity.recipe_exports import FORMATS, small_models
from tests.support.two_sided import plan_of

NEW_ERRORS = ("unknown_option",)
"""Keys of configs that former versions ignored, and that are errors on purpose: unknown ones."""
ROOT = Path(__file__).parents[3]
_COMMANDS = Path(__file__).with_name("commands_of_tree.py")


@dataclass(frozen=True)
class Compared:
    """What became of a model in the other version and in this one.

    `named`: keys of the config or options that the error of a rejected model can name.
    """

    other: Outcome
    this: Outcome
    named: tuple[str, ...] = ()

    @property
    def is_worse(self) -> bool:
        if self.this.rejected:
            return not self.other.differs and not self.other.rejected and not self._is_new_error
        return self.this.differs

    @property
    def _is_new_error(self) -> bool:
        return any(key in self.this.reason for key in NEW_ERRORS)

    def reason(self, outcome: Outcome) -> str:
        """What a table calls an outcome: for an error, the named keys, else all keys."""
        if not outcome.rejected:
            return outcome.reason.split(" by ")[0]
        found = [key for key in self.named if key in outcome.reason]
        return f"error: {outcome.draw.split()[0]}: {', '.join(found or self.named)}"


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


def compare_imports(other: Path, models: Sequence[SavedModel], folder: Path) -> list[Compared]:
    """Import each model with both versions, and compare the logits with transformers'."""

    def outcome(model: SavedModel, result: _Result) -> Outcome:
        if result.code:
            return Outcome(draw_of(model), result.error, rejected=True)
        source = open_source(str(result.out))
        ours = loaded_model(plan_of(source.recipe()), source.tensors(), source=str(result.out))
        return Outcome(draw_of(model), comparison(ours, model.theirs.float(), model.inputs))

    commands = [["import", str(model.folder), "OUT", "--from", "hf"] for model in models]
    results = _in_both(other, commands, folder)
    return [
        Compared(
            outcome(model, of_other), outcome(model, of_this), tuple(sorted(model.case.config))
        )
        for model, (of_other, of_this) in zip(models, results, strict=True)
    ]


def compare_exports(other: Path, folder: Path, texts: Sequence[str]) -> list[Compared]:
    """Export a small model of each recipe of the other version with both, to both formats."""

    def outcome(source: ModelSource, target: str, result: _Result) -> Outcome:
        draw = f"{source.folder.parent.name} {source.folder.name}"
        if result.code:
            return Outcome(draw, result.error, rejected=True)
        return Outcome(draw, FORMATS[target](source, result.out, texts))

    sources = small_models(other / "recipes", folder / "models")
    jobs = [(source, target) for source in sources for target in FORMATS]
    commands = [["export", str(source.folder), "OUT", "--to", target] for source, target in jobs]
    results = _in_both(other, commands, folder)
    return [
        Compared(outcome(*job, of_other), outcome(*job, of_this), (f"--to {job[1]}",))
        for job, (of_other, of_this) in zip(jobs, results, strict=True)
    ]


@dataclass(frozen=True)
class _Result:
    out: Path
    code: int
    error: str


def _in_both(
    other: Path, commands: Sequence[Sequence[str]], folder: Path
) -> list[tuple[_Result, _Result]]:
    """Run commands in both versions, each with its own folder for OUT; folder, code, error."""
    found = []
    for name, tree in (("other", other), ("this", ROOT)):
        (folder / name).mkdir(parents=True)
        outs = [folder / name / f"{number}" for number in range(len(commands))]
        filled = [
            [str(out) if argument == "OUT" else argument for argument in command]
            for command, out in zip(commands, outs, strict=True)
        ]
        results = run_commands(tree, filled)
        found.append([_Result(out, *result) for out, result in zip(outs, results, strict=True)])
    return list(zip(*found, strict=True))


def unusual_models(vocab: Path, texts: Sequence[str], folder: Path) -> list[SavedModel]:
    """The models of `cases.unusual`, saved by transformers."""
    found = []
    for index, case in enumerate(UNUSUAL):
        place = folder / f"{index}"
        place.mkdir(parents=True)
        torch.manual_seed(index)
        found.append(save_model(with_last_norm(case), place, vocab=vocab, texts=texts))
    return found


def table(compared: Sequence[Compared]) -> str:
    """The counts by outcome in both versions, and every model that became worse."""
    other = Counter(one.reason(one.other) for one in compared)
    this = Counter(one.reason(one.this) for one in compared)
    reasons = sorted(other.keys() | this.keys(), key=lambda reason: (-this[reason], reason))
    lines = [f"{'other':>7}{'this':>7}", *(f"{other[r]:7}{this[r]:7}  {r}" for r in reasons)]
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
    other = parsed.other.resolve()
    worse = False

    def drawn(folder: Path, vocab: Path, texts: Sequence[str]) -> list[Compared]:
        place = folder / "models"
        models = saved_models(parsed.seed, parsed.drawn, vocab=vocab, texts=texts, folder=place)
        return compare_imports(other, list(models), folder)

    def unusual(folder: Path, vocab: Path, texts: Sequence[str]) -> list[Compared]:
        return compare_imports(other, unusual_models(vocab, texts, folder / "models"), folder)

    def recipes(folder: Path, vocab: Path, texts: Sequence[str]) -> list[Compared]:
        return compare_exports(other, folder, texts)

    chosen: dict[Callable[..., list[Compared]], bool] = {
        drawn: parsed.drawn > 0,
        unusual: parsed.unusual,
        recipes: parsed.recipes,
    }
    for group in (group for group, is_chosen in chosen.items() if is_chosen):
        with tempfile.TemporaryDirectory() as scratch:
            vocab, texts = small_texts(Path(scratch))
            compared = group(Path(scratch) / "both", vocab, texts)
            print(f"{len(compared)} {group.__name__}\n{table(compared)}\n", flush=True)
            worse = worse or any(one.is_worse for one in compared)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
