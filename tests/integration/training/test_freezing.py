"""Frozen parameters keep their exact values; layers have their own learning rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ptm.checkpoint.format import Checkpoint
from ptm.checkpoint.manifest import WEIGHT
from ptm.errors import EXIT_DONE, EXIT_STOPPED, UserError
from ptm.loading.batches import TrainStream
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel
from ptm.recipe import Recipe, load_recipe
from ptm.runs.show import show
from ptm.train.inputs import open_inputs
from ptm.train.validate import check_recipe
from tests.support.covers import by_default
from tests.support.small_runs import PROJECT, Runs

FROZEN = ("word_embedding", "encoder_00.attention")
FREEZE = 'train.freeze=["word_embedding*", "encoder_00.attention*"]'
# All parameters that FREEZE leaves trainable.
OTHERS = 'train.freeze=["embedding*", "encoder_00.feed_forward*", "mlm_*"]'
SHORT = (
    *("train.steps=4", "tracking.log_every=1", "checkpoint.every=2", "data.held_out=0"),
    *("model.dropout=0.0", "schedule.warmup=0"),
)
STAGES = (0, 1, 2, 3)


def zero(stage: int) -> str:
    return f"engine.deepspeed=zero{stage}"


def saved(runs: Runs, name: str, step: int = 4) -> Checkpoint:
    return Checkpoint.open(runs.folder / name / "checkpoints" / f"global_step{step}")


def weights(runs: Runs, name: str, step: int = 4) -> dict[str, Tensor]:
    checkpoint = saved(runs, name, step)
    return {name: checkpoint.weights(name) for name in checkpoint.shapes}


@pytest.mark.parametrize(
    ("stage", "precision"),
    [
        by_default((stage, precision), ((0, "fp32"), (1, "bf16"), (2, "fp32"), (3, "bf16")))
        for stage in STAGES
        for precision in ("fp32", "bf16")
    ],
)
def test_frozen_parameters_are_saved_unchanged(runs: Runs, stage: int, precision: str) -> None:
    started = (*SHORT, "engine.precision=fp32", zero(1), "train.steps=2")
    assert runs.train("source", *started) == EXIT_DONE
    before = weights(runs, "source", 2)
    begin = (f"init_from={runs.folder / 'source'}", FREEZE, f"engine.precision={precision}")
    assert runs.train("frozen", *SHORT, *begin, zero(stage)) == EXIT_DONE
    after = weights(runs, "frozen")
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name]) == name.startswith(FROZEN), name


def test_freezing_gives_the_same_losses_at_every_stage(runs: Runs) -> None:
    for stage in STAGES:
        assert runs.train(f"stage{stage}", *SHORT, FREEZE, zero(stage)) == EXIT_DONE
    for stage in STAGES[1:]:
        for one, other in zip(runs.metrics(f"stage{stage}"), runs.metrics("stage0"), strict=True):
            for key in ("loss", "grad_norm"):
                assert one[key] == pytest.approx(other[key], rel=1e-5)


@pytest.mark.parametrize("stage", [by_default(stage, (1, 3)) for stage in STAGES])
def test_the_gradient_norm_covers_trainable_parameters_only(runs: Runs, stage: int) -> None:
    norms = {}
    for name, *freeze in (("all",), ("some", FREEZE), ("others", OTHERS)):
        steps = ("train.steps=1", "checkpoint.every=9")
        assert runs.train(name, *SHORT, *steps, *freeze, zero(stage)) == EXIT_DONE
        norms[name] = runs.metrics(name)[0]["grad_norm"]
    assert 0.1 < norms["some"] / norms["others"] < 10
    assert norms["some"] ** 2 + norms["others"] ** 2 == pytest.approx(norms["all"] ** 2)


@pytest.mark.parametrize("stage", [by_default(stage, (1, 3)) for stage in STAGES])
def test_frozen_parameters_have_no_optimizer_state(runs: Runs, stage: int) -> None:
    assert runs.train("frozen", *SHORT, FREEZE, zero(stage)) == EXIT_DONE
    checkpoint = saved(runs, "frozen")
    kinds: dict[str, set[str]] = {}
    for name, kind in checkpoint.fragments:
        kinds.setdefault(name, set()).add(kind)
    assert kinds.keys() == checkpoint.shapes.keys()
    for name, found in kinds.items():
        assert (found == {WEIGHT}) == name.startswith(FROZEN), name


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 1), (2, 0)])
def test_a_run_with_frozen_parameters_resumes_under_another_stage(
    runs: Runs, before: int, after: int
) -> None:
    rates = "optimizer.layer_decay=0.5"
    assert runs.train("calm", *SHORT, FREEZE, rates, zero(before)) == EXIT_DONE
    stop = "train.wall_time_hours=1e-9"
    assert runs.train("stopped", *SHORT, FREEZE, rates, zero(before), stop) == EXIT_STOPPED
    assert runs.train("stopped", *SHORT, FREEZE, rates, zero(after)) == EXIT_DONE
    for one, other in zip(runs.metrics("stopped"), runs.metrics("calm"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    found, expected = weights(runs, "stopped"), weights(runs, "calm")
    for name, tensor in found.items():
        assert torch.allclose(tensor, expected[name], atol=1e-5), name


@pytest.mark.parametrize("stage", [by_default(stage, (1, 3)) for stage in STAGES])
def test_the_learning_rate_of_a_lower_layer_is_decayed(runs: Runs, stage: int) -> None:
    # Adam's first update is as large as the rate, whatever the gradient.
    once = ("train.steps=1", "checkpoint.every=1", "optimizer.weight_decay=0")
    two = ("model.encoder.layers=2", "optimizer.learning_rate=1e-3", zero(stage))
    still = ("optimizer.learning_rate=1e-12", "optimizer.layer_decay=0.5")
    assert runs.train("still", *SHORT, *once, *two, *still) == EXIT_DONE
    assert runs.train("moved", *SHORT, *once, *two, "optimizer.layer_decay=0.5") == EXIT_DONE
    before, after = weights(runs, "still", 1), weights(runs, "moved", 1)
    moved = {name: float((after[name] - before[name]).abs().max()) for name in after}
    expected = {"word_embedding": 0.25, "encoder_00": 0.5, "encoder_01": 1.0, "mlm_transform": 1.0}
    for module, factor in expected.items():
        largest = max(value for name, value in moved.items() if name.startswith(module))
        assert largest == pytest.approx(1e-3 * factor, rel=0.01)
    assert runs.metrics("moved")[0]["learning_rate"] == 1e-3


def by_hand(name: str) -> float | None:
    """The rate of a parameter of three layers in the test below; None if it is frozen."""
    if name.startswith("word_embedding"):
        return None
    if name.startswith("embedding"):
        return RATE * 0.7**3
    for layer in range(3):
        if name.startswith(f"encoder_{layer:02}.attention."):
            return RATE * 0.7 ** (2 - layer) * 0.5
        if name.startswith(f"encoder_{layer:02}."):
            return RATE * 0.7 ** (2 - layer)
    return RATE * 3.0


RATE = 2e-3


def losses_by_hand(recipe: Recipe) -> list[float]:
    """The losses with a parameter group per parameter of torch's AdamW."""
    inputs = open_inputs(recipe)
    model = PlainModel(inputs.plan)
    initialise(model, recipe.model, seed=recipe.seed)
    groups = []
    for name, parameter in model.named_parameters():
        rate = by_hand(name)
        parameter.requires_grad_(rate is not None)
        if rate is not None:
            decay = 0.1 if parameter.dim() > 1 else 0.0
            groups.append({"params": [parameter], "weight_decay": decay, "rate": rate})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    found = []
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    for step, batch in zip(range(inputs.steps), stream.steps(0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * recipe.schedule.factor(step, inputs.steps)
        optimizer.zero_grad()
        sums = [
            recipe.objective.metric_sums(model(part), part)["mlm_loss"]
            for part in batch.micro_batches
        ]
        loss = torch.stack(sums).sum() / batch.counts["predicted"]
        loss.backward()
        found.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return found


@pytest.mark.parametrize("stage", [by_default(stage, (3,)) for stage in STAGES])
def test_rates_are_those_of_parameter_groups_made_by_hand(runs: Runs, stage: int) -> None:
    options = (
        *("model.encoder.layers=3", "model.dropout=0.0", "train.steps=20", "data.held_out=0"),
        *(f"optimizer.learning_rate={RATE}", "optimizer.weight_decay=0.1", "schedule.warmup=0.1"),
        *("optimizer.layer_decay=0.7", "tracking.log_every=1", zero(stage)),
        'optimizer.rates={"mlm_*": 3.0, "encoder_*.attention.*": 0.5}',
        'train.freeze=["word*"]',
    )
    assert runs.train("run", *options) == EXIT_DONE
    recipe, *overrides = runs.arguments("run", *options)
    ours = [one["loss"] for one in runs.metrics("run") if one["split"] == "train"]
    expected = losses_by_hand(load_recipe(recipe, overrides))
    assert len(ours) == 20
    assert ours == pytest.approx(expected, abs=2e-5)
    assert expected[0] - expected[-1] > 0.1


def recipe_path() -> str:
    return str(PROJECT / "recipes" / "quickstart" / "roberta-tiny.yaml")


def test_a_pattern_without_a_match_is_rejected_before_anything_starts(runs: Runs) -> None:
    with pytest.raises(UserError, match=r"train\.freeze\.0"):
        runs.train("none", 'train.freeze=["encodr*"]')
    assert not (runs.folder / "none").exists()
    with pytest.raises(UserError, match=r"train\.freeze\.0"):
        check_recipe(load_recipe(recipe_path(), ['train.freeze=["encodr*"]']), need_inputs=False)


def test_a_pattern_of_rates_without_a_match_is_rejected_before_anything_starts() -> None:
    rates = 'optimizer.rates={"encodr*": 2.0}'
    with pytest.raises(UserError, match=r'optimizer\.rates: "encodr\*" matches no parameter'):
        check_recipe(load_recipe(recipe_path(), [rates]), need_inputs=False)


def test_show_counts_frozen_parameters(store: Path, runs: Runs) -> None:
    recipe, *overrides = runs.arguments("shown", FREEZE, "optimizer.layer_decay=0.5")
    lines = list(show(load_recipe(recipe, overrides)))
    counts = {line.split()[0]: line.split()[1] for line in lines if line.startswith("  ")}
    numbers = {key: int(value.replace(",", "")) for key, value in counts.items() if "," in value}
    assert numbers["frozen"] + numbers["trainable"] == numbers["parameters"]
    assert numbers["frozen"] > 10_000


def test_show_prints_the_rates_of_trained_parameters() -> None:
    rates = 'optimizer.rates={"mlm*": 10.0, "encoder_01.attention.*": 3.0}'
    lines = list(show(load_recipe(recipe_path(), ['train.freeze=["word*"]', rates])))
    start = lines.index("learning rates, as factors of the base rate:")
    found = [line.split() for line in lines[start + 1 :] if line.startswith("  ")]
    factors = {name: float(factor) for name, factor in found}
    assert factors["mlm_bias"] == 10.0
    assert factors["encoder_01.attention.qkv.weight"] == 3.0
    assert factors["encoder_00"] == 1.0
    assert "word_embedding" not in factors
