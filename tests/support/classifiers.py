"""Classifiers with random weights as runs on disk: what predictions need, without a training."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification

from ptm.cli import main
from ptm.interop.hf.families.bert import Bert
from ptm.interop.sources.base import ModelSource
from tests.support.labelled_texts import classifying
from tests.support.written_runs import write_run


def write_classifier(folder: Path, name: str, *overrides: str) -> Path:
    """Write a run of a classifier for the corpora and stores of `folder`; return its folder."""
    return write_run(
        folder / "train", folder / "runs", name, *classifying(folder), *overrides, std=0.3
    )


def transformers_classifier(source: ModelSource, labels: int) -> BertForSequenceClassification:
    """transformers' model with the weights of ours, in evaluation mode."""
    recipe, weights = source.recipe(), source.tensors()
    model, objective = recipe.model, recipe.objective
    config = BertConfig(
        vocab_size=recipe.tokenizer.load().vocabulary.size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        num_labels=labels,
        attn_implementation="eager",
    )
    theirs = BertForSequenceClassification(config).eval()
    renamed = Bert().to_huggingface(weights, model, objective)
    renamed |= {name: weights[name] for name in weights if name.startswith("classifier")}
    kept = {name: renamed[name] for name in theirs.state_dict() if name in renamed}
    missing, _ = theirs.load_state_dict(kept, strict=False)
    assert [name for name in missing if "position_ids" not in name] == []
    return theirs


def run_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], str]:
    """Run `ptm` in this process; returns exit code, lines of standard output, standard error."""
    capsys.readouterr()
    code = main(words)
    found = capsys.readouterr()
    return code, found.out.splitlines(), found.err
