"""`ptm verify` reads every checkpoint completely, and token stores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ptm.checkpoint.verification import digest_of
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.written_runs import STEPS, write_run


@pytest.fixture(scope="module")
def written(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(store, tmp_path_factory.mktemp("runs"), "whole")


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    """A copy of a run with three whole checkpoints, for the test to damage."""
    return Path(shutil.copytree(written, tmp_path / "run"))


def rewrite(manifest: Path, **changes: Any) -> None:
    """Change keys of a manifest, and its checksum with them."""
    text = json.dumps({**json.loads(manifest.read_text().partition("\n")[2]), **changes})
    manifest.write_text(json.dumps({"blake2b": digest_of(text.encode())}) + "\n" + text)


def test_whole_checkpoints_are_reported_as_whole(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(run)]) == EXIT_DONE
    expected = [f"global_step{step}  complete" for step in reversed(STEPS)]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize(("step", "code"), [(12, EXIT_USER), (8, EXIT_DONE)])
def test_a_damaged_checkpoint_is_named_and_the_newest_sets_the_exit_code(
    run: Path, capsys: pytest.CaptureFixture[str], step: int, code: int
) -> None:
    file = run / "checkpoints" / f"global_step{step}" / "rank00000.bin"
    file.write_bytes(b"1" + file.read_bytes()[1:])

    assert main(["verify", str(run)]) == code

    lines = capsys.readouterr().out.splitlines()
    assert f"global_step{step}  {file}: the checksum differs from the manifest" in lines
    assert sum(line.endswith("  complete") for line in lines) == 2


def test_a_checkpoint_of_a_later_version_does_not_hide_the_others(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(run / "checkpoints" / "global_step12" / "manifest.json", format=2)
    assert main(["verify", str(run)]) == EXIT_USER
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("global_step12  ")
    assert "written by a later version of ptm" in lines[0]
    assert lines[1:] == ["global_step8  complete", "global_step4  complete"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"parameters": {}, "files": []}, "holds no parameters"),
        ({"files": []}, "no file holds the parameter"),
        ({"parameters": {}}, "which is not a parameter"),
    ],
)
def test_a_checkpoint_without_all_parameters_is_not_whole(
    run: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], problem: str
) -> None:
    rewrite(run / "checkpoints" / "global_step12" / "manifest.json", **changes)
    assert main(["verify", str(run)]) == EXIT_USER
    assert problem in capsys.readouterr().out.splitlines()[0]


def test_a_consistent_checkpoint_of_a_smaller_model_is_not_whole(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = run / "checkpoints" / "global_step12" / "manifest.json"
    data = json.loads(manifest.read_text().partition("\n")[2])
    entry = data["files"][0]
    name = entry["fragments"][-1]["name"]
    entry["fragments"] = [one for one in entry["fragments"] if one["name"] != name]
    del data["parameters"][name]
    rewrite(manifest, **data)
    assert main(["verify", str(run)]) == EXIT_USER
    assert f"lacks {name}" in capsys.readouterr().out.splitlines()[0]


def test_a_store_is_verified(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(store, tmp_path / "copy"))
    assert main(["verify", str(copy)]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines() == ["copy  complete"]
    shard = next(copy.glob("shard-*.bin"))
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    assert main(["verify", str(copy)]) == EXIT_USER
    assert f"{shard}: the checksum differs" in capsys.readouterr().out


def test_a_folder_without_a_checkpoint_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path)]) == EXIT_USER
    assert main(["verify", str(tmp_path / "none")]) == EXIT_USER
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        f"ptm: {tmp_path}: the run has no checkpoint.",
        f'ptm: "{tmp_path / "none"}" is not a folder. Give the folder of a run, runs/NAME.',
    ]
