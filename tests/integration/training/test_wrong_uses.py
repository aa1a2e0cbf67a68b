"""Wrong uses of a run and its checkpoints: exit code 2, one message, and no file is changed."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ptm.checkpoint.verification import digest_of
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.files.kinds import MARKER
from tests.support.small_runs import Runs, vocab

AssertRejected = Callable[..., None]
BOOKKEEPING = {"lock", "ranks", "train.log", "index"}
"""Files that may change: the lock, rank files, the log, and the index of a store."""


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert Runs(store, folder).train("model") == EXIT_DONE
    return folder / "model"


@pytest.fixture
def run(runs: Runs, trained: Path) -> Path:
    """A copy of a finished run with checkpoints of steps 4, 8 and 12, for the test to damage."""
    copy = runs.folder / "model"
    shutil.copytree(trained, copy)
    return copy


@pytest.fixture
def assert_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AssertRejected:
    def popen(*words: Any, **options: Any) -> None:
        raise AssertionError(f"started: {words}")

    monkeypatch.setattr("ptm.launch.launching.subprocess.Popen", popen)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def check(*words: str, match: str) -> None:
        before = content(tmp_path)
        capsys.readouterr()
        assert main(words) == EXIT_USER
        lines = capsys.readouterr().err.splitlines()
        (message,) = [line for line in lines if line.startswith("ptm: ")]
        assert re.search(match, message), message
        assert not any("Traceback" in line for line in lines)
        assert content(tmp_path) == before

    return check


def content(folder: Path) -> dict[str, str | None]:
    """The checksum of every file by path; None for folders."""
    return {
        str(path): digest_of(path.read_bytes()) if path.is_file() else None
        for path in folder.rglob("*")
        if not BOOKKEEPING & set(path.parts)
    }


@contextmanager
def held(run: Path) -> Iterator[None]:
    with (run / "lock").open("w", encoding="utf-8") as lock:
        lock.write("process 1 on somewhere")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("command", ["export", "evaluate", "fill"])
def test_a_run_without_checkpoints_cannot_be_exported_or_used(
    run: Path, assert_rejected: AssertRejected, command: str
) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    more = {"export": [str(run / "out"), "--to", "hf"], "evaluate": [], "fill": ["[MASK]"]}
    assert_rejected(
        command, str(run), *more[command], match=f"{run}: the run has no checkpoint yet"
    )


@pytest.mark.parametrize("command", ["train", "launch", "validate"])
def test_init_from_a_run_without_checkpoints_is_rejected(
    runs: Runs, run: Path, assert_rejected: AssertRejected, command: str
) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    words = runs.arguments("new", f"init_from={run}")
    options = ["--inputs"] if command == "validate" else []
    assert_rejected(command, *words, *options, match=f"{run}: the run has no checkpoint yet")


@pytest.mark.parametrize("command", ["train", "launch"])
def test_a_folder_with_the_run_of_another_recipe_is_rejected(
    runs: Runs, run: Path, assert_rejected: AssertRejected, command: str
) -> None:
    words = runs.arguments("model", "seed=8")
    assert_rejected(
        command, *words, match=r"another recipe \(seed: 7 in the run, 8 in this recipe\).*--fresh"
    )


def test_another_store_than_at_the_start_of_the_run_is_rejected(
    run: Path, tmp_path: Path, runs: Runs, assert_rejected: AssertRejected
) -> None:
    other = tmp_path / "store"
    shutil.copytree(runs.store, other)
    info = json.loads((other / "store.json").read_text())
    info["shards"] = info["shards"][:-1]
    (other / "store.json").write_text(json.dumps(info))
    (other / MARKER).unlink()
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(runs.store), str(other)))
    words = Runs(other, runs.folder).arguments("model", "train.steps=20")
    assert_rejected("train", *words, match=f'was trained on other data than data.store = "{other}"')


@pytest.mark.parametrize("command", ["train", "launch"])
def test_another_vocabulary_than_that_of_the_store_is_rejected(
    tmp_path: Path, runs: Runs, assert_rejected: AssertRejected, command: str
) -> None:
    other = tmp_path / "other.txt"
    lines = vocab().read_text(encoding="utf-8").splitlines()
    other.write_text("\n".join([*lines[:-2], lines[-1], lines[-2], ""]), encoding="utf-8")
    words = runs.arguments("new", f"tokenizer.vocab={other}")
    assert_rejected(command, *words, match="store.*another tokenizer|another tokenizer.*store")


@pytest.mark.parametrize("command", ["train", "launch"])
@pytest.mark.parametrize("options", [[], ["--fresh"]], ids=["continue", "fresh"])
def test_a_folder_in_use_is_rejected(
    runs: Runs, run: Path, assert_rejected: AssertRejected, command: str, options: list[str]
) -> None:
    with held(run):
        words = [*runs.arguments("model"), *options]
        assert_rejected(
            command, *words, match=f"{run}: the run folder is in use by process 1 on somewhere"
        )


@pytest.mark.parametrize("command", ["train", "launch"])
def test_a_folder_that_cannot_be_created_is_rejected(
    tmp_path: Path, runs: Runs, assert_rejected: AssertRejected, command: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    words = runs.arguments("new", f"runs_dir={tmp_path / 'file'}")
    assert_rejected(command, *words, match="cannot create the run folder: Not a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("command", ["train", "launch"])
def test_a_read_only_folder_is_rejected(
    runs: Runs, run: Path, assert_rejected: AssertRejected, command: str
) -> None:
    (run / "lock").unlink()
    run.chmod(0o500)
    try:
        assert_rejected(
            command, *runs.arguments("model"), match="cannot create .* Permission denied"
        )
    finally:
        run.chmod(0o700)


def test_node_local_checkpoints_with_a_missing_part_are_rejected(
    runs: Runs, run: Path, assert_rejected: AssertRejected
) -> None:
    for folder in (run / "checkpoints").glob("global_step*"):
        (folder / "rank00000.bin").unlink()
    words = runs.arguments("model", "checkpoint.node_local=true", "train.steps=20")
    assert_rejected("train", *words, match="all checkpoints are damaged.*rank00000.bin.*--fresh")


@pytest.mark.parametrize("command", ["train", "export"])
def test_a_checkpoint_of_a_later_version_is_rejected(
    runs: Runs, run: Path, assert_rejected: AssertRejected, command: str
) -> None:
    manifest = run / "checkpoints" / "global_step12" / "manifest.json"
    _, _, text = manifest.read_text(encoding="utf-8").partition("\n")
    later = json.dumps({**json.loads(text), "format": 2})
    manifest.write_text(json.dumps({"blake2b": digest_of(later.encode())}) + "\n" + later)
    words = {
        "train": runs.arguments("model", "train.steps=20"),
        "export": [str(run), str(run / "out"), "--to", "hf"],
    }
    match = r"global_step12: the checkpoint was written by a later version of ptm \(its format: 2"
    assert_rejected(command, *words[command], match=match)


def test_a_step_without_a_checkpoint_is_rejected(
    run: Path, assert_rejected: AssertRejected
) -> None:
    words = ["export", str(run), str(run / "out"), "--to", "hf", "--step", "5"]
    assert_rejected(*words, match="has no checkpoint at step 5. Available: 12, 8, 4")


def test_the_best_step_of_a_run_without_a_best_checkpoint_is_rejected(
    run: Path, assert_rejected: AssertRejected
) -> None:
    words = ["export", str(run), str(run / "out"), "--to", "hf", "--step", "best"]
    assert_rejected(
        *words, match=f"{run}: the run has no best checkpoint. Set checkpoint.best in its recipe to"
    )


@pytest.mark.parametrize("command", ["train", "launch", "validate"])
def test_a_best_metric_without_an_evaluation_is_rejected(
    runs: Runs, assert_rejected: AssertRejected, command: str
) -> None:
    words = runs.arguments("new", "checkpoint.best=loss", "data.held_out=0")
    assert_rejected(
        command,
        *words,
        match="checkpoint.best: needs an evaluation set. Set data.held_out above 0, or",
    )


def test_a_failed_warm_start_leaves_the_run_folder_usable(runs: Runs, run: Path) -> None:
    def first_layer_from(layer: int) -> str:
        return f"init_from={{source: {run}, layers: [{layer}]}}"

    with pytest.raises(UserError, match="has no encoder layer 7"):
        runs.train("repeated", first_layer_from(7))
    assert runs.train("repeated", first_layer_from(0)) == EXIT_DONE


@pytest.mark.parametrize("command", [["show"], ["show", "--batch"], ["train"]])
def test_a_store_without_a_document_to_train_on_is_one_sentence(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "corpus.txt").write_text("one document\n", encoding="utf-8")
    words = runs.arguments(
        "none",
        f"data.corpus={tmp_path}/corpus.txt",
        f"data.store={tmp_path}/store",
        "data.held_out=0.999999",
    )
    assert main(["preprocess", *words]) == EXIT_DONE
    capsys.readouterr()
    assert main([*command, *words]) == EXIT_USER
    message = (
        f'ptm: data.store: "{tmp_path}/store" has no examples to train on with data.held_out = '
        "0.999999. Set a smaller value, or use a larger corpus.\n"
    )
    assert capsys.readouterr().err == message
    assert not (runs.folder / "none").exists()
