"""Accumulation, reports, early stopping and warm starts of a training."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from torch import nn

from ptm.errors import EXIT_DONE, EXIT_STOPPED, UserError
from ptm.recipe import load_recipe
from ptm.recipe.blocks import EarlyStopping
from ptm.train.run import train
from ptm.train.stopping import Patience
from tests.support.small_runs import Runs


def test_accumulation_does_not_change_the_losses(runs: Runs) -> None:
    without_dropout = "model.dropout=0.0"
    assert runs.train("whole", without_dropout, "train.micro_batch_size=8") == EXIT_DONE
    assert runs.train("parts", without_dropout, "train.micro_batch_size=1") == EXIT_DONE
    for one, other in zip(runs.metrics("whole"), runs.metrics("parts"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["tokens"] == other["tokens"]


def test_the_gradient_norm_is_measured_before_clipping_at_every_stage(runs: Runs) -> None:
    norms = []
    for stage in range(4):
        clipped = ("model.dropout=0.0", "train.gradient_clipping=0.05")
        assert runs.train(f"z{stage}", *clipped, f"engine.deepspeed=zero{stage}") == EXIT_DONE
        norms.append(runs.metrics(f"z{stage}")[0]["grad_norm"])
    assert norms[0] > 0.05
    assert norms == pytest.approx([norms[0]] * 4, rel=1e-5)


def test_nothing_of_zero_3_outlives_its_training(runs: Runs) -> None:
    linear = nn.functional.linear
    assert runs.train("zero3", "engine.deepspeed=zero3") == EXIT_DONE
    assert nn.functional.linear is linear


def test_every_report_has_the_documented_keys(runs: Runs) -> None:
    assert runs.train("keys") == EXIT_DONE
    lines = (runs.folder / "keys" / "metrics.jsonl").read_text().splitlines()
    train = next(r for r in map(json.loads, lines) if r["split"] == "train")
    held_out = next(r for r in map(json.loads, lines) if r["split"] == "eval")
    promised = "step epoch rows examples tokens loss mlm_loss mlm_accuracy learning_rate grad_norm "
    promised += "loss_scale skipped_steps tokens_per_second examples_per_second step_seconds "
    promised += "data_wait_seconds memory_bytes"
    assert set(promised.split()) <= train.keys()
    assert {"step", "loss", "perplexity", "mlm_accuracy"} <= held_out.keys()


def test_a_run_folder_describes_itself(runs: Runs) -> None:
    assert runs.train("described") == EXIT_DONE
    folder = runs.folder / "described"
    for name in ("recipe.yaml", "ds_config.json", "environment.json", "train.log"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "tokenizer" / "vocab.txt").exists()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["versions"]["deepspeed"]
    assert environment["recipe"]["file"].endswith("roberta-tiny.yaml")
    assert "name=described" in environment["recipe"]["overrides"]


def test_epochs_become_steps(runs: Runs) -> None:
    assert runs.train("epochs", "train.steps=null", "train.epochs=0.02") == EXIT_DONE
    last = runs.metrics("epochs")[-1]
    per_epoch = last["rows"] / 0.02
    assert last["step"] == -(-0.02 * per_epoch // 8)


def test_patience_ends_a_training_that_no_longer_improves() -> None:
    patience = Patience(EarlyStopping(metric="loss", patience=2))
    for loss in (3.0, 2.0, 2.5, 2.1):
        patience.note({"loss": loss})
    assert patience.best == 2.0
    assert patience.exhausted
    again = Patience(EarlyStopping(metric="loss", patience=2), patience.state())
    assert again.exhausted


def test_accuracy_is_better_when_higher() -> None:
    patience = Patience(EarlyStopping(metric="mlm_accuracy", patience=1), higher=True)
    patience.note({"mlm_accuracy": 0.1})
    patience.note({"mlm_accuracy": 0.2})
    assert not patience.exhausted


def test_early_stopping_ends_the_run_permanently(runs: Runs) -> None:
    # A change this large is never reached, so the second evaluation is the last.
    rule = "train.early_stopping={metric: loss, patience: 1, min_delta: 100}"
    early = (rule, "tracking.evaluate_every=2")
    assert runs.train("early", *early) == EXIT_DONE
    assert runs.metrics("early")[-1]["step"] == 4
    assert runs.checkpoints("early")[-1] == 4
    before = runs.metrics("early")
    assert runs.train("early", *early) == EXIT_DONE
    assert runs.metrics("early") == before


def test_the_wall_time_limit_saves_and_exits_with_the_restart_code(runs: Runs) -> None:
    assert runs.train("budget", "train.wall_time_hours=1e-9") == EXIT_STOPPED
    assert runs.checkpoints("budget") == [1]
    assert runs.train("budget") == EXIT_DONE
    assert runs.metrics("budget")[-1]["step"] == 12


def test_init_from_records_which_tensors_were_loaded(runs: Runs) -> None:
    assert runs.train("first", "objective.head={tied: true, bias: true}") == EXIT_DONE
    source = runs.folder / "first"
    untied = "objective.head={tied: false, bias: true}"
    assert runs.train("second", f"init_from={source}", untied, "train.steps=2") == EXIT_DONE
    story = json.loads((runs.folder / "second/checkpoints/global_step2/run.json").read_text())
    assert story["started_from"]["fresh"] == ["mlm_unembed.weight"]
    assert "encoder_00.attention.qkv.weight" in story["started_from"]["loaded"]


def test_init_from_starts_with_the_loss_of_the_source(runs: Runs) -> None:
    longer = ("train.steps=60", "tracking.evaluate_every=60", "tracking.log_every=1")
    assert runs.train("first", *longer) == EXIT_DONE
    source_loss = runs.metrics("first")[-1]["loss"]
    for stage in range(4):
        name = f"from-{stage}"
        start = (f"init_from={runs.folder / 'first'}", "tracking.log_every=1", "train.steps=2")
        assert runs.train(name, *start, f"engine.deepspeed=zero{stage}") == EXIT_DONE
        # The first update has learning rate 0, so the second report also has the source's loss.
        assert runs.metrics(name)[0]["loss"] == pytest.approx(source_loss, rel=0.1)


def test_init_from_a_missing_folder_is_rejected(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        runs.train("nowhere", f"init_from={tmp_path / 'missing'}")
    assert not (runs.folder / "nowhere" / "checkpoints").exists()


def test_messages_of_deepspeed_are_in_the_log_but_not_on_the_console(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def overflow(step: int) -> None:
        logging.getLogger("DeepSpeed").warning("OVERFLOW!")

    options = ("engine.precision=bf16", "engine.deepspeed=zero0", "train.steps=2")
    recipe, *overrides = runs.arguments("quiet", *options)
    code = train(lambda: load_recipe(recipe, overrides), fresh=False, on_step_begin=overflow)
    assert code == EXIT_DONE
    output = capfd.readouterr()
    assert "OVERFLOW" not in output.out + output.err
    assert "bf16_optimizer" not in output.out
    assert (runs.folder / "quiet" / "train.log").read_text().count("DeepSpeed: OVERFLOW!") == 2
