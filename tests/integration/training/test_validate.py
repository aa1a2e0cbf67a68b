"""`ptm validate` opens what is on this machine and finds what `ptm train` would reject."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.interop.import_model import import_from_huggingface
from ptm.recipe import load_recipe
from tests.support.small_runs import Runs

WIDER = "model.encoder.hidden_size=16"

COMMANDS = [["validate"], ["train"], ["launch", "--num-gpus", "2"]]
"""Commands that must find a mistake before any rank has started."""


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    assert Runs(store, folder).train("model", "train.steps=1") == EXIT_DONE
    return folder / "model"


@pytest.fixture(scope="module")
def imported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    assert main(["export", str(trained), str(folder / "export"), "--to", "hf"]) == EXIT_DONE
    import_from_huggingface(str(folder / "export"), folder / "import")
    return folder / "import"


def rejection(
    runs: Runs, capsys: pytest.CaptureFixture[str], command: list[str], *overrides: str
) -> str:
    """Run a command that must fail before it starts a rank; return its message, one line."""
    capsys.readouterr()
    with patch("subprocess.Popen", side_effect=AssertionError("a process was started")):
        assert main([*command, *runs.arguments("new", *overrides)]) == EXIT_USER
    (line,) = capsys.readouterr().err.splitlines()
    assert not (runs.folder / "new" / "recipe.yaml").exists()
    return line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_vocabulary_with_more_tokens_than_rows_is_found(
    runs: Runs, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    line = rejection(runs, capsys, command, "model.embedding.rows=40")
    assert "model.embedding.rows = 40, but the vocabulary has " in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_warm_start_with_another_number_of_rows_is_found(
    runs: Runs, trained: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    line = rejection(runs, capsys, command, f"init_from={trained}", "model.embedding.rows=9000")
    assert "the word embedding has one row per token, but that of this recipe has 9000 rows" in line
    assert "Remove the key." in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_warm_start_of_another_size_is_found(
    runs: Runs, trained: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    line = rejection(runs, capsys, command, f"init_from={trained}", WIDER)
    assert "the encoder has 1 layer of width 32, but this recipe has 1 layer of width 16" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([WIDER], "1 layer of width 32"),
        (["model.embedding.positions=65"], "model.embedding.positions = 512, but this recipe has"),
        (["model.encoder.heads=4"], "model.encoder.heads = 2, but this recipe has 4"),
    ],
    ids=["width", "positions", "heads"],
)
def test_an_imported_model_that_does_not_fit_is_found(
    runs: Runs,
    imported: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    message: str,
) -> None:
    assert message in rejection(runs, capsys, ["validate"], f"init_from={imported}", *changes)


def test_chosen_layers_that_do_not_fit_are_found(
    runs: Runs, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = f"init_from={{source: {trained}, layers: [0, 7]}}"
    assert "has no encoder layer 7" in rejection(runs, capsys, ["validate"], start)


def test_a_warm_start_that_fits_is_valid(
    runs: Runs, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *runs.arguments("new", f"init_from={trained}")]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines()[-1].endswith("roberta-tiny.yaml: valid")


@pytest.mark.parametrize("command", [*COMMANDS, ["show"]], ids=lambda words: words[0])
def test_a_split_without_training_documents_is_found(
    runs: Runs, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    line = rejection(runs, capsys, command, "data.held_out=0.999999")
    assert "has no examples to train on with data.held_out = 0.999999" in line


def test_the_verdict_is_qualified_when_an_input_is_missing(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *runs.arguments("new", f"data.store={tmp_path / 'no'}")]) == EXIT_DONE
    verdict, missing = capsys.readouterr().out.splitlines()
    assert missing.startswith('not checked: data.store: "')
    assert verdict.endswith(": valid as far as it could be checked on this machine")


def test_a_run_of_another_recipe_is_reported_as_an_obstacle(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs.train("new", "train.steps=1") == EXIT_DONE
    capsys.readouterr()
    assert main(["validate", *runs.arguments("new", "train.steps=1", "seed=99")]) == EXIT_DONE
    verdict, obstacle = capsys.readouterr().out.splitlines()
    assert obstacle.startswith("`ptm train` would not start now: ")
    assert "seed: 7 in the run, 99 in this recipe" in obstacle
    assert verdict.endswith(": valid")


def test_the_printed_recipe_with_its_verdict_is_a_recipe(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, *overrides = runs.arguments("new", f"data.store={tmp_path / 'no'}")
    assert main(["validate", "--print", recipe, *overrides]) == EXIT_DONE
    whole = tmp_path / "whole.yaml"
    whole.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_recipe(str(whole), []) == load_recipe(recipe, overrides)
