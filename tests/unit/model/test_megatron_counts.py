"""The recipes of Megatron-LM have as many parameters as transformers and the paper have."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MegatronBertConfig,
    MegatronBertForPreTraining,
)

from ptm.recipe.batch import batches_of
from tests.unit.model.counting import counted, recipe_of, size_of

# Vocabularies of BERT and GPT-2, which Megatron-LM pads to a multiple of 1,024.
BERT_WORDS, GPT2_WORDS = 30_720, 51_200


def test_bert_has_as_many_parameters_as_transformers_and_as_published() -> None:
    recipe = recipe_of("bert/megatron-3.9b")
    encoder = recipe.model.encoder.model_dump()
    config = MegatronBertConfig(
        vocab_size=BERT_WORDS,
        hidden_size=encoder["hidden_size"],
        num_hidden_layers=encoder["layers"],
        num_attention_heads=encoder["heads"],
        intermediate_size=encoder["feed_forward_size"],
    )
    with torch.device("meta"):
        theirs = MegatronBertForPreTraining(config)
    found = counted(recipe, BERT_WORDS)
    assert found == size_of(theirs) + 2560, "one more segment row"
    assert found / 1e9 == pytest.approx(3.9, abs=0.05)


def test_gpt2_has_as_many_parameters_as_transformers_and_as_published() -> None:
    recipe = recipe_of("gpt2/megatron-8.3b")
    encoder = recipe.model.encoder.model_dump()
    config = GPT2Config(
        vocab_size=GPT2_WORDS,
        n_embd=encoder["hidden_size"],
        n_layer=encoder["layers"],
        n_head=encoder["heads"],
        n_inner=encoder["feed_forward_size"],
        n_positions=recipe.model.embedding.positions,
    )
    with torch.device("meta"):
        theirs = GPT2LMHeadModel(config)
    found = counted(recipe, GPT2_WORDS)
    assert found == size_of(theirs)
    assert found / 1e9 == pytest.approx(8.3, abs=0.05)


@pytest.mark.parametrize("name", ["bert/megatron-3.9b", "gpt2/megatron-8.3b"])
@pytest.mark.parametrize("nodes", [8, 16])
def test_the_batch_divides_over_nodes_of_eight_gpus(name: str, nodes: int) -> None:
    recipe = recipe_of(name)
    plan = batches_of(recipe.train, recipe.engine, ranks=8 * nodes)
    assert plan.micro_batch_size * plan.accumulation * 8 * nodes == recipe.train.global_batch_size
    assert recipe.engine.activation_checkpointing
