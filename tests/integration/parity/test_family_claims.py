"""Tests of single families: configs, tensors with two names, bare models, model cards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, LlamaModel

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.nn.positions import SinusoidalPositions
from tests.integration.parity.cases import (
    PLAIN_EXPORTS,
    PLAIN_IMPORTS,
    encoder_decoders,
    modernbert,
)
from tests.integration.parity.cases.bert import ERNIE
from tests.integration.parity.cases.causal import GPT2, LLAMA, OPENAI_GPT
from tests.integration.parity.cases.encoder_decoders import BART, PEGASUS, T5
from tests.integration.parity.cases.models import (
    Export,
    ExportedModel,
    Family,
    Import,
    import_model,
    save,
)
from tests.integration.parity.cases.modernbert import MODERNBERT
from tests.integration.parity.conftest import BuildExport, BuildImport, BuildSaved
from tests.support.bert_pairs import TOLERANCE, difference


def name_of(family: Family) -> str:
    return family.name


@pytest.fixture
def modernbert_export(exported: BuildExport) -> ExportedModel:
    return exported(PLAIN_EXPORTS[MODERNBERT])


def test_a_modernbert_config_has_the_values_of_the_recipe(modernbert_export: ExportedModel) -> None:
    config = AutoConfig.from_pretrained(modernbert_export.folder)
    is_global = [kind == "full_attention" for kind in config.layer_types]
    layers = range(modernbert.LAYERS)
    assert is_global == [layer % modernbert.EVERY == 0 for layer in layers]
    assert config.rope_parameters["full_attention"]["rope_theta"] == 160000
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10000
    assert config.sliding_window == modernbert.WINDOW // 2
    assert config.max_position_embeddings == 1024


def test_a_modernbert_import_has_no_longest_sequence(imported: BuildImport) -> None:
    embedding: Any = imported(PLAIN_IMPORTS[MODERNBERT]).recipe.model.embedding
    assert embedding.max_sequence_length is None


def test_a_tied_matrix_stored_under_two_names_is_read_once(
    tmp_path: Path, modernbert_export: ExportedModel
) -> None:
    folder = Path(shutil.copytree(modernbert_export.folder, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    words = weights["model.embeddings.tok_embeddings.weight"]
    save_file({**weights, "decoder.weight": words.clone()}, folder / "model.safetensors")
    assert HuggingFaceFolder(folder).canonical().keys() == modernbert_export.weights.keys()


def test_an_ernie_without_tasks_is_exported_as_a_bert_with_the_same_logits(
    tmp_path: Path, saved: BuildSaved
) -> None:
    theirs = saved(Import(ERNIE, "no_tasks", {"use_task_id": False}))
    source = open_source(str(theirs.folder))
    assert "task" not in source.recipe().model.embedding.parts
    export_to_huggingface(source, tmp_path / "out", weights_format="safetensors")
    out = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    assert out.config.model_type == "bert"
    assert difference(theirs.inputs.hf_logits(out), theirs.expected) <= TOLERANCE


@pytest.mark.parametrize("family", [GPT2, LLAMA, T5], ids=name_of)
def test_a_model_card_names_the_class_that_loads_the_model(
    exported: BuildExport, family: Family
) -> None:
    card = (exported(PLAIN_EXPORTS[family]).folder / "README.md").read_text(encoding="utf-8")
    loader, task = ("AutoModelForCausalLM", "text-generation")
    if family is T5:
        loader, task = ("AutoModelForSeq2SeqLM", "text2text-generation")
    assert f"pipeline_tag: {task}" in card
    assert f"{loader}.from_pretrained" in card


@pytest.mark.parametrize("family", [GPT2, OPENAI_GPT], ids=name_of)
def test_a_tied_model_without_its_prefix_is_imported_completely(
    tmp_path: Path, saved: BuildSaved, family: Family
) -> None:
    """Like OpenAI's own GPT-2 files, with the causal mask among the weights."""
    theirs = saved(PLAIN_IMPORTS[family])
    bare = save(theirs.theirs.transformer, tmp_path / "bare", vocab=theirs.vocab, family=family)
    path = bare / "model.safetensors"
    mask = {f"h.{layer}.attn.bias": torch.ones(1, 1, 128, 128) for layer in range(3)}
    save_file({**load_file(path), **mask}, path, metadata={"format": "pt"})
    report = import_from_huggingface(str(bare), tmp_path / "out")
    assert not report.left_out
    source = open_source(str(tmp_path / "out"))
    export_to_huggingface(source, tmp_path / "whole", weights_format="safetensors")
    again = family.hf_class.from_pretrained(tmp_path / "whole").eval()
    assert torch.equal(theirs.inputs.hf_logits(again), theirs.expected)


