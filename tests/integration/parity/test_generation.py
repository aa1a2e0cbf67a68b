"""The likeliest text is the same in ptm and in transformers, token for token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ptm.components.objectives.base import Prompt
from ptm.inference.decoding import Limits, continued
from tests.integration.parity.cases import PLAIN_EXPORTS, causal
from tests.integration.parity.cases.encoder_decoders import BART, PEGASUS, T5
from tests.integration.parity.cases.inputs import OneSided, two_sided
from tests.integration.parity.cases.models import Changes, Export, ExportedModel
from tests.integration.parity.conftest import BuildExport
from tests.support.two_sided import CASES, DECODER_LAYERS

CAUSAL = [PLAIN_EXPORTS[family] for family in causal.MISTAKES]

# The caches of transformers have as many layers as the encoder. What was read before and the source
# decide what is written, and it is likeliest by far.
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
"""How many, and how few different answers would say nothing."""


def generated(model: ExportedModel, prompts: list[Prompt], *, longest: int) -> list[list[int]]:
    """What ptm writes, all prompts in one batch."""
    vocabulary = model.recipe.tokenizer.load().vocabulary
    limits = Limits(vocabulary.special_id("sep"), longest, vocabulary.special_id("pad"))
    rows: list[list[int]] = [[] for _ in prompts]
    for tokens in continued(model.ours, prompts, limits):
        for row, token in zip(rows, tokens, strict=True):
            if token is not None:
                row.append(token)
    return rows


def hf_generated(model: ExportedModel, prompt: list[int], *, longest: int) -> list[int]:
    """What transformers' greedy search writes after the prompt, before the end token."""
    vocabulary = model.recipe.tokenizer.load().vocabulary
    end, pad = vocabulary.special_id("sep"), vocabulary.special_id("pad")
    options: dict[str, Any] = {"eos_token_id": end, "pad_token_id": pad}
    found = model.theirs.generate(
        torch.tensor([prompt]), do_sample=False, num_beams=1, max_new_tokens=longest, **options
    )[0].tolist()
    # An encoder-decoder's begins with the start token.
    written = found[1:] if model.recipe.model.decoder is not None else found[len(prompt) :]
    return written[: written.index(end)] if end in written else written


@pytest.mark.parametrize(("count", "few"), PROMPTS)
@pytest.mark.parametrize("case", CAUSAL, ids=str)
def test_prompts_go_on_as_in_transformers(
    exported: BuildExport, case: Export, count: int, few: int
) -> None:
    model = exported(case)
    assert isinstance(model.inputs, OneSided)
    examples = [ids.tolist() for ids in model.inputs.examples]
    prompts = [examples[n % len(examples)][: 2 + n % 9] for n in range(count)]
    ours = generated(model, [Prompt(begin=tuple(ids)) for ids in prompts], longest=12)
    assert ours == [hf_generated(model, ids, longest=12) for ids in prompts]
    assert len({tuple(row) for row in ours}) > few, "prompts are told apart"


@pytest.mark.parametrize(("count", "few"), PROMPTS)
@pytest.mark.parametrize("case", ENCODER_DECODERS, ids=str)
def test_sources_are_continued_as_in_transformers(
    exported: BuildExport, case: Export, count: int, few: int
) -> None:
    model = exported(case)
    vocabulary = model.recipe.tokenizer.load().vocabulary
    begin = vocabulary.special_id("cls")
    sources = [ids.tolist() for ids in two_sided(vocabulary.size, examples=count, seed=4).sources]
    prompts = [Prompt(begin=(begin,), source=tuple(ids)) for ids in sources]
    ours = generated(model, prompts, longest=16)
    assert ours == [hf_generated(model, ids, longest=16) for ids in sources]
    assert len({tuple(row) for row in ours}) > few, "sources are told apart"
    assert len({token for row in ours for token in row}) > few
