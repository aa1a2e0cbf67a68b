"""The likeliest text after a prompt is, token for token, what transformers writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptm.model.decoding.text import Limits, continued
from ptm.objectives.contract import Prompt
from tests.support.bert_pairs import Pair
from tests.support.causal_pairs import ENCODERS, causal_pair

PROMPTS, NEW = 50, 12


@pytest.fixture(scope="module", params=ENCODERS)
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    bundled_vocab: Path,
) -> Pair:
    folder = tmp_path_factory.mktemp(request.param)
    return causal_pair(folder, request.param, bundled_vocab, bundled_texts)


def prompts_of(pair: Pair) -> list[tuple[int, ...]]:
    """Beginnings of the examples, of different lengths."""
    ids = [example.tolist() for example in pair.examples]
    lengths = [2 + number % 9 for number in range(PROMPTS)]
    return [tuple(ids[n % len(ids)][:length]) for n, length in enumerate(lengths)]


def test_fifty_prompts_go_on_as_in_transformers(pair: Pair) -> None:
    vocabulary, prompts = pair.tokenizer.vocabulary, prompts_of(pair)
    end, pad = vocabulary.special_id("sep"), vocabulary.special_id("pad")
    steps = continued(pair.ours, [Prompt(begin=ids) for ids in prompts], Limits(end, NEW, pad))
    rows = [[t for t in row if t is not None] for row in zip(*steps, strict=True)]
    for ids, written in zip(prompts, rows, strict=True):
        theirs = pair.theirs.generate(
            torch.tensor([ids]),
            do_sample=False,
            max_new_tokens=NEW,
            eos_token_id=end,
            pad_token_id=pad,
        )[0, len(ids) :].tolist()
        assert written == (theirs[: theirs.index(end)] if end in theirs else theirs)
    assert len({tuple(row) for row in rows}) > 5, "prompts are told apart"
