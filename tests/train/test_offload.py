"""Offload: trains and resumes as without it; what could not work is refused in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.ops.op_builder import AsyncIOBuilder

import ptm.train.engines.async_io
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_STOPPED
from ptm.train.offload import offload_folders, with_own_folders
from tests.train.conftest import QUICKSTART, Runs
from tests.train.test_engine_block import refused  # noqa: F401
from tests.train.test_resume import stop_after

Calm = Callable[..., list[dict[str, Any]]]
Said = Callable[..., str]

OFFLOADED = ("zero2-offload", "zero3-offload")
STAGES = ("zero0", "zero1", "zero2", "zero3")
SHORT = ("train.steps=6", "tracking.report_every=1", "data.held_out=0", "checkpoint.every=100")
PAIRS = [(a, b) for a in OFFLOADED for b in (*STAGES, *OFFLOADED)]
PAIRS += [(a, b) for a in STAGES for b in OFFLOADED]
# In bf16 stage 0 adds gradients up in bf16, which the others do not.
HALF = [(a, b) for a in OFFLOADED for b in ("zero1", "zero3", *OFFLOADED)]
HALF += [(a, b) for a in ("zero1", "zero3") for b in OFFLOADED]


@pytest.fixture(scope="module")
def stopped(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a run that was stopped after three of six steps, trained once."""
    made: dict[tuple[str, ...], Path] = {}

    def folder(*overrides: str) -> Path:
        if overrides not in made:
            runs = Runs(store, tmp_path_factory.mktemp("stopped"))
            with pytest.MonkeyPatch.context() as patch:
                stop_after(patch, 3)
                assert runs.train("moved", *overrides) == EXIT_STOPPED
            assert runs.checkpoints("moved") == [3]
            made[overrides] = runs.folder / "moved"
        return made[overrides]

    return folder


@pytest.fixture
def moved(runs: Runs, stopped: Callable[..., Path]) -> Callable[..., list[dict[str, Any]]]:
    """The metrics of a run that `before` began and `after` went on with."""

    def metrics(before: str, after: str, *overrides: str) -> list[dict[str, Any]]:
        begun = stopped(*overrides, f"engine.deepspeed={before}")
        shutil.copytree(begun, runs.folder / "moved")
        assert runs.train("moved", *overrides, f"engine.deepspeed={after}") == EXIT_DONE
        return runs.metrics("moved")

    return metrics


def assert_close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    for record, other in zip(found, expected, strict=True):
        for metric in ("loss", "grad_norm"):
            assert record[metric] == pytest.approx(other[metric], rel=1e-5)


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_run_goes_on_with_and_without_offload(
    moved: Any, calm: Calm, before: str, after: str
) -> None:
    quiet = (*SHORT, "model.dropout=0.0")
    assert_close(moved(before, after, *quiet), calm(*quiet, f"engine.deepspeed={before}"))


@pytest.mark.parametrize(("before", "after"), HALF)
def test_a_run_in_bf16_goes_on_with_and_without_offload(
    moved: Any, calm: Calm, before: str, after: str
) -> None:
    quiet = (*SHORT, "model.dropout=0.0", "engine.precision=bf16")
    assert_close(moved(before, after, *quiet), calm(*quiet, f"engine.deepspeed={before}"))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", OFFLOADED)
def test_an_offloaded_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    moved: Any, calm: Calm, name: str, precision: str
) -> None:
    engine = (*SHORT, "model.dropout=0.1", f"engine.precision={precision}")
    assert moved(name, name, *engine) == calm(*engine, f"engine.deepspeed={name}")


@pytest.fixture
def validated(refused: Said, tmp_path: Path) -> Said:  # noqa: F811
    """What `ptm validate` says of a file with this block for ZeRO."""

    def sentence(block: Any, *options: str) -> str:
        path = tmp_path / "ds.json"
        path.write_text(json.dumps({"zero_optimization": block}))
        command = " ".join(("validate", *options))
        return refused(command, f"engine.deepspeed={path}").replace(str(path), "ds.json")

    return sentence


