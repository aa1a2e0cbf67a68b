"""Text generation: greedy decoding, sampling and beam search."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.components.decoders.transformer import TransformerDecoder
from ptm.components.embeddings import EmbeddingConfig
from ptm.components.encoders.transformer import Transformer
from ptm.components.objectives.base import Prompt
from ptm.components.objectives.lm import Lm
from ptm.inference.decoding import Sampling, StopRule, beam_search, generate_tokens
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.nn.model_shape import Visibility
from ptm.recipe.model_block import ModelBlock

WORDS, END, PAD = 30, 3, 0
SIZES: dict[str, Any] = {"hidden_size": 32, "layers": 2, "heads": 4, "feed_forward_size": 48}


def random_model(*, decoder: bool, words: int = WORDS, seed: int = 1) -> PlainModel:
    torch.manual_seed(seed)
    visibility: Visibility = "full" if decoder else "causal"
    block = ModelBlock(
        embedding=EmbeddingConfig(parts=("word", "position")),
        encoder=Transformer(type="transformer", visibility=visibility, **SIZES),
        decoder=TransformerDecoder(type="transformer", **SIZES) if decoder else None,
    )
    plan = build_plan(block, Lm(type="lm"), vocabulary_size=words, outputs=("logits",))
    model = PlainModel(plan).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.7)
    return model


def row(ids: list[int], side: str = "") -> dict[str, Tensor]:
    ones = torch.ones(1, len(ids), dtype=torch.int64)
    return {
        f"{side}input_ids": torch.tensor([ids]),
        f"{side}position_ids": torch.arange(len(ids))[None],
        f"{side}segment_ids": ones,
        f"{side}example_ids": ones,
    }


@torch.no_grad()
def log_probabilities(model: PlainModel, prompt: Prompt, written: list[int]) -> Tensor:
    """Log probabilities (V,) of the token after `written`, computed without a cache."""
    ids = [*prompt.begin, *written]
    if prompt.source is None:
        return model(row(ids))["logits"][0, -1].log_softmax(-1)
    tensors = row(list(prompt.source)) | row(ids, "decoder_")
    return model(tensors)["logits"][0, -1].log_softmax(-1)


PROMPTS = {
    False: [Prompt((5, 6, 7)), Prompt((8,)), Prompt((9, 10, 11, 12, 13))],
    True: [Prompt((2,), (5, 6, 7)), Prompt((2,), (8,)), Prompt((2,), (9, 10, 11, 12))],
}


def rows_of(model: PlainModel, prompts: list[Prompt], *, longest: int) -> list[list[int]]:
    steps = generate_tokens(model, prompts, StopRule(END, longest, PAD))
    return [[t for t in tokens if t is not None] for tokens in zip(*steps, strict=True)]


@pytest.mark.parametrize(("decoder", "seed"), [(False, 17), (True, 6)])
def test_each_row_of_a_batch_is_decoded_greedily(decoder: bool, seed: int) -> None:
    model = random_model(decoder=decoder, seed=seed)
    found = rows_of(model, PROMPTS[decoder], longest=12)
    for prompt, written in zip(PROMPTS[decoder], found, strict=True):
        for length in range(len(written) + 1):
            best = int(log_probabilities(model, prompt, written[:length]).argmax())
            if length < len(written):
                assert written[length] == best
            elif length < 12:
                assert best == END
    assert len({len(written) for written in found}) > 1, "rows end at different lengths"


@pytest.mark.parametrize("decoder", [False, True])
def test_wide_beam_search_finds_the_best_of_all_texts(decoder: bool) -> None:
    model, longest = random_model(decoder=decoder, words=6), 3
    for prompt in (
        Prompt((4,), (5, 1) if decoder else None),
        Prompt((5,), (2,) if decoder else None),
    ):
        scored: dict[tuple[int, ...], float] = {}
        for length in range(longest + 1):
            for text in itertools.product([t for t in range(6) if t != END], repeat=length):
                ends = length < longest
                ids = [*text, END] if ends else list(text)
                total = sum(
                    float(log_probabilities(model, prompt, ids[:at])[token])
                    for at, token in enumerate(ids)
                )
                scored[text] = total / max(1, len(ids)) ** 0.8
        best = max(scored, key=lambda text: scored[text])
        limits = StopRule(END, longest, PAD)
        found = beam_search(model, prompt, limits, beams=200, length_penalty=0.8)
        assert tuple(found) == best


def test_the_seed_determines_the_sampled_text() -> None:
    model = random_model(decoder=False)

    def drawn(seed: int) -> list[list[int | None]]:
        limits = StopRule(END, 10, PAD)
        return list(generate_tokens(model, PROMPTS[False], limits, sampling=Sampling(), seed=seed))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_temperature_top_k_and_top_p_shape_the_distribution() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log()
    near = torch.testing.assert_close
    near(Sampling().probabilities(logits), logits.exp())
    near(Sampling(top_k=2).probabilities(logits), torch.tensor([[2 / 3, 1 / 3, 0, 0]]))
    near(Sampling(top_p=0.7).probabilities(logits), torch.tensor([[2 / 3, 1 / 3, 0, 0]]))
    near(Sampling(top_p=0.4).probabilities(logits), torch.tensor([[1.0, 0, 0, 0]]))
    cold = Sampling(temperature=0.5).probabilities(logits)
    near(cold, logits.exp() ** 2 / (logits.exp() ** 2).sum())


def test_sampled_tokens_follow_the_distribution() -> None:
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(4000, -1)
    drawn = Sampling(top_p=0.9).sample(logits, torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=3) / 4000
    torch.testing.assert_close(shares, torch.tensor([2 / 3, 1 / 3, 0.0]), atol=0.03, rtol=0)
