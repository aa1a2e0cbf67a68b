"""DeepSpeed reads every setting in the files of ds_configs/ with the value they state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from deepspeed.runtime.config import DeepSpeedConfig

from ptm.engines.ds_config import ds_config, zero_stage
from ptm.errors import EXIT_DONE
from ptm.recipe import load_recipe
from ptm.recipe.batch import batches_of
from tests.support.small_runs import PROJECT, Runs

FOLDER = PROJECT / "ds_configs"
STAGES = {
    "zero0": 0,
    "zero1": 1,
    "zero2": 2,
    "zero3": 3,
    "zero2-offload": 2,
    "zero3-offload": 3,
    "zero3-nvme": 3,
    "pipeline": 1,
}
# A pipeline needs two ranks; NVMe offload is tested in integration/training/test_offload.py.
TRAIN_ALONE = [name for name in STAGES if name not in ("zero0", "zero3-nvme", "pipeline")]
SHORT = (
    "model.dropout=0.0",
    "train.steps=4",
    "checkpoint.every=100",
    "tracking.log_every=1",
    "tracking.evaluate_every=100",
)


def read(name: str) -> dict[str, Any]:
    """Return the file's content."""
    config: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return config


def merged(name: str, *overrides: str, ranks: int = 1) -> dict[str, Any]:
    """Return the file merged with the quickstart recipe."""
    recipe = load_recipe(
        str(PROJECT / "recipes/quickstart/roberta-tiny.yaml"),
        [f"engine.deepspeed={FOLDER / name}.json", *overrides],
    )
    return ds_config(recipe, batches_of(recipe.train, recipe.engine, ranks=ranks))


def assert_understood(stated: Mapping[str, Any], found: Mapping[str, Any], at: str) -> None:
    """Assert that DeepSpeed read each value that the JSON states."""
    for key, value in stated.items():
        if isinstance(value, Mapping):
            assert_understood(value, found[key], f"{at}.{key}")
        elif key == "nvme_path":
            assert Path(found[key]).parent == Path(value), "a run has a folder of its own"
        else:
            assert found[key] == value, f"{at}.{key}"


@pytest.mark.parametrize(
    ("name", "precision", "ranks", "stage"),
    [
        ("zero1", "fp32", 1, 0),
        ("zero2", "fp32", 1, 0),
        ("zero1", "fp32", 2, 1),
        ("zero1", "bf16", 1, 1),
        ("zero2-offload", "fp32", 1, 2),
        ("zero3", "fp32", 1, 3),
    ],
)
def test_a_single_rank_in_fp32_needs_no_partition(
    name: str, precision: str, ranks: int, stage: int
) -> None:
    recipe = load_recipe(
        str(PROJECT / "recipes/quickstart/roberta-tiny.yaml"),
        [f"engine.deepspeed={name}", f"engine.precision={precision}"],
    )
    config = ds_config(recipe, batches_of(recipe.train, recipe.engine, ranks=ranks))
    assert zero_stage(config) == stage


def test_every_file_of_ds_configs_is_tested() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in STAGES}


@pytest.mark.parametrize("name", STAGES)
def test_a_file_states_its_zero_stage(name: str) -> None:
    assert read(name)["zero_optimization"]["stage"] == STAGES[name]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", STAGES)
def test_a_file_works_with_every_precision_and_keeps_its_stage(name: str, precision: str) -> None:
    assert zero_stage(merged(name, f"engine.precision={precision}", ranks=2)) == STAGES[name]


@pytest.mark.parametrize("name", STAGES)
def test_deepspeed_reads_the_values_that_a_file_states(name: str) -> None:
    stated = read(name)
    found = DeepSpeedConfig(merged(name, "engine.precision=bf16"))
    assert set(stated) <= {"zero_optimization", "aio"}
    zero = json.loads(found.zero_config.model_dump_json(by_alias=True))
    assert_understood(stated["zero_optimization"], zero, "zero_optimization")
    assert_understood(stated.get("aio", {}), found.aio_config, "aio")


def test_the_pipeline_file_equals_zero1() -> None:
    assert read("pipeline") == read("zero1")


@pytest.mark.parametrize("name", TRAIN_ALONE)
def test_a_file_trains_with_the_losses_of_zero_0(runs: Runs, calm: Any, name: str) -> None:
    assert runs.train("run", *SHORT, f"engine.deepspeed={name}") == EXIT_DONE
    expected = calm(*SHORT, "engine.deepspeed=zero0")
    assert expected[0]["loss"] != expected[3]["loss"]
    for record, other in zip(runs.metrics("run"), expected, strict=True):
        for metric in {"loss", "grad_norm"} & record.keys():
            assert record[metric] == pytest.approx(other[metric], rel=1e-5)
