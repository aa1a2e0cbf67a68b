"""A training with both sides packed apart learns what one on rows of pairs learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.loading.batches import TrainStream
from ptm.loading.rows import TRAIN, open_rows
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.batch import batches_of
from ptm.train.run import train
from ptm.train.trainer import ignore_step
from tests.conftest import Bundled
from tests.integration.engines.comparing import differences
from tests.integration.engines.tiny_recipes import Files, bundled_files
from tests.support.faults import stop_at_step
from tests.support.small_runs import PROJECT, Runs

RECIPE = PROJECT / "recipes" / "pegasus" / "tiny.yaml"
SHORT = (
    *("train.steps=6", "train.global_batch_size=16", "train.micro_batch_size=8"),
    *("data.target_sequence_length=20", "tracking.evaluate_every=3", "checkpoint.every=2"),
    *("model.encoder.layers=1", "model.decoder.layers=1"),
)


@pytest.fixture(scope="module")
def files(bundled: Bundled, tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = bundled_files(bundled, tmp_path_factory.mktemp("corpora"))
    assert main(["preprocess", str(RECIPE), *made.overrides(RECIPE)]) == EXIT_DONE
    return made


class Trainings:
    """Trains the tiny PEGASUS."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder

    def recipe(self, name: str, *overrides: str) -> Recipe:
        every = (*self._files.overrides(RECIPE), *SHORT, *overrides)
        last = {word.partition("=")[0]: word for word in every}
        return load_recipe(
            str(RECIPE), [f"name={name}", f"runs_dir={self._folder}", *last.values()]
        )

    def train(self, name: str, *overrides: str, stop_at: int | None = None) -> int:
        fault = ignore_step if stop_at is None else stop_at_step(stop_at)
        return train(lambda: self.recipe(name, *overrides), fresh=False, on_step_begin=fault)

    def metrics(self, name: str) -> list[dict[str, Any]]:
        return Runs(self._folder, self._folder).metrics(name)


@pytest.fixture
def trainings(files: Files, tmp_path: Path) -> Trainings:
    return Trainings(files, tmp_path)


def test_losses_and_rows_are_those_of_rows_of_pairs(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = ("model.dropout=0.0",)
    recipe = trainings.recipe("apart", *exact)
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    batch = batches_of(recipe.train, recipe.engine, ranks=1)
    shape = TrainStream(rows, batch, data_parallel_rank=0).step(0).packed_shape
    assert 0 < shape.source_rows < batch.micro_batch_size, shape
    assert trainings.train("apart", *exact) == EXIT_DONE
    with monkeypatch.context() as patch:
        patch.setattr(Recipe, "packs_sides_apart", False)
        assert not trainings.recipe("together", *exact).packs_sides_apart
        assert trainings.train("together", *exact) == EXIT_DONE
    worst = differences(trainings.metrics("apart"), trainings.metrics("together"))
    assert {key: apart for key, apart in worst.items() if apart > 2e-6} == {}


def test_a_stopped_training_resumes_with_identical_metrics(trainings: Trainings) -> None:
    assert trainings.train("whole") == EXIT_DONE
    assert trainings.train("stopped", stop_at=3) == EXIT_STOPPED
    assert trainings.train("stopped") == EXIT_DONE
    assert trainings.metrics("stopped") == trainings.metrics("whole")
