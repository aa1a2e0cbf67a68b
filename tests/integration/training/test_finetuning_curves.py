"""Classifiers of several families have the loss curves of transformers under torch's AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from ptm.cli import main
from ptm.errors import EXIT_DONE
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from tests.support.finetuning_curves import SETTINGS, our_losses, their_losses
from tests.support.labelled_texts import classifying, write_corpora
from tests.support.small_runs import Runs
from tests.support.vocabularies import bundled_files

ENCODER = "layers: 1, hidden_size: 32, heads: 2, feed_forward_size: 64"


@dataclass(frozen=True)
class Case:
    """A body with its usual head: options of the recipe, and texts per example."""

    embedding: str
    encoder: str = ""
    head: str = ""
    byte_level: bool = False
    texts: int = 1
    segments: bool = False
    decoder: bool = False


CASES = {
    "bert": Case("parts: [word, position, segment], positions: 96", texts=2, segments=True),
    "roberta": Case(
        "parts: [word, position, segment], positions: 98, position_offset: 2, segments: 1",
        byte_level=True,
        texts=2,
    ),
    "gpt2": Case(
        "parts: [word, position], layer_norm: false, positions: 96",
        ", visibility: causal, norm_position: pre, activation: gelu_tanh",
        ", pooling: last, head: {dense: false, bias: false}",
    ),
    "bart": Case(
        "parts: [word, position], positions: 98, position_offset: 2",
        ", norm_epsilon: 1.0e-5",
        head=", pooling: last, decoder_start: eos",
        texts=2,
        decoder=True,
    ),
}


def tokenizer(byte_level: bool, folder: Path) -> str:
    """An override; RoBERTa's special tokens have RoBERTa's ids."""
    if not byte_level:
        return "tokenizer.type=wordpiece"
    trained = bundled_files("bpe")
    for name, content in trained.files.items():
        (folder / name).write_bytes(content)
    return f"tokenizer={{type: bpe, vocab: {folder}/vocab.json, merges: {folder}/merges.txt}}"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("steps", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_the_losses_are_those_of_transformers(
    runs: Runs, tmp_path: Path, name: str, steps: int
) -> None:
    case = CASES[name]
    write_corpora(tmp_path, texts=case.texts)
    options = (
        *classifying(tmp_path, case.head),
        *SETTINGS,
        f"model.embedding={{{case.embedding}}}",
        f"model.encoder={{type: transformer, {ENCODER}{case.encoder}}}",
        *(
            (f"model.decoder={{type: transformer, {ENCODER}{case.encoder}}}",)
            if case.decoder
            else ()
        ),
        f"train.steps={steps}",
        tokenizer(case.byte_level, tmp_path),
    )
    assert main(["preprocess", *runs.arguments("curve", *options)]) == EXIT_DONE
    assert runs.train("curve", *options) == EXIT_DONE

    def arguments(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        real = tensors["example_numbers"] > 0
        found = {"labels": tensors["class_labels"][real]}
        segments = (tensors["segment_ids"] - 1).clamp(min=0)
        return {**found, "token_type_ids": segments} if case.segments else found

    expected = their_losses(
        runs, options, tmp_path / "theirs", "AutoModelForSequenceClassification", arguments
    )
    # Several examples in a row change nothing.
    source = open_source(str(runs.folder / "curve"))
    single, packed = (
        evaluate_source(source, [f"data.packing={value}"])["dev/loss"]
        for value in ("false", "true")
    )
    assert packed == pytest.approx(single, abs=1e-5)
    assert sum(expected[-5:]) < 0.98 * sum(expected[:5])
    assert our_losses(runs, "curve") == pytest.approx(expected, abs=1e-3)
