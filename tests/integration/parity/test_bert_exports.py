"""Further tests of BERT exports: real text, long rows, training rows, hidden states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.sources.open import open_source
from ptm.loading.batches import step_batch
from ptm.loading.rows import TRAIN, open_rows
from ptm.model.build import encoder_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import empty_model
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from tests.integration.parity.cases import PLAIN_EXPORTS
from tests.integration.parity.cases.bert import BERT, DISTILBERT
from tests.integration.parity.cases.inputs import OneSided
from tests.integration.parity.cases.models import (
    UNTIED,
    Export,
    ExportedModel,
    export_model,
    with_changes,
)
from tests.integration.parity.conftest import BuildExport
from tests.support.bert_pairs import (
    TOLERANCE,
    difference,
    examples_of,
    hf_logits_alone,
    lay_out_rows,
    packed,
    plan_of,
    ptm_logits,
    recipe_of,
    write_model,
)


@pytest.fixture
def bert(exported: BuildExport) -> ExportedModel:
    return exported(PLAIN_EXPORTS[BERT])


def test_reviews_have_the_same_logits_with_the_chinese_vocabulary(
    tmp_path: Path, review_texts: list[str], chinese_vocab: Path
) -> None:
    case = PLAIN_EXPORTS[BERT]
    model = export_model(case, tmp_path, vocab=chinese_vocab, texts=review_texts)
    ours = model.inputs.ptm_logits(model.ours, model.inputs.packed)
    assert model.mismatch(ours) <= TOLERANCE


def test_a_row_as_long_as_the_position_table_has_the_same_logits(
    bert: ExportedModel, bundled_texts: list[str]
) -> None:
    tokenizer = bert.recipe.tokenizer.load()
    (ids,) = examples_of(tokenizer, ["".join(bundled_texts)], longest=128)
    assert len(ids) == bert.recipe.model.embedding.positions
    ours = ptm_logits(bert.ours, lay_out_rows([[ids]]))
    assert difference(ours, hf_logits_alone(bert.theirs, [ids])) <= TOLERANCE


@pytest.mark.parametrize("segment", [True, False], ids=["segment", "no_segment"])
def test_the_encoder_alone_gives_the_same_hidden_states(
    exported: BuildExport, bert: ExportedModel, segment: bool
) -> None:
    # DistilBERT (a BERT without segments) has no pooler.
    model = bert if segment else exported(PLAIN_EXPORTS[DISTILBERT])
    options = {"add_pooling_layer": False} if segment else {}
    encoder = AutoModel.from_pretrained(model.folder, **options).eval()
    size = model.recipe.tokenizer.load().vocabulary.size
    plan = encoder_plan(model.recipe.model, vocabulary_size=size)
    assert isinstance(model.inputs, OneSided)
    for index, ids in enumerate(model.inputs.examples):
        with torch.no_grad():
            ours = model.ours.run(plan, model.inputs.single(index))["hidden"]
            theirs = encoder(ids[None]).last_hidden_state
        assert difference(ours, theirs) <= TOLERANCE


def test_training_rows_have_the_logits_of_their_separate_examples(
    tmp_path: Path, bert: ExportedModel, bundled_texts: list[str]
) -> None:
    """Uses packed, masked rows of a store instead of rows built by a test."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(bundled_texts) + "\n", encoding="utf-8")
    data = {
        "corpus": str(corpus),
        "layout": "documents",
        "store": str(tmp_path / "store"),
        "held_out": 0.0,
        "sequence_length": 64,
    }
    recipe = recipe_of({**bert.blocks, "data": data})
    tokenizer = recipe.tokenizer.load()
    work = Preprocessing(find_corpus((str(corpus),)), "documents", recipe.tokenizer, None)
    preprocess(work, tmp_path / "store", workers=1, fresh=False, report=lambda _: None)
    rows = open_rows(recipe, tokenizer, split=TRAIN)
    every_row = torch.arange(len(rows)).numpy()
    step = step_batch([rows.micro_batch(every_row, every_row * 0)], rows.objective)
    tensors = step.micro_batches[0]
    assert step.examples > len(rows), "some rows hold several examples"

    numbers = tensors["example_ids"]
    logits = torch.zeros(*numbers.shape, tokenizer.vocabulary.size)
    for row in range(len(numbers)):
        for number in range(1, int(numbers[row].max()) + 1):
            example = numbers[row] == number
            alone = hf_logits_alone(bert.theirs, [tensors["input_ids"][row, example]])
            logits[row, example] = alone
    real = tensors["predicted_weights"] > 0
    with torch.no_grad():
        ours = bert.ours(tensors)["logits"][real]
    theirs = logits.flatten(0, 1)[tensors["predicted_positions"][real]]
    assert len(ours) == step.counts["predicted"]
    assert difference(ours, theirs) <= TOLERANCE


def test_an_export_of_an_export_is_the_same_model(exported: BuildExport, tmp_path: Path) -> None:
    model = exported(Export(BERT, "untied", {"head": UNTIED}))
    source = open_source(str(model.folder))
    export_to_huggingface(source, tmp_path / "again", weights_format="safetensors")
    again = AutoModelForMaskedLM.from_pretrained(tmp_path / "again").state_dict()
    for name, tensor in model.theirs.state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_the_initial_weights_of_a_training_run_are_exported_unchanged(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    blocks: dict[str, Any] = with_changes(BERT.recipe(small_vocab), {})
    recipe = recipe_of(blocks)
    model = empty_model(plan_of(recipe)).eval()
    initialise(model, recipe.model, seed=3)
    source = write_model(tmp_path / "model", blocks, model.state_dict())
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "export").eval()
    examples = examples_of(recipe.tokenizer.load(), bundled_texts, longest=48)
    ours = ptm_logits(model, packed(examples, columns=128))
    assert difference(ours, hf_logits_alone(theirs, examples)) <= TOLERANCE
