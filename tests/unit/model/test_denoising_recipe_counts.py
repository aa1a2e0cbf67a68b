"""The recipes of T5, BART and PEGASUS are as large as transformers' models of their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from ptm.model.build import build_plan
from ptm.model.plain_model import parameter_count
from ptm.recipe import load_recipe

T5_WORDS, BART_WORDS, PEGASUS_WORDS = 32_128, 50_265, 96_103
# Layers of each stack, d_model, heads, d_kv, d_ff; the last column of the models' pages.
T5 = {
    "t5/small": (6, 512, 8, 64, 2048, 60_506_624),
    "t5/base": (12, 768, 12, 64, 3072, 222_903_552),
    "t5/large": (24, 1024, 16, 64, 4096, 737_668_096),
    "t5/3b": (24, 1024, 32, 128, 16384, 2_851_598_336),
    "t5/11b": (24, 1024, 128, 128, 65536, 11_307_321_344),
    "t5-v1.1/small": (8, 512, 6, 64, 1024, 76_961_152),
    "t5-v1.1/base": (12, 768, 12, 64, 2048, 247_577_856),
    "t5-v1.1/large": (24, 1024, 16, 64, 2816, 783_150_080),
    "t5-v1.1/xl": (24, 2048, 32, 64, 5120, 2_849_757_184),
    "t5-v1.1/xxl": (24, 4096, 64, 64, 10240, 11_135_332_352),
}


def ours(project: Path, name: str, words: int) -> int:
    recipe = load_recipe(str(project / "recipes" / f"{name}.yaml"), ())
    return parameter_count(build_plan(recipe.model, recipe.objective, vocabulary_size=words))


def learnt(model: PreTrainedModel) -> int:
    return sum(one.numel() for one in model.parameters() if one.requires_grad)


@pytest.mark.parametrize("name", T5)
def test_a_t5_has_the_published_size(project: Path, name: str) -> None:
    layers, width, heads, head, inner, published = T5[name]
    newer = name.startswith("t5-v1.1")
    config = T5Config(
        vocab_size=T5_WORDS,
        num_layers=layers,
        d_model=width,
        num_heads=heads,
        d_kv=head,
        d_ff=inner,
        feed_forward_proj="gated-gelu" if newer else "relu",
    )
    with torch.device("meta"):
        theirs = T5ForConditionalGeneration(config)
    # transformers ties the output of both; the published weights of 1.1 have a matrix more.
    untied = T5_WORDS * width if newer else 0
    assert ours(project, name, T5_WORDS) == learnt(theirs) + untied == published


@pytest.mark.parametrize(("size", "layers", "width"), [("base", 6, 768), ("large", 12, 1024)])
def test_a_bart_has_the_size_of_transformers(
    project: Path, size: str, layers: int, width: int
) -> None:
    config = BartConfig(
        vocab_size=BART_WORDS,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )
    with torch.device("meta"):
        theirs = BartForConditionalGeneration(config)
    assert ours(project, f"bart/{size}", BART_WORDS) == learnt(theirs)


@pytest.mark.parametrize(("size", "layers", "width"), [("base", 12, 768), ("large", 16, 1024)])
def test_a_pegasus_has_the_size_of_transformers(
    project: Path, size: str, layers: int, width: int
) -> None:
    config = PegasusConfig(
        vocab_size=PEGASUS_WORDS,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )
    with torch.device("meta"):
        theirs = PegasusForConditionalGeneration(config)
    # Theirs has the output bias as a buffer.
    assert ours(project, f"pegasus/{size}", PEGASUS_WORDS) == learnt(theirs) + PEGASUS_WORDS
