"""A small ELMo: trained, resumed and evaluated; its batch shown, its texts embedded."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from tests.support.small_runs import Calm, Runs

ELMO = (
    "model={dropout: 0.1, embedding: {parts: [word], layer_norm: false, size: 16}, "
    "encoder: {type: bilstm, layers: 2, hidden_size: 32}}",
    "objective={type: bilm}",
    *("engine.deepspeed=zero0", "optimizer.learning_rate=1e-2"),
)


def test_a_stopped_run_resumes_with_identical_metrics(runs: Runs, calm: Calm) -> None:
    assert runs.train("stopped", *ELMO, stop_at=7) == EXIT_STOPPED
    assert runs.train("stopped", *ELMO) == EXIT_DONE
    expected = calm(*ELMO)
    assert runs.metrics("stopped") == expected
    before, after = (record["lm_loss"] for record in expected if record["split"] == "eval")
    assert after < before


def test_the_loss_is_the_sum_and_the_perplexity_that_of_the_mean(calm: Calm) -> None:
    for record in calm(*ELMO):
        both = record["forward_loss"] + record["backward_loss"]
        assert record["loss"] == pytest.approx(both)
        assert record["lm_loss"] == pytest.approx(both / 2)
        if record["split"] == "eval":
            assert record["perplexity"] == pytest.approx(math.exp(both / 2))


def test_a_run_is_evaluated_embedded_and_cannot_generate(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runs.train("elmo", *ELMO) == EXIT_DONE
    folder = str(runs.folder / "elmo")
    last = runs.metrics("elmo")[-1]
    found = evaluate_source(open_source(folder), [])
    for key in ("loss", "forward_loss", "backward_accuracy", "perplexity"):
        assert found[key] == pytest.approx(last[key], rel=1e-6), key
    vectors = tmp_path / "vectors.npy"
    assert main(["embed", folder, "red", "--out", str(vectors), "--layers", "mix"]) == EXIT_DONE
    assert np.load(vectors).shape == (1, 32)
    capsys.readouterr()
    assert main(["generate", folder, "red"]) == EXIT_USER
    sentence = "a model trained with objective bilm cannot generate text. Use `ptm embed`."
    assert sentence in capsys.readouterr().err


def test_the_batch_is_shown_with_the_targets_of_both_directions(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, *overrides = runs.arguments("shown", *ELMO, "data.sequence_length=512")
    assert main(["show", "--batch", recipe, *overrides]) == EXIT_DONE
    lines = iter(capsys.readouterr().out.splitlines())
    shown = 0
    for line in lines:
        if line.startswith("  row "):
            tokens = line.partition(": ")[2].split()
            after, before = (next(lines).partition(": ")[2].split() for _ in range(2))
            assert after[:-1] == tokens[1:]
            assert before[1:] == tokens[:-1]
            shown += (before[0], after[-1]) == ("[CLS]", "[SEP]")
    assert shown
