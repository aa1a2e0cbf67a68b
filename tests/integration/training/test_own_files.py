"""Run folders, checkpoints and stores that are moved, linked or removed while they are in use."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest

import ptm.train.stopping
from ptm.checkpoint.format import Checkpoint, newest_checkpoint
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, TrainingError, UserError
from ptm.files.kinds import MARKER
from ptm.interop.sources.open import open_source
from ptm.recipe import Recipe, load_recipe
from ptm.runs.report import write_report
from ptm.train.run import train
from ptm.train.run_folder import RunFolder
from ptm.train.run_ownership import check_own
from tests.support.small_runs import Runs
from tests.support.written_runs import write_run


@pytest.fixture
def recipe_of(runs: Runs) -> Callable[..., Recipe]:
    def load(name: str, *overrides: str) -> Recipe:
        path, *rest = runs.arguments(name, *overrides)
        return load_recipe(path, rest)

    return load


# Run folders


def test_of_many_fresh_starts_at_once_one_has_the_folder(
    recipe_of: Callable[..., Recipe], runs: Runs
) -> None:
    """Each start that gets the folder holds it until all have tried."""
    recipe = recipe_of("contested")
    first = RunFolder(recipe)
    first.acquire(fresh=False)
    first.release()
    for _ in range(20):
        folders = [RunFolder(recipe) for _ in range(8)]
        barrier = threading.Barrier(len(folders))
        held: list[RunFolder] = []

        def start(folder: RunFolder, barrier: threading.Barrier, held: list[RunFolder]) -> None:
            barrier.wait()
            try:
                folder.acquire(fresh=True)
            except UserError:
                return
            held.append(folder)

        threads = [threading.Thread(target=start, args=(one, barrier, held)) for one in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) == 1
        assert held[0].is_in_place
        held[0].release()
    assert len(list(runs.folder.glob("contested.*"))) == 20


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_the_users_that_a_run_would_overwrite_is_rejected(
    recipe_of: Callable[..., Recipe], runs: Runs, fresh: bool
) -> None:
    project = runs.folder / "project"
    project.mkdir(parents=True)
    (project / "console.log").write_text("redirected")
    folder = RunFolder(recipe_of("project"))
    (project / "environment.json").write_text("precious")
    with pytest.raises(UserError, match=r'not a run of ptm, but contains "environment\.json"'):
        folder.acquire(fresh=fresh)
    assert (project / "environment.json").read_text() == "precious"
    (project / "environment.json").unlink()
    folder.acquire(fresh=False)
    folder.release()
    assert (project / "console.log").read_text() == "redirected"


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "tokenizer/vocab.txt", "ranks/rank00007.json", "stop", "lock"]
)
@pytest.mark.parametrize("lock", ["", "process 12 on host", "my own lock"])
def test_a_lock_alone_does_not_make_a_folder_a_run(
    recipe_of: Callable[..., Recipe], runs: Runs, name: str, lock: str
) -> None:
    project = runs.folder / "project"
    (project / name).parent.mkdir(parents=True)
    (project / "lock").write_text(lock)
    (project / "recipe.yaml").write_text("flour: 500 g\n")
    if name != "lock":
        (project / name).write_text("precious")
    folder = RunFolder(recipe_of("project"))
    for check in (folder.check_writable, folder.acquire):
        with pytest.raises(UserError, match="the folder is not a run of ptm, but contains"):
            check(fresh=False)
    (project / "recipe.yaml").unlink()
    if name == "lock" and lock != "my own lock":
        folder.acquire(fresh=False)
        folder.release()
        return
    with pytest.raises(UserError, match="the folder is not a run of ptm, but contains"):
        folder.acquire(fresh=False)
    assert name == "lock" or (project / name).read_text() == "precious"
    assert (project / "lock").read_text() == lock


def test_a_run_of_an_earlier_version_without_a_marker_is_continued(store: Path, runs: Runs) -> None:
    run = write_run(store, runs.folder, "earlier")
    (run / MARKER).unlink(missing_ok=True)
    (run / "lock").write_text("process 12 on host")
    check_own(run)
    (run / "checkpoints").rename(run / "elsewhere")
    check_own(run)
    (run / "lock").write_text("")
    with pytest.raises(UserError, match=r'contains "recipe\.yaml"'):
        check_own(run)


@pytest.mark.parametrize("target", ["thesis.txt", "absent"])
def test_a_link_in_the_place_of_the_lock_is_not_followed(
    recipe_of: Callable[..., Recipe], runs: Runs, tmp_path: Path, target: str
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    folder = RunFolder(recipe_of("locked"))
    folder.acquire(fresh=False)
    folder.release()
    (folder.path / "lock").unlink()
    (folder.path / "lock").symlink_to(tmp_path / target)
    for take in (folder.check_writable, folder.acquire):
        with pytest.raises(UserError, match="lock: the lock file is a symbolic link"):
            take(fresh=False)
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("action", ["renamed", "removed"])
def test_a_run_folder_that_is_moved_during_the_training_ends_it(
    runs: Runs, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ptm.train.stopping, "_POLL_SECONDS", 0.0)
    folder = runs.folder / "moved"
    arguments = runs.arguments("moved", "checkpoint.every=4")

    def move(step: int) -> None:
        if step == 6 and action == "renamed":
            folder.rename(runs.folder / "elsewhere")
        elif step == 6:
            shutil.rmtree(folder)

    message = r"moved: the run folder was renamed or removed .* ends at step 6 .*: step 4\."
    with pytest.raises(TrainingError, match=message):
        train(lambda: load_recipe(arguments[0], arguments[1:]), fresh=False, on_step_begin=move)

    assert not folder.exists(), "the training wrote into a new folder"
    if action == "renamed":
        (runs.folder / "elsewhere").rename(folder)
        assert runs.train("moved") == EXIT_DONE
        assert runs.checkpoints("moved")[-1] == 12


def test_a_start_after_a_bus_error_explains_it(
    recipe_of: Callable[..., Recipe],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("ptm"), "propagate", True)
    folder = RunFolder(recipe_of("crashed"))
    folder.acquire(fresh=False)
    folder.release()
    (folder.path / "ranks").mkdir()
    (folder.path / "ranks" / "rank00000.stacks").write_text("Fatal Python error: Bus error\n\n")
    folder.acquire(fresh=False)
    folder.release()
    assert "rank00000: Bus error. A memory-mapped file was cut short" in caplog.text
    assert not list((folder.path / "ranks").iterdir())


def test_a_report_replaces_a_link_and_not_the_file_behind_it(store: Path, tmp_path: Path) -> None:
    run = write_run(store, tmp_path, "reported")
    report = {"step": 1, "split": "train", "loss": 2.0, "tokens": 9}
    (run / "metrics.jsonl").write_text(json.dumps(report) + "\n")
    (tmp_path / "thesis.html").write_text("precious")
    (run / "report.html").symlink_to(tmp_path / "thesis.html")
    assert "uPlot" in write_report([run]).read_text()
    assert (tmp_path / "thesis.html").read_text() == "precious"


# Checkpoints


def test_a_checkpoint_that_was_moved_and_linked_is_warned_of_and_blocks_nothing(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = BufferingHandler(10_000)
    monkeypatch.setattr(logging.getLogger("ptm"), "handlers", [handler])
    keep = ("checkpoint.keep=1", "checkpoint.every=4")
    assert runs.train("linked", *keep, stop_at=5)
    checkpoints = runs.folder / "linked" / "checkpoints"
    (checkpoints / "global_step5").rename(tmp_path / "elsewhere")
    (checkpoints / "global_step5").symlink_to(tmp_path / "elsewhere")

    assert runs.train("linked", *keep) == EXIT_DONE

    messages = [record.getMessage() for record in handler.buffer]
    assert not any("could not be written" in message for message in messages)
    assert sum("global_step5 stays on disk" in message for message in messages) == 1
    assert (tmp_path / "elsewhere" / "manifest.json").exists()
    assert runs.train("linked", *keep, "train.steps=14") == EXIT_DONE


def test_a_checkpoint_that_is_removed_while_it_is_read_is_read_to_its_end(
    store: Path, tmp_path: Path
) -> None:
    run = write_run(store, tmp_path, "read")
    source = open_source(str(run), step=4)
    expected = {
        name: Checkpoint.open(run / "checkpoints" / "global_step4").weights(name)
        for name in source.tensors()
    }
    shutil.rmtree(run / "checkpoints" / "global_step4")
    found = source.tensors()
    assert all(found[name].equal(expected[name]) for name in expected)


def test_the_next_checkpoint_is_taken_if_one_is_removed_before_it_is_opened(
    store: Path, tmp_path: Path
) -> None:
    run = write_run(store, tmp_path, "next")
    names = ["global_step99", "global_step12", "global_step8"]
    found = newest_checkpoint(run / "checkpoints", names)
    assert found is not None
    assert found.step == 12


# Stores and what a resume compares


def test_flipped_tokens_are_found_when_a_training_starts_and_when_it_resumes(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(runs.store, tmp_path / "store"))
    runs = Runs(other, runs.folder)
    shard = next(other.glob("shard-*.bin"))
    whole = shard.read_bytes()
    assert runs.train("flipped", stop_at=3)
    for flipped in (0, len(whole) // 3):
        shard.write_bytes(whole[:flipped] + bytes([whole[flipped] ^ 1]) + whole[flipped + 1 :])
        with pytest.raises(UserError, match=f"{shard.name}: the checksum differs"):
            runs.train("flipped")
        assert main(["evaluate", str(runs.folder / "flipped")]) == EXIT_USER
        assert "the checksum differs" in capsys.readouterr().err
    shard.write_bytes(whole)
    assert runs.train("flipped") == EXIT_DONE


def test_a_resume_with_another_evaluation_store_is_rejected(runs: Runs, tmp_path: Path) -> None:
    sets = [tmp_path / "one", tmp_path / "two"]
    for number, path in enumerate(sets):
        shutil.copytree(runs.store, path, ignore=shutil.ignore_patterns("index"))
        manifest = json.loads((path / "store.json").read_text())
        manifest["shards"] = manifest["shards"][number : number + 1]
        (path / "store.json").write_text(json.dumps(manifest))
        (path / ".ptm-folder").unlink()
    corpus = json.loads((runs.store / "store.json").read_text())["corpus"][0]["path"]
    words = f"data.evaluation={{news: {{corpus: '{corpus}', store: '{sets[0]}'}}}}"
    assert runs.train("evaluated", words, stop_at=3)
    shutil.rmtree(sets[0])
    sets[1].rename(sets[0])
    with pytest.raises(UserError, match="evaluated on other data than the store of news"):
        runs.train("evaluated", words)
