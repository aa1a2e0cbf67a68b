"""An XLM-RoBERTa with SentencePiece is exported with its tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from transformers import AutoModelForMaskedLM, AutoTokenizer, XLMRobertaForMaskedLM

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.model.plain_model import loaded_model
from ptm.recipe.saved_files import RECIPE, WEIGHTS
from tests.support.bert_pairs import (
    TINY,
    TOLERANCE,
    blocks_of,
    difference,
    examples_of,
    hf_logits_alone,
    packed,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    scaled,
)
from tests.support.sentencepieces import sentencepiece_model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str]) -> ModelSource:
    folder = tmp_path_factory.mktemp("xlm")
    model = sentencepiece_model(folder / "trained.model")
    blocks = blocks_of(model, TINY, epsilon=1e-5)
    blocks["tokenizer"] = {"type": "sentencepiece", "model": str(model), "ids": "fairseq"}
    blocks["model"]["embedding"].update(position_offset=2, segments=1)
    recipe = recipe_of(blocks)
    plan = plan_of(recipe)
    examples = examples_of(recipe.tokenizer.load(), bundled_texts, longest=48)
    weights = scaled(plan, random_weights(plan), packed(examples, columns=128))
    (folder / RECIPE).write_text(yaml.safe_dump(blocks), encoding="utf-8")
    save_file(weights, folder / WEIGHTS)
    return open_source(str(folder))


@pytest.fixture(scope="module")
def export(source: ModelSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "export"
    export_to_huggingface(source, out, weights_format="safetensors")
    return out


def test_ids_and_logits_equal_transformers(
    source: ModelSource, export: Path, bundled_texts: list[str]
) -> None:
    theirs, info = AutoModelForMaskedLM.from_pretrained(export, output_loading_info=True)
    assert isinstance(theirs, XLMRobertaForMaskedLM)
    assert not any(info.values()), info
    recipe = source.recipe()
    tokenizer = recipe.tokenizer.load()
    texts = [text for text in bundled_texts if len(tokenizer.encode([text])[0]) < 120]
    examples = examples_of(tokenizer, texts, longest=126)
    automatic = AutoTokenizer.from_pretrained(export)
    for text, ids in zip(texts, examples, strict=True):
        assert automatic(text)["input_ids"] == ids.tolist()
    assert automatic.model_max_length == 126
    ours = loaded_model(plan_of(recipe), source.tensors(), source="random")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs.eval(), examples)) <= TOLERANCE


def test_the_export_is_read_back_unchanged(
    source: ModelSource, export: Path, tmp_path: Path
) -> None:
    (export / "recipe.yaml").rename(tmp_path / "recipe.yaml")
    back = open_source(str(export))
    weights = source.tensors()
    for name, tensor in back.tensors().items():
        rows = slice(1, None) if name == "embedding.segment.weight" else slice(None)
        assert torch.equal(tensor[rows], weights[name][rows]), name
    ours, theirs = source.recipe(), back.recipe()
    assert ours.model.embedding == theirs.model.embedding
    assert ours.tokenizer.load().fingerprint == theirs.tokenizer.load().fingerprint
    (tmp_path / "recipe.yaml").rename(export / "recipe.yaml")