def test_an_untied_bare_llama_is_imported_and_exported_without_its_head(
    tmp_path: Path, saved: BuildSaved
) -> None:
    theirs = saved(PLAIN_IMPORTS[LLAMA])
    bare = save(theirs.theirs.model, tmp_path / "bare", vocab=theirs.vocab, family=LLAMA)
    import_from_huggingface(str(bare), tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert "lm_unembed.weight" not in source.tensors()
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    _, info = LlamaModel.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    back = load_file(tmp_path / "back" / "model.safetensors")
    expected = load_file(bare / "model.safetensors")
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("family", [BART, PEGASUS], ids=name_of)
def test_a_bare_model_gets_an_output_bias_of_zeros(
    tmp_path: Path, saved: BuildSaved, family: Family
) -> None:
    theirs = saved(PLAIN_IMPORTS[family])
    bare = save(theirs.theirs.model, tmp_path / "bare", vocab=theirs.vocab, family=family)
    model = import_model(bare, tmp_path / "out")
    logits = theirs.inputs.ptm_logits(model.ours, theirs.inputs.packed)
    expected = theirs.expected - theirs.theirs.final_logits_bias
    assert difference(logits, expected) <= TOLERANCE


@pytest.mark.parametrize("order", ["interleaved", "uer"])
def test_a_pegasus_keeps_positions_of_another_formula(
    tmp_path: Path, saved: BuildSaved, order: Any
) -> None:
    """Converters write the positions that a model was trained with into the tables."""
    plain = saved(PLAIN_IMPORTS[PEGASUS])
    theirs = type(plain.theirs).from_pretrained(plain.folder).eval()
    table = SinusoidalPositions(32, order=order)(torch.arange(64))
    for stack in (theirs.get_encoder(), theirs.get_decoder()):
        stack.embed_positions.weight.data.copy_(table)
    folder = save(theirs, tmp_path / "theirs", vocab=plain.vocab, family=PEGASUS)
    model = import_model(folder, tmp_path / "out")
    logits = plain.inputs.ptm_logits(model.ours, plain.inputs.packed)
    assert difference(logits, plain.inputs.hf_logits(theirs)) <= TOLERANCE
    embedding: Any = model.recipe.model.embedding
    assert embedding.sinusoidal_order == order


def test_an_exported_bart_with_position_offset_0_gets_two_unused_rows(
    exported: BuildExport,
) -> None:
    changes = {"embedding": {"positions": 64, "position_offset": 0}}
    model = exported(Export(BART, "offset=0", changes))
    ours = model.inputs.ptm_logits(model.ours, model.inputs.packed)
    assert model.mismatch(ours) <= TOLERANCE
    config = json.loads((model.folder / "config.json").read_text())
    assert config["max_position_embeddings"] == 64
    back = open_source(str(model.folder))
    embedding: Any = back.recipe().model.embedding
    assert (embedding.positions, embedding.position_offset) == (66, 2)
    assert back.tensors()["embedding.position.weight"].shape[0] == 66


@pytest.mark.parametrize("case", encoder_decoders.EXPORTS, ids=str)
def test_an_encoder_decoder_config_has_the_start_end_and_padding_tokens(
    exported: BuildExport, case: Export
) -> None:
    model = exported(case)
    vocabulary = model.recipe.tokenizer.load().vocabulary
    generation = model.theirs.generation_config
    for found in (model.theirs.config, generation):
        assert found.decoder_start_token_id == vocabulary.special_id("cls")
        assert found.eos_token_id == vocabulary.special_id("sep")
        assert found.pad_token_id == vocabulary.special_id("pad")
    assert generation.forced_eos_token_id is None
    assert len(AutoTokenizer.from_pretrained(model.folder)) == vocabulary.size
