"""`ptm predict` with regressions: the scores of labels in the file, over several windows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr

from ptm.inference.predict.base import InputFiles, PredictionOptions, predictor_of
from ptm.interop.sources.open import open_source
from tests.support.written_runs import write_run


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The store is only named in the run.
    overrides = ("objective={type: regression}", "data.layout=labelled")
    return write_run(store, tmp_path_factory.mktemp("runs"), "regression", *overrides, std=0.3)


def notes_of(run: Path, file: Path, window: int) -> tuple[list[float], list[str]]:
    predictor = predictor_of(open_source(str(run)), PredictionOptions(window=window))
    numbers: list[float] = []
    for part in predictor.windows(InputFiles((str(file),))):
        predictor.columns(part)
        numbers += (one.values["prediction"] for one in predictor.predict(part.inputs))
    return numbers, predictor.notes()


@pytest.mark.parametrize("window", [7, 1000])
def test_scores_are_those_of_scipy_whatever_the_windows(
    run: Path, tmp_path: Path, window: int
) -> None:
    dice = np.random.default_rng(0)
    texts = ["".join(dice.choice(list("看书好坏天地"), 6)) for _ in range(40)]
    labels = np.round(dice.random(40) * 5, 1)
    file = tmp_path / "a.tsv"
    file.write_text("".join(f"{a}\t{b}\n" for a, b in zip(labels, texts, strict=True)))
    numbers, (note,) = notes_of(run, file, window)
    found = [float(one) for one in re.findall(r"-?\d+\.\d+", note)]
    error = np.mean((np.array(numbers) - labels) ** 2)
    assert found == pytest.approx([pearsonr(numbers, labels)[0], error], abs=1e-5)
    assert note.endswith("on 40 labels")


@pytest.mark.parametrize("lines", ["2.5\t看书\n", "1\t看书\n2\t看书\n"])
def test_a_constant_series_has_correlation_0(run: Path, tmp_path: Path, lines: str) -> None:
    file = tmp_path / "a.tsv"
    file.write_text(lines)
    _, (note,) = notes_of(run, file, 1)
    assert note.startswith("Pearson correlation 0.00000, mean squared error ")