CPU = {"device": "cpu"}
NVME = {"device": "nvme", "nvme_path": "/tmp"}
IGNORED = "ptm: ds.json: offload is part of ZeRO, and DeepSpeed ignores it at zero_optimization."
REFUSED = {
    "optimizer at stage 0": ({"stage": 0, "offload_optimizer": CPU}, IGNORED + "stage = 0"),
    "parameters at no stage": ({"offload_param": CPU}, IGNORED + "stage = 0: use stage 1, 2 or 3"),
    "parameters at stage 2": (
        {"stage": 2, "offload_param": CPU},
        "offload_param needs stage 3, and DeepSpeed ignores it at stage 2: use stage 3, or",
    ),
    "parameters at stage 1": ({"stage": 1, "offload_param": CPU}, "ignores it at stage 1"),
    "optimizer on NVMe at stage 2": (
        {"stage": 2, "offload_optimizer": NVME},
        'device = "nvme" needs stage 3, and at stage 2 nothing is put on NVMe: use stage 3, or "cp',
    ),
    "optimizer on NVMe at stage 1": (
        {"stage": 1, "offload_optimizer": NVME},
        "at stage 1 nothing is put on NVMe",
    ),
    "round robin": (
        {"stage": 2, "round_robin_gradients": True},
        "round_robin_gradients = true orders parameters in a way in which checkpoints would be wro",
    ),
    "old optimizer key": (
        {"stage": 2, "cpu_offload": True},
        'cpu_offload is an old name: write "offload_optimizer": {"device": "cpu", "pin_memory": t',
    ),
    "old parameter key": (
        {"stage": 3, "cpu_offload_param": True},
        'cpu_offload_param is an old name: write "offload_param": {"device": "cpu"',
    ),
    "part of the optimizer": (
        {"stage": 3, "offload_optimizer": {**CPU, "ratio": 0.5}},
        "offload_optimizer: ratio below 1 and super_offload need an optimizer of DeepSpeed's own",
    ),
    "super offload": (
        {"stage": 3, "offload_optimizer": {**CPU, "super_offload": True}},
        "ratio below 1 and super_offload need an optimizer of DeepSpeed's own: remove them.",
    ),
    "too few buffers": (
        {"stage": 3, "offload_optimizer": {**NVME, "buffer_count": 3}},
        "offload_optimizer.buffer_count = 3 is too few here: set 4 or more.",
    ),
    "too few buffers for reading ahead": (
        {"stage": 3, "offload_optimizer": {**NVME, "pipeline_read": True}},
        "offload_optimizer.buffer_count = 4 is too few here: set 8 or more.",
    ),
    "too few buffers for both": (
        {"stage": 3, "offload_optimizer": {**NVME, "pipeline_read": True, "pipeline_write": True}},
        "offload_optimizer.buffer_count = 4 is too few here: set 12 or more.",
    ),
    "no path for the optimizer": (
        {"stage": 3, "offload_optimizer": {"device": "nvme"}},
        "offload_optimizer.nvme_path is missing: give a folder on a fast local disk.",
    ),
    "no path for the parameters": (
        {"stage": 3, "offload_param": {"device": "nvme"}, "stage3_prefetch_bucket_size": 0},
        "zero_optimization.offload_param.nvme_path is missing",
    ),
    "parameters on NVMe, read ahead": (
        {"stage": 3, "offload_param": NVME},
        "works only with stage3_prefetch_bucket_size = 0, as DeepSpeed otherwise reads a paramete",
    ),
    "another device": (
        {"stage": 3, "offload_optimizer": {"device": "disk"}},
        'offload_optimizer = {"device": "disk"} offloads to no device that there is; it is a block',
    ),
    "no block": (
        {"stage": 3, "offload_param": "cpu"},
        'offload_param = "cpu" offloads to no device that there is; it is a block such as {"devic',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_offload_that_would_not_happen_is_refused(validated: Said, case: str) -> None:
    block, expected = REFUSED[case]
    assert expected in validated(block)


@pytest.mark.xfail(strict=True, raises=TypeError, reason="the types of offload options are not checked")
@pytest.mark.parametrize(("key", "value"), [("nvme_path", 5), ("buffer_count", "8")])
def test_an_offload_option_of_another_type_is_refused(
    validated: Said, key: str, value: object
) -> None:
    assert key in validated({"stage": 3, "offload_optimizer": {**NVME, key: value}})


@pytest.mark.parametrize(
    "block",
    [
        {"stage": 0, "offload_optimizer": {"device": "none"}},
        {"stage": 1, "offload_optimizer": CPU},
        {"stage": 2, "offload_optimizer": CPU, "offload_param": None},
        {"stage": 3, "offload_param": CPU},
        {"stage": 2, "cpu_offload": False, "round_robin_gradients": False},
    ],
)
def test_offload_that_works_is_valid(runs: Runs, tmp_path: Path, block: Any) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"zero_optimization": block}))
    assert main(["validate", *runs.arguments("right", f"engine.deepspeed={path}")]) == EXIT_DONE
