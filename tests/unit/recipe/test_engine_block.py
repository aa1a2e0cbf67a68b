"""The recipe's engine block: the DeepSpeed config that follows from it, and its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime.config import DeepSpeedConfig

from ptm.cli import main
from ptm.engines.ds_config import ds_config
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.model.plain_model import PlainModel
from ptm.model.stages import stage_bounds
from ptm.nn.transformer_layer import TransformerLayer
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.batch import batches_of
from tests.support.small_models import block_of, plan_of
from tests.support.small_runs import Runs

ErrorOf = Callable[..., str]


@pytest.fixture
def command_error(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> ErrorOf:
    """The one-line error of a command for an invalid recipe; the command must write nothing."""

    def sentence(command: str, *overrides: str) -> str:
        name, *options = command.split()
        capsys.readouterr()
        assert main([name, *runs.arguments("wrong", *overrides), *options]) == EXIT_USER
        captured = capsys.readouterr()
        (message,) = captured.err.splitlines()
        assert message.startswith("ptm: ")
        # A training says that it starts before it imports DeepSpeed, which checks the settings.
        printed = [line for line in captured.out.splitlines() if not line.endswith(": starting")]
        assert printed == []
        assert not runs.folder.exists()
        return message

    return sentence


def recipe_with(runs: Runs, *overrides: str) -> Recipe:
    path, *rest = runs.arguments("unused", *overrides)
    return load_recipe(path, rest)


def merged(runs: Runs, *overrides: str) -> dict[str, Any]:
    """The complete DeepSpeed config of the recipe."""
    recipe = recipe_with(runs, *overrides)
    return ds_config(recipe, batches_of(recipe.train, recipe.engine))


@pytest.mark.parametrize("stage", range(4))
def test_the_fp16_section_has_the_loss_scale_of_the_recipe(runs: Runs, stage: int) -> None:
    scale = "engine.loss_scale={initial_power: 9, window: 30, hysteresis: 3, minimum: 4}"
    engine = (f"engine.deepspeed=zero{stage}", "engine.precision=fp16", scale)
    config = merged(runs, *engine)
    assert config["bf16"]["enabled"] is False
    assert config["fp16"] == {
        "enabled": True,
        "loss_scale": 0,
        "initial_scale_power": 9,
        "loss_scale_window": 30,
        "hysteresis": 3,
        "min_loss_scale": 4,
    }
    read = DeepSpeedConfig(config).float16_config
    assert read.model_dump() == {
        **config["fp16"],
        "auto_cast": False,
        "consecutive_hysteresis": False,
        "fp16_master_weights_and_grads": False,
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fp16_is_disabled_in_other_precisions(runs: Runs, precision: str) -> None:
    assert merged(runs, f"engine.precision={precision}")["fp16"] == {"enabled": False}


def test_a_config_that_deepspeed_rejects_is_an_error_before_anything_is_written(
    runs: Runs, command_error: ErrorOf, tmp_path: Path
) -> None:
    config = tmp_path / "wrong.json"
    config.write_text(json.dumps({"zero_optimization": {"stage": 1, "reduce_bucket_size": "many"}}))
    message = command_error("train", f"engine.deepspeed={config}")
    assert "reduce_bucket_size: must be a whole number" in message
    assert str(config) in message


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("initial_power", "-1", "must be at least 0"),
        ("initial_power", "33", "must be at most 32"),
        ("window", "0", "greater than 0"),
        ("hysteresis", "0", "greater than 0"),
        ("minimum", "0", "greater than 0"),
        ("minimum", "0.5", "must be a whole number"),
        ("windw", "5", 'Did you mean "window"'),
    ],
)
def test_a_loss_scale_outside_its_limits_is_rejected(
    command_error: ErrorOf, key: str, value: str, limit: str
) -> None:
    message = command_error("validate", f"engine.loss_scale.{key}={value}")
    assert f"engine.loss_scale.{key}" in message
    assert limit in message


def test_fp16_in_the_json_is_rejected_because_the_recipe_sets_it(
    command_error: ErrorOf, tmp_path: Path
) -> None:
    path = tmp_path / "half.json"
    path.write_text(json.dumps({"fp16": {"enabled": True}}))
    assert command_error("validate", f"engine.deepspeed={path}") == (
        f'ptm: {path}: fp16 = {{"enabled": true}} belongs to the recipe (engine.precision). '
        "Remove it from half.json."
    )


def test_nccl_without_a_gpu_is_rejected(
    command_error: ErrorOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command_error("train", "engine.backend=nccl") == (
        "ptm: engine.backend = nccl needs GPUs, but torch finds none. Set engine.backend: auto, "
        "which uses gloo on CPUs."
    )


def test_gloo_on_a_machine_with_gpus_is_rejected(
    command_error: ErrorOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    message = command_error("train", "engine.backend=gloo")
    assert "engine.backend = gloo trains on CPUs, but torch finds GPUs" in message
    assert "CUDA_VISIBLE_DEVICES= DS_ACCELERATOR=cpu" in message


def test_an_unknown_backend_is_rejected_with_the_supported_ones(command_error: ErrorOf) -> None:
    message = command_error("validate", "engine.backend=mpi")
    assert 'engine.backend: "mpi" is not supported. Choose one of: auto, gloo, nccl.' in message


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_pipeline_with_another_zero_stage_is_rejected_naming_zero_1(
    command_error: ErrorOf, stage: int
) -> None:
    message = command_error("validate", "engine.pipeline_stages=2", f"engine.deepspeed=zero{stage}")
    assert f"engine.pipeline_stages = 2 cannot be combined with ZeRO stage {stage}" in message
    assert (
        "Pipeline stages need ZeRO 1. Set engine.pipeline_stages: 1 or engine.deepspeed" in message
    )


@pytest.mark.parametrize("name", ["zero1", "pipeline"])
def test_a_pipeline_with_zero_1_is_valid_before_any_launch(runs: Runs, name: str) -> None:
    pipeline = ("engine.pipeline_stages=2", f"engine.deepspeed={name}")
    assert main(["validate", *runs.arguments("right", *pipeline)]) == EXIT_DONE


def test_a_pipeline_in_one_process_is_rejected_with_the_command_that_starts_two(
    command_error: ErrorOf,
) -> None:
    message = command_error("train", "engine.pipeline_stages=2", "engine.deepspeed=pipeline")
    assert "needs 2 ranks or a multiple of them, but only one was started" in message
    assert "`ptm launch --num-gpus 2 RECIPE`" in message


@pytest.mark.parametrize(("layers", "most"), [(1, 4), (4, 7)])
def test_too_many_stages_are_rejected_with_the_possible_maximum(layers: int, most: int) -> None:
    # Units: the embedding, each layer, the head's transform, and the output matrix with its bias.
    plan = plan_of(block_of(layers=layers))
    with pytest.raises(
        UserError, match=rf"= 64: this model can be split into at most {most} stages"
    ):
        stage_bounds(plan, 64)
    assert len(stage_bounds(plan, most)) == most + 1


def test_too_many_stages_are_rejected_before_any_launch(command_error: ErrorOf) -> None:
    message = command_error("validate", "engine.pipeline_stages=64", "engine.deepspeed=pipeline")
    assert "engine.pipeline_stages = 64: this model can be split into" in message


def test_show_prints_the_layers_of_each_stage(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = ("engine.pipeline_stages=2", "engine.deepspeed=pipeline")
    assert main(["show", *runs.arguments("right", *pipeline)]) == EXIT_DONE
    before_the_json = capsys.readouterr().out.split("DeepSpeed:")[0]
    assert "stage 0" in before_the_json
    assert "stage 1" in before_the_json


WITH_DROPOUT = (
    "model.dropout=0.1",
    "model.encoder.layers=3",
    "data.held_out=0",
    "train.steps=3",
    "checkpoint.every=100",
    "tracking.log_every=1",
)


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_activation_checkpointing_computes_every_layer_twice_with_the_same_losses(
    runs: Runs, calm: Any, monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    engine = (*WITH_DROPOUT, f"engine.deepspeed=zero{stage}")
    forward, calls = TransformerLayer.forward, []

    def counted(self: TransformerLayer, *tensors: torch.Tensor) -> torch.Tensor:
        calls.append(self)
        return forward(self, *tensors)

    expected = calm(*engine)
    monkeypatch.setattr(TransformerLayer, "forward", counted)
    assert runs.train("stored", *engine) == EXIT_DONE
    once = len(calls)
    assert runs.train("recomputed", *engine, "engine.activation_checkpointing=true") == EXIT_DONE
    assert once == 3 * 3 * 2, "steps, layers, micro-batches"
    assert len(calls) - once == 2 * once
    assert runs.metrics("stored") == expected
    assert runs.metrics("recomputed") == expected


def test_activation_checkpointing_saves_fewer_bytes_for_the_backward_pass(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = PlainModel.forward
    saved: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        saved[-1] += tensor.nbytes
        return tensor

    def measured(self: PlainModel, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            return forward(self, tensors)

    monkeypatch.setattr(PlainModel, "forward", measured)
    for recompute in ("false", "true"):
        saved.append(0)
        override = f"engine.activation_checkpointing={recompute}"
        assert runs.train(f"recompute-{recompute}", *WITH_DROPOUT, override) == EXIT_DONE
    assert 0 < saved[1] < saved[0] / 3
