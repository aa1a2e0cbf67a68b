"""`ptm verify` reads every checkpoint completely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptm.checkpoint.verification import digest_of
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with three whole checkpoints without parameters."""
    for step in (4, 8, 12):
        folder = tmp_path / "checkpoints" / f"global_step{step}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        (folder / "rank00000.bin").write_bytes(b"1234")
        entry = {"file": "rank00000.bin", "bytes": 4, "blake2b": digest_of(b"1234")}
        entry["fragments"] = []
        text = json.dumps({"format": 1, "files": [entry], "run": digest_of(b"{}")})
        head = json.dumps({"blake2b": digest_of(text.encode())})
        (folder / "manifest.json").write_text(f"{head}\n{text}")
    return tmp_path


def test_whole_checkpoints_are_reported_as_whole(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(run)]) == EXIT_DONE
    expected = [f"global_step{step}  complete" for step in (12, 8, 4)]
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize(("step", "code"), [(12, EXIT_USER), (8, EXIT_DONE)])
def test_a_damaged_checkpoint_is_named_and_the_newest_sets_the_exit_code(
    run: Path, capsys: pytest.CaptureFixture[str], step: int, code: int
) -> None:
    file = run / "checkpoints" / f"global_step{step}" / "rank00000.bin"
    file.write_bytes(b"1235")

    assert main(["verify", str(run)]) == code

    lines = capsys.readouterr().out.splitlines()
    assert f"global_step{step}  {file}: the checksum differs from the manifest" in lines
    assert sum(line.endswith("  complete") for line in lines) == 2


def test_a_checkpoint_of_a_later_version_does_not_hide_the_others(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = run / "checkpoints" / "global_step12" / "manifest.json"
    later = json.dumps({**json.loads(manifest.read_text().partition("\n")[2]), "format": 2})
    manifest.write_text(json.dumps({"blake2b": digest_of(later.encode())}) + "\n" + later)

    assert main(["verify", str(run)]) == EXIT_USER

    lines = capsys.readouterr().out.splitlines()
    assert (
        "global_step12: the checkpoint was written by a later version of ptm (its format: 2"
        in lines[0]
    )
    assert lines[1:] == ["global_step8  complete", "global_step4  complete"]


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
