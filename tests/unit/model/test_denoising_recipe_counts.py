"""The recipes of T5, BART and PEGASUS have as many parameters as transformers' models."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.unit.model.counting import counted, recipe_of, size_of

T5_WORDS, BART_WORDS, PEGASUS_WORDS = 32_128, 50_265, 96_103
# Layers of each stack, d_model, heads, d_kv, d_ff, and the parameters from the models' pages.
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


@pytest.mark.parametrize("name", T5)
def test_t5_has_the_published_number_of_parameters(name: str) -> None:
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
    # transformers ties the output layer of both; the published weights of 1.1 have one more matrix.
    untied = T5_WORDS * width if newer else 0
    assert counted(recipe_of(name), T5_WORDS) == size_of(theirs) + untied == published


@pytest.mark.parametrize(("size", "layers", "width"), [("base", 6, 768), ("large", 12, 1024)])
def test_bart_has_as_many_parameters_as_transformers(size: str, layers: int, width: int) -> None:
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
    assert counted(recipe_of(f"bart/{size}"), BART_WORDS) == size_of(theirs)


@pytest.mark.parametrize(("size", "layers", "width"), [("base", 12, 768), ("large", 16, 1024)])
def test_pegasus_has_as_many_parameters_as_transformers(size: str, layers: int, width: int) -> None:
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
    # In transformers the output bias is a buffer.
    assert counted(recipe_of(f"pegasus/{size}"), PEGASUS_WORDS) == size_of(theirs) + PEGASUS_WORDS
