"""Recurrent and convolutional models: every command works on a run and on its export to UER-py."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.recipe import load_recipe
from ptm.train.run import train
from tests.support.small_runs import Runs

CAUSAL = {
    "rnn": "{type: rnn, layers: 2, hidden_size: 16}",
    "lstm": "{type: lstm, layers: 2, hidden_size: 16}",
    "gru": "{type: gru, layers: 2, hidden_size: 16}",
    "gated_cnn": "{type: gated_cnn, layers: 3, hidden_size: 16}",
}
MASKED = {"bilstm": "{type: lstm, layers: 1, hidden_size: 16, bidirectional: true}"}
TEXT = "这本书写得很好。"
Output = Callable[..., str]


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small run with an encoder; one run per encoder."""
    runs = Runs(store, tmp_path_factory.mktemp("runs"))

    def folder(name: str) -> Path:
        if not (runs.folder / name).exists():
            objective = "{type: lm, head: {tied: false}}" if name in CAUSAL else "{type: mlm}"
            settings = (
                f"model.encoder={ {**CAUSAL, **MASKED}[name] }",
                "model.embedding={parts: [word], layer_norm: false, size: 12}",
                *(f"objective={objective}", "train.steps=4", "checkpoint.every=4"),
            )
            recipe, *overrides = runs.arguments(name, *settings)
            layers = ("model.encoder.layers=", "model.encoder.hidden", "model.encoder.feed")
            given = [word for word in overrides if not word.startswith(layers)]
            assert train(partial(load_recipe, recipe, given), fresh=False) == EXIT_DONE
        return runs.folder / name

    return folder


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    """Run a command that must succeed; returns what it prints."""

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(list(words)) == EXIT_DONE
        return capsys.readouterr().out

    return run


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str]) -> Output:
    """Run a command that must end with exit code 2; returns its one line of error."""

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(list(words)) == EXIT_USER
        message = capsys.readouterr().err.strip()
        assert "\n" not in message
        return message

    return run


@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_run_generates_embeds_evaluates_and_is_exported_to_uer(
    trained: Callable[[str], Path], output: Output, error: Output, tmp_path: Path, name: str
) -> None:
    run = str(trained(name))
    generated = output("generate", run, TEXT, "--length", "4")
    assert generated.strip()
    (vector,) = output("embed", run, TEXT, "--json").splitlines()
    evaluated = json.loads(output("evaluate", run, "--json").splitlines()[-1])
    assert "mask" in error("fill", run, f"{TEXT}[MASK]")
    assert error("export", run, str(tmp_path / "hf"), "--to", "hf").endswith("Use --to uer.")
    assert output("export", run, str(tmp_path / "uer"), "--to", "uer") is not None
    back = str(tmp_path / "back")
    output("import", str(tmp_path / "uer"), back, "--from", "uer")
    assert output("generate", back, TEXT, "--length", "4") == generated
    assert output("embed", back, TEXT, "--json") == vector + "\n"
    assert evaluated["loss"] > 0


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_run_fills_embeds_evaluates_and_is_exported_to_uer(
    trained: Callable[[str], Path], output: Output, error: Output, tmp_path: Path, name: str
) -> None:
    run = str(trained(name))
    filled = output("fill", run, f"{TEXT}[MASK]")
    vector = output("embed", run, TEXT, "--json")
    assert json.loads(output("evaluate", run, "--json"))["loss"] > 0
    assert "generate" in error("generate", run, TEXT)
    assert error("export", run, str(tmp_path / "hf"), "--to", "hf").endswith("Use --to uer.")
    output("export", run, str(tmp_path / "uer"), "--to", "uer")
    back = str(tmp_path / "back")
    output("import", str(tmp_path / "uer"), back, "--from", "uer")
    assert output("fill", back, f"{TEXT}[MASK]") == filled
    assert output("embed", back, TEXT, "--json") == vector
