"""The recipes of GPT, GPT-2 and LLaMA have the published numbers of parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from ptm.recipe import Recipe
from tests.unit.model.counting import counted, recipe_of, size_of

GPT_WORDS, GPT2_WORDS, LLAMA_WORDS = 40_478, 50_257, 32_000
GPT2 = {"distil": 82, "small": 124, "small-bpe": 124, "medium": 355, "large": 774, "xl": 1558}
"""Millions of parameters, from the papers and their corrections."""
LLAMA = {"125m": 124_668_672, "1b": 1_100_048_384, "7b": 6_738_415_616}


def encoder_of(recipe: Recipe) -> Any:
    return recipe.model.encoder


def gpt_sizes(recipe: Recipe) -> dict[str, int]:
    encoder = encoder_of(recipe)
    return {
        "n_embd": encoder.hidden_size,
        "n_layer": encoder.layers,
        "n_head": encoder.heads,
        "n_positions": recipe.model.embedding.positions,
    }


@pytest.mark.parametrize(("size", "millions"), GPT2.items())
def test_gpt2_has_as_many_parameters_as_transformers_and_as_published(
    size: str, millions: int
) -> None:
    recipe = recipe_of(f"gpt2/{size}")
    with torch.device("meta"):
        theirs = GPT2LMHeadModel(GPT2Config(vocab_size=GPT2_WORDS, **gpt_sizes(recipe)))
    assert counted(recipe, GPT2_WORDS) == size_of(theirs)
    assert size_of(theirs) / 1e6 == pytest.approx(millions, abs=0.6)
    assert recipe.model.embedding.positions == 1024


def test_openai_gpt_has_as_many_parameters_as_transformers_and_as_published() -> None:
    recipe = recipe_of("gpt/base-openai")
    with torch.device("meta"):
        theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=GPT_WORDS, **gpt_sizes(recipe)))
    assert counted(recipe, GPT_WORDS) == size_of(theirs) == 116_534_784
    assert recipe.model.embedding.positions == 512


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_gpt_of_uer_has_one_more_norm_and_output_matrix(size: str) -> None:
    recipe = recipe_of(f"gpt/{size}")
    with torch.device("meta"):
        theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=21_128, **gpt_sizes(recipe)))
    width = encoder_of(recipe).hidden_size
    assert counted(recipe, 21_128) == size_of(theirs) + 2 * width + 21_128 * width
    assert recipe.model.embedding.positions == 1024


@pytest.mark.parametrize(("size", "parameters"), LLAMA.items())
def test_llama_has_as_many_parameters_as_transformers_and_as_published(
    size: str, parameters: int
) -> None:
    recipe = recipe_of(f"llama/{size}")
    encoder = encoder_of(recipe)
    config = LlamaConfig(
        vocab_size=LLAMA_WORDS,
        hidden_size=encoder.hidden_size,
        intermediate_size=encoder.feed_forward_size,
        num_hidden_layers=encoder.layers,
        num_attention_heads=encoder.heads,
        num_key_value_heads=encoder.key_value_heads,
    )
    with torch.device("meta"):
        theirs = LlamaForCausalLM(config)
    assert counted(recipe, LLAMA_WORDS) == size_of(theirs) == parameters
