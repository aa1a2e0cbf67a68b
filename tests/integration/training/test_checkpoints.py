"""Which checkpoints are kept, how they are written asynchronously, and how long that blocks."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import ptm.checkpoint.writing
from ptm.checkpoint.verification import digest_of
from ptm.errors import EXIT_DONE, EXIT_STOPPED, UserError
from ptm.files.ownership import remove_folder
from ptm.interop.sources.open import open_source
from tests.support.faults import fill_the_disk, slow_disk
from tests.support.small_runs import Calm, Runs


def best_of(runs: Runs, name: str) -> str:
    return (runs.folder / name / "checkpoints" / "best").read_text(encoding="utf-8")


def test_the_newest_checkpoints_and_every_kth_are_kept(runs: Runs) -> None:
    kept = ("checkpoint.every=1", "checkpoint.keep=2", "checkpoint.keep_every=4")
    assert runs.train("kept", *kept) == EXIT_DONE
    assert runs.checkpoints("kept") == [4, 8, 11, 12]


def test_the_checkpoint_with_the_best_held_out_metric_is_saved_and_kept(runs: Runs) -> None:
    rule = (
        "checkpoint.best=loss",
        "checkpoint.every=100",
        "checkpoint.keep=1",
        "optimizer.learning_rate=0.3",
        "train.gradient_clipping=0",
    )
    evaluated = (
        "tracking.evaluate_every=1",
        "train.steps=24",
        "schedule={type: constant, warmup: 0.1}",
    )
    assert runs.train("best", *rule, *evaluated) == EXIT_DONE
    losses = {r["step"]: r["loss"] for r in runs.metrics("best") if r["split"] == "eval"}
    best = min(losses, key=lambda step: losses[step])
    assert best < 24, "at this learning rate it gets worse again"
    assert best_of(runs, "best") == f"global_step{best}"
    source = open_source(str(runs.folder / "best"), step="best")
    assert source.description() == f"step {best}"
    assert runs.checkpoints("best") == [best, 24]


def test_the_best_checkpoint_is_kept_when_a_run_is_resumed(runs: Runs) -> None:
    options = ("checkpoint.best=loss", "tracking.evaluate_every=2", "checkpoint.keep=1")
    assert runs.train("calm", *options) == EXIT_DONE
    assert runs.train("stopped", *options, stop_at=7) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert best_of(runs, "stopped") == best_of(runs, "calm")
    assert runs.checkpoints("stopped") == runs.checkpoints("calm")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("checkpoint.best=loss", "data.held_out=0"), "checkpoint.best: needs an evaluation set"),
        (("checkpoint.best=nsp_accuracy",), 'checkpoint.best: "nsp_accuracy" is not a metric of'),
    ],
)
def test_a_best_metric_that_is_not_measured_is_rejected(
    runs: Runs, overrides: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        runs.train("refused", *overrides)


def test_training_continues_while_a_checkpoint_is_written(
    runs: Runs, calm: Calm, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = slow_disk(monkeypatch, 0.5)
    spent = {}
    for name, behind in (("behind", "true"), ("waiting", "false")):
        options = ("checkpoint.every=100", "checkpoint.best=loss", "tracking.log_every=1")
        assert runs.train(name, *options, f"checkpoint.async_save={behind}") == EXIT_DONE
        lines = (runs.folder / name / "metrics.jsonl").read_text().splitlines()
        reports = [json.loads(line) for line in lines]
        spent[name] = [r["save_seconds"] for r in reports if r["split"] == "train"]
        assert runs.metrics(name)[-1]["loss"] == pytest.approx(calm()[-1]["loss"], rel=1e-6)
    assert "ptm-save" in threads
    assert "MainThread" in threads
    # The evaluation of step 6 saved a checkpoint; the report of step 7 has the time that blocked.
    assert spent["behind"][6] < 0.25 < 0.5 < spent["waiting"][6]


def test_an_asynchronous_checkpoint_holds_the_step_at_which_it_was_started(
    runs: Runs, calm: Calm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        slow_disk(patch, 0.3)
        assert runs.train("stopped", "checkpoint.keep=9", stop_at=9) == EXIT_STOPPED
    for step in (9, 8):
        # With the state of a later step, a resumed run would not have the calm run's metrics.
        assert runs.checkpoints("stopped")[-1] == step
        assert runs.train("stopped", "checkpoint.keep=9") == EXIT_DONE
        assert runs.metrics("stopped") == calm()
        for path in (runs.folder / "stopped" / "checkpoints").glob("global_step*"):
            if int(path.name.removeprefix("global_step")) > 8:
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()


def test_a_failed_asynchronous_write_is_logged_and_the_next_one_is_kept(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    logging.getLogger("ptm").propagate = True
    fill_the_disk(monkeypatch, save=1)
    assert runs.train("full") == EXIT_DONE
    assert "the checkpoint of step 4 could not be written" in caplog.text
    assert runs.checkpoints("full") == [8, 12]
    assert not list((runs.folder / "full" / "checkpoints").glob("*.partial"))


def test_the_error_for_a_missing_best_checkpoint_names_the_recipe_key(runs: Runs) -> None:
    assert runs.train("none") == EXIT_DONE
    with pytest.raises(UserError, match=r"has no best checkpoint\. Set checkpoint\.best"):
        open_source(str(runs.folder / "none"), step="best")


def test_a_checkpoint_of_a_later_version_is_not_skipped_as_damaged(runs: Runs) -> None:
    assert runs.train("later") == EXIT_DONE
    manifest = runs.folder / "later" / "checkpoints" / "global_step12" / "manifest.json"
    _, _, text = manifest.read_text(encoding="utf-8").partition("\n")
    later = json.dumps({**json.loads(text), "format": 2})
    manifest.write_text(json.dumps({"blake2b": digest_of(later.encode())}) + "\n" + later)
    with pytest.raises(UserError, match="later version of ptm"):
        runs.train("later", "train.steps=14")


PRECISIONS = {
    "fp32": ("engine.precision=fp32",),
    "bf16": ("engine.precision=bf16",),
    "fp16": ("engine.precision=fp16", "engine.loss_scale.initial_power=10"),
}


CHANGES = ("fp32", "bf16", "fp32", "fp16", "bf16", "fp16", "fp32")
"""Each precision follows each other precision once."""


def test_every_precision_resumes_from_every_other_with_close_losses(runs: Runs, calm: Calm) -> None:
    assert len(set(pairwise(CHANGES))) == 3 * 2
    overrides = ("model.dropout=0.0", "checkpoint.every=100", "tracking.evaluate_every=100")
    found = runs.change_at_every_step("moved", [PRECISIONS[name] for name in CHANGES], *overrides)
    expected = calm(*overrides, f"train.steps={len(CHANGES)}", "tracking.log_every=1")
    for record, other in zip(found, expected, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], rel=1e-3), record["step"]


@pytest.mark.parametrize("kill_at", [1, 2, 3])
def test_a_kill_while_a_checkpoint_is_replaced_leaves_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    target, aside = tmp_path / "global_step4", tmp_path / "global_step4.01234567.partial"
    for folder, content in ((target, "old"), (aside, "new")):
        folder.mkdir()
        (folder / "run.json").write_text(content)
    calls = 0

    def killed(original: Any) -> Any:
        def work(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == kill_at:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        return work

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed(Path.rename))
        patch.setattr("ptm.checkpoint.writing.remove_folder", killed(remove_folder))
        with pytest.raises(KeyboardInterrupt):
            ptm.checkpoint.writing.replace_folder(aside, target)

    ptm.checkpoint.writing.clear_leftovers(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["global_step4"]
    assert (target / "run.json").read_text() == ("new" if kill_at == 3 else "old")
