"""Generation by models without attention equals the whole forward pass, in batches and beams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders import AnyEncoder
from ptm.components.objectives.base import Prompt
from ptm.components.objectives.lm import Lm
from ptm.inference.decoding import StopRule, beam_search, continuation, generate_tokens
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe.model_block import ModelBlock

WORDS, END, PAD = 30, 3, 0
PROMPTS = [Prompt((5, 6, 7)), Prompt((8,)), Prompt((9, 10, 11, 12, 13))]
ENCODERS: dict[str, dict[str, Any]] = {
    "rnn": {"layers": 2},
    "lstm": {"layers": 2},
    "gru": {"layers": 2},
    "gated_cnn": {"layers": 3},
}


def model_of(kind: str) -> PlainModel:
    torch.manual_seed(1)
    given = {"type": kind, "hidden_size": 16, **ENCODERS[kind]}
    block = ModelBlock(
        embedding=EmbeddingConfig(parts=("word",), layer_norm=False, size=12),
        encoder=TypeAdapter(AnyEncoder).validate_python(given),
    )
    plan = build_plan(block, Lm(type="lm"), vocabulary_size=WORDS, outputs=("logits",))
    model = PlainModel(plan).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


@torch.no_grad()
def logits_after(model: PlainModel, ids: list[int]) -> torch.Tensor:
    """Logits (V,) of the token after `ids`, without a cache."""
    read = torch.tensor([ids])
    logits: torch.Tensor = model({"input_ids": read, "example_ids": torch.ones_like(read)})[
        "logits"
    ][0, -1]
    return logits


@pytest.mark.parametrize("kind", ENCODERS)
def test_batches_are_decoded_greedily(kind: str) -> None:
    model = model_of(kind)
    steps = list(generate_tokens(model, PROMPTS, StopRule(END, 12, PAD)))
    assert len(steps) > 4
    for prompt, tokens in zip(PROMPTS, zip(*steps, strict=True), strict=True):
        ids = list(prompt.begin)
        for token in tokens:
            best = int(logits_after(model, ids).argmax())
            assert token == (None if best == END else best)
            if token is None:
                break
            ids.append(token)


@pytest.mark.parametrize("kind", ENCODERS)
def test_reordered_rows_continue_from_their_own_state(kind: str) -> None:
    model, rows = model_of(kind), [2, 0, 0, 1]
    texts = [list(prompt.begin) for prompt in PROMPTS]
    with continuation(model, PROMPTS, pad=PAD) as text:
        text.read(torch.tensor([14, 15, 16]))
        text.keep(torch.tensor(rows))
        text.read(torch.tensor([17, 18, 19, 20]))
        found = text.logits
    read = [[*texts[row], 14 + row, 17 + at] for at, row in enumerate(rows)]
    expected = torch.stack([logits_after(model, ids) for ids in read])
    largest = expected.abs().max()
    torch.testing.assert_close(found / largest, expected / largest, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_one_beam_is_greedy(kind: str) -> None:
    model = model_of(kind)
    limits = StopRule(END, 6, PAD)
    (greedy,) = zip(*generate_tokens(model, PROMPTS[:1], limits), strict=True)
    found = beam_search(model, PROMPTS[0], limits, beams=1, length_penalty=1.0)
    assert found == list(greedy)
