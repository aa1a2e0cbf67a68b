"""Commands without torch on a terminal: preprocessing, help, and the tables of runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ptm.cli.entry import main
from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.run_folders import write_run
from tests.support.small_runs import PROJECT, QUICKSTART, vocab
from tests.support.terminal import record

BAR = "━"
LONG = "roberta-base-book-review-second-try"


def preprocessing(store: str, corpus: str = f"{QUICKSTART}/corpus/*.txt") -> list[str]:
    overrides = [f"data.store={store}", f"data.corpus={corpus}", f"tokenizer.vocab={vocab()}"]
    return ["preprocess", "tiny.yaml", *overrides, "data.workers=1"]


def test_preprocessing_ends_with_its_counts_and_without_fragments(user_folder: Path) -> None:
    found = record(preprocessing("stores/shown"), folder=user_folder)
    assert found.code == EXIT_DONE
    assert found.screens[0][0].startswith("starting")
    assert found.final[0].startswith("stores/shown: 2,800 documents, ")
    assert not any(BAR in line or "ETA" in line for line in found.final)


@pytest.mark.parametrize("quiet", [False, True])
def test_without_a_terminal_there_are_plain_lines_or_none(
    quiet: bool,
    user_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(user_folder)
    monkeypatch.setattr("ptm.cli.progress.SECONDS_BEFORE_LINES", 0.0)
    words = [*preprocessing(f"stores/plain-{quiet}"), *(["--quiet"] if quiet else [])]
    assert main(words) == EXIT_DONE
    out, err = capsys.readouterr()
    if quiet:
        assert (out, err) == ("", "")
        return
    assert err.startswith("stores/plain-False: starting\n")
    assert "2,800 documents" in out
    assert not {"\r", "\x1b"} & set(out + err)


def test_a_mistake_is_red_and_leaves_no_line_behind(user_folder: Path) -> None:
    found = record(preprocessing("stores/none", corpus="nothing/*.txt"), folder=user_folder)
    assert found.code == EXIT_USER
    assert found.raw.startswith(b"\x1b[1;31mptm:\x1b[0m data.corpus: no file matches ")


def test_ptm_alone_prints_the_commands_in_the_order_of_use(user_folder: Path) -> None:
    found = record([], folder=user_folder, rows=100)
    assert found.code == EXIT_USER
    names = ("recipes", "validate", "preprocess", "train", "evaluate", "export", "runs", "report")
    at = [
        next(number for number, line in enumerate(found.final) if line.split()[:1] == [name])
        for name in names
    ]
    assert at == sorted(at)
    assert found.widest <= 80


def test_the_table_of_runs_fits_80_columns_and_is_aligned(
    user_folder: Path, tmp_path: Path
) -> None:
    records = [{"step": 120_000, "split": "train", "loss": 2.5, "tokens_per_second": 1234567.0}]
    for name in (LONG, "书评-基础模型-第二次", "a"):
        write_run(tmp_path / "runs" / name, "name=run", "train.steps=500000", records=records)
    found = record(["runs"], folder=tmp_path)
    assert found.code == EXIT_DONE
    assert found.widest <= 80
    header = found.final[0]
    rows = [line for line in found.final if "stopped" in line]
    assert len(rows) == 3
    # The column after the names begins in the same cell in every row.
    begin = header.index("STATE")
    assert {found.cells(row)[begin - 2 : begin + 7] for row in rows} == {"  stopped"}
    # A name that is broken is still there as a whole.
    assert "".join(line[:begin].strip() for line in found.final[1:3]) == LONG


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["train", "tiny.yaml", f"tokenizer.vocab={vocab()}"], "tiny.yaml: starting"),
        (["evaluate", "."], ".: loading the model"),
        (["predict", ".", "texts.txt"], ".: loading the model"),
        (["export", ".", "out", "--to", "hf"], ".: starting"),
    ],
    ids=["train", "evaluate", "predict", "export"],
)
def test_the_first_line_comes_before_torch_is_imported(
    words: list[str], first: str, user_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch is imported')", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "ptm", *words],
        cwd=user_folder,
        env={"PYTHONPATH": f"{tmp_path}:{PROJECT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.stdout.splitlines()[0] == first
