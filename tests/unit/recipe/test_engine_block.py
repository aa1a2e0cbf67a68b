"""The recipe's engine block: what it gives DeepSpeed, and what is refused in a sentence."""

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

Said = Callable[..., str]


@pytest.fixture
def refused(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Said:
    """What a command says of a recipe that it refuses: one sentence, and nothing is written."""
    # DeepSpeed cannot join a second group in one process: other tests go on with this one.
    monkeypatch.setattr("ptm.engines.ranks.destroy_process_group", lambda: None)

    def sentence(command: str, *overrides: str) -> str:
        name, *options = command.split()
        capsys.readouterr()
        assert main([name, *runs.arguments("wrong", *overrides), *options]) == EXIT_USER
        captured = capsys.readouterr()
        (said,) = captured.err.splitlines()
        assert said.startswith("ptm: ")
        assert not captured.out
        assert not runs.folder.exists()
        return said

    return sentence


def recipe_with(runs: Runs, *overrides: str) -> Recipe:
    path, *rest = runs.arguments("unused", *overrides)
    return load_recipe(path, rest)


def merged(runs: Runs, *overrides: str) -> dict[str, Any]:
    """The configuration that the recipe is trained with."""
    recipe = recipe_with(runs, *overrides)
    return ds_config(recipe, batches_of(recipe.train, recipe.engine))


@pytest.mark.parametrize("stage", range(4))
def test_fp16_is_written_out_as_the_recipe_gives_it(runs: Runs, stage: int) -> None:
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
def test_fp16_is_off_in_other_precisions(runs: Runs, precision: str) -> None:
    assert merged(runs, f"engine.precision={precision}")["fp16"] == {"enabled": False}


def test_what_deepspeed_does_not_take_is_refused_before_anything_is_written(
    runs: Runs, refused: Said, tmp_path: Path
) -> None:
    config = tmp_path / "wrong.json"
    config.write_text(json.dumps({"zero_optimization": {"stage": 1, "reduce_bucket_size": "many"}}))
    said = refused("train", f"engine.deepspeed={config}")
    assert "reduce_bucket_size: Input should be a valid integer" in said
    assert str(config) in said


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("initial_power", "-1", "greater than or equal to 0"),
        ("initial_power", "33", "less than or equal to 32"),
        ("window", "0", "greater than 0"),
        ("hysteresis", "0", "greater than 0"),
        ("minimum", "0", "greater than 0"),
        ("minimum", "0.5", "valid integer"),
        ("windw", "5", 'Did you mean "window"'),
    ],
)
def test_a_loss_scale_outside_its_limits_is_refused(
    refused: Said, key: str, value: str, limit: str
) -> None:
    said = refused("validate", f"engine.loss_scale.{key}={value}")
    assert f"engine.loss_scale.{key}" in said
    assert limit in said


def test_fp16_in_the_json_is_refused_as_the_recipes(refused: Said, tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_text(json.dumps({"fp16": {"enabled": True}}))
    assert refused("validate", f"engine.deepspeed={path}") == (
        f'ptm: {path}: fp16 = {{"enabled": true}} belongs to the recipe (engine.precision). '
        "Remove it from half.json."
    )


def test_nccl_without_a_gpu_is_refused(refused: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert refused("train", "engine.backend=nccl") == (
        "ptm: engine.backend = nccl needs GPUs, but torch finds none. Set engine.backend: auto, "
        "which uses gloo on CPUs."
    )


def test_gloo_where_there_are_gpus_is_refused(
    refused: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    said = refused("train", "engine.backend=gloo")
    assert "engine.backend = gloo trains on CPUs, but torch finds GPUs" in said
    assert "CUDA_VISIBLE_DEVICES= DS_ACCELERATOR=cpu" in said


def test_another_backend_is_refused_with_those_there_are(refused: Said) -> None:
    said = refused("validate", "engine.backend=mpi")
    assert 'engine.backend: "mpi" is not known here. Known here: auto, gloo, nccl.' in said


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_pipeline_with_another_zero_stage_is_refused_naming_zero_1(
    refused: Said, stage: int
) -> None:
    said = refused("validate", "engine.pipeline_stages=2", f"engine.deepspeed=zero{stage}")
    assert f"engine.pipeline_stages = 2 cannot be combined with ZeRO stage {stage}" in said
    assert "Pipeline stages need ZeRO 1. Set engine.pipeline_stages: 1 or engine.deepspeed" in said


@pytest.mark.parametrize("name", ["zero1", "pipeline"])
def test_a_pipeline_with_zero_1_is_valid_before_any_launch(runs: Runs, name: str) -> None:
    pipeline = ("engine.pipeline_stages=2", f"engine.deepspeed={name}")
    assert main(["validate", *runs.arguments("right", *pipeline)]) == EXIT_DONE


def test_a_pipeline_in_one_process_is_refused_with_the_command_that_starts_two(
    refused: Said,
) -> None:
    said = refused("train", "engine.pipeline_stages=2", "engine.deepspeed=pipeline")
    assert "needs 2 ranks or a multiple of them, but only one was started" in said
    assert "`ptm launch --num-gpus 2 RECIPE`" in said


@pytest.mark.parametrize(("layers", "most"), [(1, 4), (4, 7)])
def test_too_many_stages_are_refused_with_the_most_that_are_possible(
    layers: int, most: int
) -> None:
    # Embedding, layers, the head's transformation, and the output with its bias.
    plan = plan_of(block_of(layers=layers))
    with pytest.raises(
        UserError, match=rf"= 64: this model can be split into at most {most} stages"
    ):
        stage_bounds(plan, 64)
    assert len(stage_bounds(plan, most)) == most + 1


def test_too_many_stages_are_refused_before_any_launch(refused: Said) -> None:
    said = refused("validate", "engine.pipeline_stages=64", "engine.deepspeed=pipeline")
    assert "engine.pipeline_stages = 64: this model can be split into" in said


def test_show_tells_which_steps_each_stage_gets(
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
    assert runs.train("kept", *engine) == EXIT_DONE
    once = len(calls)
    assert runs.train("again", *engine, "engine.activation_checkpointing=true") == EXIT_DONE
    assert once == 3 * 3 * 2, "steps, layers, micro-batches"
    assert len(calls) - once == 2 * once
    assert runs.metrics("kept") == expected
    assert runs.metrics("again") == expected


def test_activation_checkpointing_keeps_less_for_the_backward_pass(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = PlainModel.forward
    kept: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.nbytes
        return tensor

    def weighed(self: PlainModel, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            return forward(self, tensors)

    monkeypatch.setattr(PlainModel, "forward", weighed)
    for recompute in ("false", "true"):
        kept.append(0)
        chosen = f"engine.activation_checkpointing={recompute}"
        assert runs.train(f"recompute-{recompute}", *WITH_DROPOUT, chosen) == EXIT_DONE
    assert 0 < kept[1] < kept[0] / 3
