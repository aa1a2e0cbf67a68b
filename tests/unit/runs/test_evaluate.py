"""`ptm evaluate` and `init_from` with causal language models exported to transformers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from ptm.text.tokenizers import Tokenizer
from ptm.train.warm_start.load import load_warm_start
from tests.conftest import BuildStore
from tests.support.bert_pairs import plan_of, random_weights, recipe_of, write_model
from tests.support.causal_pairs import causal_blocks

LONGEST = 16


def windows(tokenizer: Tokenizer, texts: list[str]) -> list[Tensor]:
    """BOS, text and EOS of each document, in windows that overlap by one token."""
    start, end = (tokenizer.vocabulary.special_id(role) for role in ("cls", "sep"))
    found = []
    for ids in tokenizer.encode(texts):
        stream = torch.tensor([start, *ids, end])
        found += [stream[at : at + LONGEST + 1] for at in range(0, len(stream) - 1, LONGEST)]
    return found


@pytest.mark.parametrize("family", ["gpt2", "openai_gpt", "llama"])
def test_the_perplexity_of_an_export_follows_from_transformers_loss(
    tmp_path: Path,
    small_vocab: Path,
    bundled_texts: list[str],
    build_store: BuildStore,
    family: str,
) -> None:
    build_store(tmp_path, "\n".join(bundled_texts) + "\n", vocab=small_vocab)
    blocks = causal_blocks(family, small_vocab)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    data = {
        "evaluation": f"{{all: {{corpus: none, store: {tmp_path / 'store'}}}}}",
        "held_out": 0,
        "store": "none",
        "layout": "documents",
        "sequence_length": LONGEST,
    }
    exported = open_source(str(tmp_path / "export"))
    found = evaluate_source(exported, [f"data.{key}={value}" for key, value in data.items()])
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    cut = windows(recipe_of(blocks).tokenizer.load(), bundled_texts)
    with torch.no_grad():
        sums = [float(theirs(ids[None], labels=ids[None]).loss) * (len(ids) - 1) for ids in cut]
    targets = sum(len(ids) - 1 for ids in cut)
    assert found["all/tokens"] == targets
    assert found["all/lm_loss"] == pytest.approx(sum(sums) / targets, rel=1e-5)
    assert found["all/perplexity"] == pytest.approx(math.exp(sum(sums) / targets), rel=1e-4)


def start(source: Path, blocks: dict[str, Any]) -> Any:
    recipe = recipe_of(blocks)
    tokenizer = recipe.tokenizer.load()
    return load_warm_start(str(source), plan_of(recipe), tokenizer, recipe.model)


def test_a_training_starts_from_an_export_of_its_own_family_only(
    tmp_path: Path, small_vocab: Path
) -> None:
    blocks = causal_blocks("gpt2", small_vocab)
    weights = random_weights(plan_of(recipe_of(blocks)))
    source = write_model(tmp_path / "model", blocks, weights)
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    warm_start = start(tmp_path / "export", blocks)
    assert warm_start.weights.keys() == weights.keys()
    assert warm_start.new_names == warm_start.unused_names == ()
    untied = causal_blocks("gpt2", small_vocab, tied=False)
    assert start(tmp_path / "export", untied).new_names == ("lm_unembed.weight",)
    with pytest.raises(UserError, match=r"norm_position = pre"):
        start(tmp_path / "export", causal_blocks("openai_gpt", small_vocab, feed_forward_size=96))
