"""A store of the bundled corpus and a model so small that a training takes a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.recipe import load_recipe
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from ptm.train.run import train
from ptm.train.trainer import ignore_step
from tests.support.faults import die_at_step, stop_at_step

PROJECT = Path(__file__).parents[2]
QUICKSTART = PROJECT / "recipes" / "quickstart"
# Metrics that depend on the clock or on the machine, and not on the model.
TIMING = {
    "tokens_per_second",
    "examples_per_second",
    "step_seconds",
    "data_wait_seconds",
    "model_tflops",
    "mfu",
    "hfu",
    "save_seconds",
    "memory_bytes",
}


def without_timing(record: Mapping[str, Any]) -> dict[str, Any]:
    """A report without what depends on the clock or the machine."""
    return {
        key: value
        for key, value in record.items()
        if key not in TIMING and not key.startswith("system/")
    }


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bundled_store(tmp_path_factory.mktemp("stores") / "bundled")


def build_bundled_store(folder: Path) -> Path:
    """Write the store of the bundled corpus to `folder`, and return it."""
    recipe = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [f"tokenizer.vocab={vocab()}"])
    preprocess(
        Preprocessing(
            corpus=find_corpus([str(QUICKSTART / "corpus" / "*.txt")]),
            layout="documents",
            tokenizer=recipe.tokenizer,
            segmenter=None,
        ),
        folder,
        workers=1,
        fresh=False,
        report=lambda progress: None,
    )
    return folder


def vocab() -> Path:
    return QUICKSTART / "vocab.txt"


def small_overrides(store: Path, runs: Path, name: str, *others: str) -> list[str]:
    """KEY=VALUE arguments that make the quickstart's recipe small; `others` take precedence."""
    small = [
        f"name={name}",
        f"runs_dir={runs}",
        f"tokenizer.vocab={vocab()}",
        f"data.corpus={QUICKSTART / 'corpus'}/*.txt",
        f"data.store={store}",
        "data.sequence_length=64",
        "model.encoder.layers=1",
        "model.encoder.hidden_size=32",
        "model.encoder.feed_forward_size=64",
        "train.steps=12",
        "train.global_batch_size=8",
        "train.micro_batch_size=4",
        "checkpoint.every=4",
        "checkpoint.keep=5",
        "tracking.log_every=5",
        "tracking.evaluate_every=6",
        # They take as long as the rest of an evaluation; tests of samples set them.
        "tracking.samples=0",
    ]
    last: dict[str, str] = {}
    for word in (*small, *others):
        key = word.partition("=")[0]
        # Keeps the order of the arguments, as a block may come after one of its keys.
        last.pop(key, None)
        last[key] = word
    return list(last.values())


Calm = Callable[..., list[dict[str, Any]]]
"""Type of the fixture `calm`: overrides -> metrics of an undisturbed run."""


class Runs:
    """Trains small models in this process; all runs are in one folder."""

    def __init__(self, store: Path, folder: Path) -> None:
        self.store = store
        self.folder = folder

    def arguments(self, name: str, *overrides: str) -> list[str]:
        recipe = str(QUICKSTART / "roberta-tiny.yaml")
        return [recipe, *small_overrides(self.store, self.folder, name, *overrides)]

    def train(
        self,
        name: str,
        *overrides: str,
        fresh: bool = False,
        stop_at: int | None = None,
        die_at: int | None = None,
    ) -> int:
        """Train, stopped or killed after step `stop_at` or `die_at`; returns the exit code."""
        recipe, *rest = self.arguments(name, *overrides)
        if stop_at is not None:
            fault = stop_at_step(stop_at)
        elif die_at is not None:
            fault = die_at_step(die_at)
        else:
            fault = ignore_step
        return train(lambda: load_recipe(recipe, rest), fresh=fresh, on_step_begin=fault)

    def change_at_every_step(
        self, name: str, changes: Sequence[Sequence[str]], *overrides: str
    ) -> list[dict[str, Any]]:
        """Stop a run after each step, resume it with the next of `changes`; returns its metrics.

        The run has one step per change, and reports each step.
        """
        last = len(changes)
        steps = (f"train.steps={last}", "tracking.log_every=1", "checkpoint.keep=1")
        for step, change in enumerate(changes, start=1):
            stop_at = step if step < last else None
            code = self.train(name, *overrides, *steps, *change, stop_at=stop_at)
            assert code == (EXIT_DONE if step == last else EXIT_STOPPED)
        return self.metrics(name)

    def metrics(self, name: str) -> list[dict[str, Any]]:
        lines = (self.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [without_timing(json.loads(line)) for line in lines]

    def checkpoints(self, name: str) -> list[int]:
        found = (self.folder / name / "checkpoints").glob("global_step*")
        return sorted(int(path.name.removeprefix("global_step")) for path in found)


@pytest.fixture
def runs(store: Path, tmp_path: Path) -> Runs:
    return Runs(store, tmp_path / "runs")


@pytest.fixture(scope="session")
def calm(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    """Metrics of an undisturbed (calm) run with the given overrides, trained once per session."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    made = Runs(store, tmp_path_factory.mktemp("calm"))

    def metrics(*overrides: str) -> list[dict[str, Any]]:
        if overrides not in found:
            name = f"calm{len(found)}"
            assert made.train(name, *overrides) == 0
            found[overrides] = made.metrics(name)
        return found[overrides]

    return metrics
