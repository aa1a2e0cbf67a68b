"""`ptm embed` adds the special tokens that a model is trained on: transformers' hidden states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from ptm.inference.embed import Embedder
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import write_imported
from ptm.interop.sources.open import open_source
from tests.support.bert_pairs import TOLERANCE, plan_of, random_weights, recipe_of
from tests.support.causal_pairs import causal_blocks
from tests.support.sentencepieces import CORPUS

TEXTS = ["The colour of the sky", "a cow", "the"]


def check_vectors(folder: Path, model: Any, ids: list[list[int]]) -> None:
    """Compare the vectors of TEXTS with the last hidden states of `model` for `ids`."""
    found = Embedder(open_source(str(folder))).tokens(TEXTS, places=TEXTS)
    names = AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens
    for ours, tokens in zip(found, ids, strict=True):
        assert list(ours.tokens) == names(tokens)
        with torch.no_grad():
            expected = model.eval()(torch.tensor([tokens])).last_hidden_state[0].numpy()
        assert np.abs(ours.vectors - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("start", [True, False])
def test_a_gpt2_reads_a_start_token_only_if_trained_with_it(
    tmp_path: Path, bundled_vocab: Path, start: bool
) -> None:
    blocks = causal_blocks("gpt2", bundled_vocab)
    blocks["objective"]["add_bos"] = start
    weights = random_weights(plan_of(recipe_of(blocks)))
    write_imported(tmp_path / "model", blocks, weights, heading="random")
    source = open_source(str(tmp_path / "model"))
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "export")
    plain = theirs(TEXTS, add_special_tokens=False)["input_ids"]
    ids = [[theirs.bos_token_id, *tokens] if start else tokens for tokens in plain]
    assert theirs(TEXTS)["input_ids"] == ids
    check_vectors(tmp_path / "export", AutoModel.from_pretrained(tmp_path / "export"), ids)


def test_a_t5_reads_the_end_token_but_no_start_token(tmp_path: Path) -> None:
    lines = (CORPUS / "english.txt").read_text(encoding="utf-8").splitlines()
    with (tmp_path / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines[::4]),
            model_writer=file,
            vocab_size=400,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
        )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    theirs = T5Tokenizer.from_pretrained(tmp_path)
    config = T5Config(
        vocab_size=len(theirs), d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    ids = theirs(TEXTS)["input_ids"]
    assert all(tokens[-1] == theirs.eos_token_id for tokens in ids)
    check_vectors(tmp_path, T5EncoderModel.from_pretrained(tmp_path), ids)
