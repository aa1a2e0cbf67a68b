"""A run that was stopped, killed or damaged ends with the metrics of an undisturbed one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_STOPPED, TrainingError, UserError
from ptm.files.kinds import MARKER
from ptm.runs.status import read_ranks, run_status
from tests.support.covers import by_default
from tests.support.faults import Killed, fill_the_disk, kill_at_sync
from tests.support.small_runs import Calm, Runs

ENGINES = [f"zero{stage}-{precision}" for stage in range(4) for precision in ("fp32", "bf16")]
DEFAULT = ("zero0-fp32", "zero1-fp32", "zero2-bf16", "zero3-fp32")


@pytest.mark.parametrize("engine", [by_default(engine, DEFAULT) for engine in ENGINES])
def test_a_stopped_run_resumes_with_identical_metrics(runs: Runs, calm: Calm, engine: str) -> None:
    deepspeed, _, precision = engine.partition("-")
    overrides = (
        *(f"engine.deepspeed={deepspeed}", f"engine.precision={precision}"),
        # With dropout, so that the random state is part of what is resumed.
        "model.dropout=0.1",
    )
    assert runs.train("stopped", *overrides, stop_at=7) == EXIT_STOPPED
    assert runs.checkpoints("stopped")[-1] == 7
    assert runs.train("stopped", *overrides) == EXIT_DONE
    assert runs.metrics("stopped") == calm(*overrides)


def test_a_killed_run_resumes_from_its_newest_checkpoint(runs: Runs, calm: Calm) -> None:
    with pytest.raises(Killed):
        runs.train("killed", die_at=11)
    assert runs.checkpoints("killed")[-1] == 8
    assert runs.train("killed") == EXIT_DONE
    assert runs.metrics("killed") == calm()


@pytest.mark.parametrize("moment", ["rank00000.bin", "run.json", "manifest.json", "latest"])
def test_a_kill_while_saving_leaves_whole_checkpoints_only(
    runs: Runs, calm: Calm, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with monkeypatch.context() as patch:
        kill_at_sync(patch, name=moment, occurrence=2)
        with pytest.raises(Killed):
            runs.train("killed")
    assert runs.train("killed") == EXIT_DONE
    assert runs.metrics("killed") == calm()
    assert not list((runs.folder / "killed" / "checkpoints").glob("*.partial"))


def _truncate(folder: Path) -> None:
    path = folder / "rank00000.bin"
    path.write_bytes(path.read_bytes()[:-4])


def _flip(name: str) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(bytes(data))

    return flip


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": _truncate,
    "bit flipped": _flip("rank00000.bin"),
    "manifest flipped": _flip("manifest.json"),
    "run.json flipped": _flip("run.json"),
    "manifest removed": lambda folder: (folder / "manifest.json").unlink(),
    "state removed": lambda folder: (folder / "rank00000.bin").unlink(),
    "run.json removed": lambda folder: (folder / "run.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    runs: Runs, calm: Calm, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    calm()
    assert runs.train("damaged") == EXIT_DONE
    DAMAGES[damage](runs.folder / "damaged" / "checkpoints" / "global_step12")
    with caplog.at_level("INFO", logger="ptm"):
        _listen(caplog)
        assert runs.train("damaged") == EXIT_DONE
    assert "damaged checkpoint skipped" in caplog.text
    assert "global_step12" in caplog.text
    assert "resuming from step 8" in caplog.text
    assert runs.metrics("damaged") == calm()


def _listen(caplog: pytest.LogCaptureFixture) -> None:
    """Let `caplog` receive messages, although the command line has turned propagation off."""
    import logging

    logging.getLogger("ptm").propagate = True


def test_a_run_with_only_damaged_checkpoints_does_not_start_from_scratch(runs: Runs) -> None:
    assert runs.train("damaged", "checkpoint.keep=1") == EXIT_DONE
    _truncate(runs.folder / "damaged" / "checkpoints" / "global_step12")
    with pytest.raises(UserError, match=r"all checkpoints are damaged.*--fresh"):
        runs.train("damaged", "checkpoint.keep=1")


STAGES = (0, 1, 2, 3, 0, 2, 1, 3, 1, 0, 3, 2, 0)
"""Each ZeRO stage follows each other stage once."""


def test_every_zero_stage_resumes_from_every_other_with_the_same_losses(
    runs: Runs, calm: Calm
) -> None:
    assert len(set(pairwise(STAGES))) == 4 * 3
    overrides = ("model.dropout=0.0", "checkpoint.every=100", "tracking.evaluate_every=100")
    changes = [(f"engine.deepspeed=zero{stage}",) for stage in STAGES]
    found = runs.change_at_every_step("moved", changes, *overrides)
    expected = calm(*overrides, f"train.steps={len(STAGES)}", "tracking.log_every=1")
    assert [one["step"] for one in found] == [one["step"] for one in expected]
    for record, other in zip(found, expected, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], rel=1e-5), record["step"]
        if record["split"] == "train":
            assert record["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)


def test_a_finished_run_continues_only_with_more_steps(runs: Runs) -> None:
    assert runs.train("longer") == EXIT_DONE
    before = runs.metrics("longer")
    folder = runs.folder / "longer"
    files = [folder / name for name in ("environment.json", "recipe.yaml", "metrics.jsonl")]
    written = [file.stat().st_mtime_ns for file in files]
    assert runs.train("longer") == EXIT_DONE
    assert runs.metrics("longer") == before
    assert [file.stat().st_mtime_ns for file in files] == written, "nothing was trained"
    assert (run_status(folder).state, run_status(folder).steps) == ("done", 12)
    (rank,) = read_ranks(folder)
    assert (rank.step, rank.steps) == (12, 12)
    assert runs.train("longer", "train.steps=16") == EXIT_DONE
    assert runs.metrics("longer")[-1]["step"] == 16


def test_fewer_steps_than_already_done_are_rejected(runs: Runs) -> None:
    assert runs.train("shorter") == EXIT_DONE
    with pytest.raises(UserError, match="already at step 12"):
        runs.train("shorter", "train.steps=9")


def test_another_recipe_in_the_same_folder_is_rejected_with_the_differences(runs: Runs) -> None:
    assert runs.train("taken") == EXIT_DONE
    with pytest.raises(UserError, match=r"seed: 7 in the run, 8 in this recipe"):
        runs.train("taken", "seed=8")
    assert runs.train("taken", "seed=8", fresh=True) == EXIT_DONE
    aside = [path for path in runs.folder.iterdir() if path.name.startswith("taken.")]
    assert len(aside) == 1
    assert (aside[0] / "metrics.jsonl").exists()


def test_keys_that_may_differ_do_not_prevent_a_resume(runs: Runs) -> None:
    assert runs.train("same") == EXIT_DONE
    changed = ["train.micro_batch_size=8", "checkpoint.every=3", "tracking.log_every=2"]
    assert runs.train("same", *changed, "engine.deepspeed=zero0") == EXIT_DONE


def test_a_folder_in_use_is_rejected(runs: Runs) -> None:
    import fcntl

    folder = runs.folder / "busy"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        lock.write("process 1 on somewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by process 1 on somewhere"):
            runs.train("busy")
    assert runs.train("busy") == EXIT_DONE


def test_a_failed_save_is_reported_and_training_continues(
    runs: Runs, calm: Calm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill_the_disk(monkeypatch, save=2)
    _listen(caplog)
    assert runs.train("full") == EXIT_DONE
    assert "step 8 could not be written" in caplog.text
    assert "No space left" in caplog.text
    assert runs.checkpoints("full") == [4, 12]
    assert runs.metrics("full") == calm()


def test_a_last_save_that_fails_ends_with_the_reason(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(monkeypatch, save=3)
    expected_message = r"step 12 could not be saved \(.*No space left.*complete checkpoint: step 8"
    with pytest.raises(TrainingError, match=expected_message):
        runs.train("ending")
    assert runs.train("ending") == EXIT_DONE
    assert runs.checkpoints("ending") == [4, 8, 12]


def test_a_disk_too_small_for_a_checkpoint_is_reported_at_the_start(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="MB free, but one checkpoint needs"):
        runs.train("full")


def test_only_the_newest_checkpoints_are_kept(runs: Runs) -> None:
    assert runs.train("few", "checkpoint.every=2", "checkpoint.keep=2") == EXIT_DONE
    assert runs.checkpoints("few") == [10, 12]
    assert (runs.folder / "few/checkpoints/latest").read_text() == "global_step12"


def test_a_store_that_changed_is_rejected(runs: Runs, tmp_path: Path) -> None:
    other = tmp_path / "store"
    shutil.copytree(runs.store, other)
    runs = Runs(other, runs.folder)
    runs.train("moved", stop_at=5)
    manifest = json.loads((other / "store.json").read_text())
    manifest["shards"] = manifest["shards"][:-1]
    (other / "store.json").write_text(json.dumps(manifest))
    (other / MARKER).unlink()
    with pytest.raises(UserError, match="was trained on other data"):
        runs.train("moved")


def test_a_lexicon_that_changed_is_rejected(runs: Runs, tmp_path: Path) -> None:
    lexicon = tmp_path / "phrases.txt"
    lexicon.write_text("of the\nin the\n", encoding="utf-8")
    phrases = f"objective.masking={{unit: phrase, lexicon: {lexicon}}}"
    runs.train("phrases", phrases, stop_at=5)
    lexicon.write_text("in the\nof the\non the\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"trained with another content of {lexicon}"):
        runs.train("phrases", phrases)
    # The order of phrases does not matter.
    lexicon.write_text("in the\nof the\n", encoding="utf-8")
    assert runs.train("phrases", phrases) == EXIT_DONE
