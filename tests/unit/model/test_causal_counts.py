"""The recipes of GPT, GPT-2 and LLaMA are of the sizes that are published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from ptm.model.build import build_plan
from ptm.model.plain_model import parameter_count
from ptm.recipe import Recipe, load_recipe

GPT_WORDS, GPT2_WORDS, LLAMA_WORDS = 40_478, 50_257, 32_000
GPT2 = {"distil": 82, "small": 124, "small-bpe": 124, "medium": 355, "large": 774, "xl": 1558}
"""Millions of parameters, as the papers and their corrections say."""
LLAMA = {"125m": 124_668_672, "1b": 1_100_048_384, "7b": 6_738_415_616}


def recipe_of(project: Path, name: str) -> Recipe:
    return load_recipe(str(project / "recipes" / f"{name}.yaml"), ())


def counted(recipe: Recipe, words: int) -> int:
    return parameter_count(build_plan(recipe.model, recipe.objective, vocabulary_size=words))


def size_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


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
def test_a_gpt2_is_as_large_as_transformers_and_as_published(
    project: Path, size: str, millions: int
) -> None:
    recipe = recipe_of(project, f"gpt2/{size}")
    with torch.device("meta"):
        theirs = GPT2LMHeadModel(GPT2Config(vocab_size=GPT2_WORDS, **gpt_sizes(recipe)))
    assert counted(recipe, GPT2_WORDS) == size_of(theirs)
    assert size_of(theirs) / 1e6 == pytest.approx(millions, abs=0.6)
    assert recipe.model.embedding.positions == 1024


def test_openais_gpt_is_as_large_as_transformers_and_as_published(project: Path) -> None:
    recipe = recipe_of(project, "gpt/base-openai")
    with torch.device("meta"):
        theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=GPT_WORDS, **gpt_sizes(recipe)))
    assert counted(recipe, GPT_WORDS) == size_of(theirs) == 116_534_784
    assert recipe.model.embedding.positions == 512


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_the_seeds_gpt_has_a_norm_and_an_output_matrix_more(project: Path, size: str) -> None:
    recipe = recipe_of(project, f"gpt/{size}")
    with torch.device("meta"):
        theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=21_128, **gpt_sizes(recipe)))
    width = encoder_of(recipe).hidden_size
    assert counted(recipe, 21_128) == size_of(theirs) + 2 * width + 21_128 * width
    assert recipe.model.embedding.positions == 1024


@pytest.mark.parametrize(("size", "parameters"), LLAMA.items())
def test_a_llama_is_as_large_as_transformers_and_as_published(
    project: Path, size: str, parameters: int
) -> None:
    recipe = recipe_of(project, f"llama/{size}")
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
