"""Greedy generation gives the same tokens in ptm and in transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ptm.components.objectives.base import Prompt
from ptm.inference.decoding import StopRule, generate_tokens
from tests.integration.parity.cases import PLAIN_EXPORTS, causal
from tests.integration.parity.cases.encoder_decoders import BART, PEGASUS, T5
from tests.integration.parity.cases.inputs import OneSided, two_sided
from tests.integration.parity.cases.models import Changes, Export, ExportedModel
from tests.integration.parity.conftest import BuildExport
from tests.support.two_sided import CASES, DECODER_LAYERS

CAUSAL = [PLAIN_EXPORTS[family] for family in causal.MISTAKES]

# transformers' caches have as many layers as the encoder, so both stacks have the same number. The
# enlarged weights make the output depend on prefix and source, and the best token clearly best.
_DEEP: Changes = {"encoder": {"layers": DECODER_LAYERS}}
_UNTIED: Changes = {**_DEEP, "head": {"tied": False}}
_LARGER = {"word_embedding.weight": 20.0, "cross_attention.output.weight": 4.0}
ENCODER_DECODERS = [
    Export(T5, "generating", _DEEP, larger=_LARGER),
    Export(T5, "1.1-generating", _UNTIED, CASES["t5-1.1"].blocks, larger=_LARGER),
    Export(BART, "generating", _UNTIED, larger=_LARGER),
    Export(PEGASUS, "generating", _UNTIED, larger=_LARGER),
]
PROMPTS = [(8, 1), pytest.param(50, 3, marks=pytest.mark.slow)]
"""The number of prompts, and a number of distinct outputs that must be exceeded."""


def generated(model: ExportedModel, prompts: list[Prompt], *, longest: int) -> list[list[int]]:
    """The tokens that ptm generates, all prompts in one batch."""
    vocabulary = model.recipe.tokenizer.load().vocabulary
    limits = StopRule(vocabulary.special_id("sep"), longest, vocabulary.special_id("pad"))
    rows: list[list[int]] = [[] for _ in prompts]
    for tokens in generate_tokens(model.ours, prompts, limits):
        for row, token in zip(rows, tokens, strict=True):
            if token is not None:
                row.append(token)
    return rows


def hf_generated(model: ExportedModel, prompt: list[int], *, longest: int) -> list[int]:
    """The tokens of transformers' greedy search after the prompt and before the end token."""
    vocabulary = model.recipe.tokenizer.load().vocabulary
    end, pad = vocabulary.special_id("sep"), vocabulary.special_id("pad")
    options: dict[str, Any] = {"eos_token_id": end, "pad_token_id": pad}
    found = model.theirs.generate(
        torch.tensor([prompt]), do_sample=False, num_beams=1, max_new_tokens=longest, **options
    )[0].tolist()
    # The output of an encoder-decoder starts with the start token instead of the prompt.
    written = found[1:] if model.recipe.model.decoder is not None else found[len(prompt) :]
    return written[: written.index(end)] if end in written else written


@pytest.mark.parametrize(("count", "few"), PROMPTS)
@pytest.mark.parametrize("case", CAUSAL, ids=str)
def test_prompts_are_continued_as_in_transformers(
    exported: BuildExport, case: Export, count: int, few: int
) -> None:
    model = exported(case)
    assert isinstance(model.inputs, OneSided)
    examples = [ids.tolist() for ids in model.inputs.examples]
    prompts = [examples[n % len(examples)][: 2 + n % 9] for n in range(count)]
    ours = generated(model, [Prompt(begin=tuple(ids)) for ids in prompts], longest=12)
    assert ours == [hf_generated(model, ids, longest=12) for ids in prompts]
    assert len({tuple(row) for row in ours}) > few, "the output depends on the prompt"


@pytest.mark.parametrize(("count", "few"), PROMPTS)
@pytest.mark.parametrize("case", ENCODER_DECODERS, ids=str)
def test_targets_are_generated_as_in_transformers(
    exported: BuildExport, case: Export, count: int, few: int
) -> None:
    model = exported(case)
    vocabulary = model.recipe.tokenizer.load().vocabulary
    begin = vocabulary.special_id("cls")
    sources = [ids.tolist() for ids in two_sided(vocabulary.size, examples=count, seed=4).sources]
    prompts = [Prompt(begin=(begin,), source=tuple(ids)) for ids in sources]
    ours = generated(model, prompts, longest=16)
    assert ours == [hf_generated(model, ids, longest=16) for ids in sources]
    assert len({tuple(row) for row in ours}) > few, "the output depends on the source"
    assert len({token for row in ours for token in row}) > few
