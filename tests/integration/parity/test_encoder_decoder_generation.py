"""The likeliest text is the same here and in transformers, token for token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptm.model.decoding.text import Limits, continued
from ptm.objectives.contract import Prompt
from tests.support.bert_pairs import recipe_of
from tests.support.two_sided import CASES, TwoSided, exported_pair, sides_of

PROMPTS, LONGEST = 50, 24
SHARPENED = {"word_embedding.weight": 20.0, "cross_attention.output.weight": 4.0}
"""What was read before and the source decide what is written, and it is likeliest by far."""


@pytest.fixture(scope="module", params=["t5", "t5-1.1", "bart", "pegasus"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_vocab: Path
) -> TwoSided:
    blocks = CASES[request.param].blocks(small_vocab)
    # Their cache has as many layers as their encoder.
    blocks["model"]["encoder"]["layers"] = blocks["model"]["decoder"]["layers"]
    if request.param != "t5":
        # What is tied and random repeats what it reads.
        blocks["objective"]["head"]["tied"] = False
    return exported_pair(tmp_path_factory.mktemp("pair"), blocks, sharpened=SHARPENED)


def test_fifty_prompts_are_continued_alike(pair: TwoSided) -> None:
    recipe = recipe_of(pair.blocks)
    vocabulary = recipe.tokenizer.load().vocabulary
    begin, end, pad = (vocabulary.special_id(role) for role in ("cls", "sep", "pad"))
    sources = sides_of(vocabulary.size, examples=PROMPTS, seed=4).sources
    prompts = [Prompt(begin=(begin,), source=tuple(source.tolist())) for source in sources]
    limits = Limits(end=end, longest=LONGEST, pad=pad)
    rows: list[list[int]] = [[] for _ in prompts]
    for tokens in continued(pair.ours, prompts, limits):
        for row, token in zip(rows, tokens, strict=True):
            if token is not None:
                row.append(token)
    written = [theirs_of(pair, source, end=end) for source in sources]
    assert rows == written
    assert len({tuple(row) for row in written}) > 5, "prompts are told apart"
    assert len({token for row in written for token in row}) > 5


def theirs_of(pair: TwoSided, source: torch.Tensor, *, end: int) -> list[int]:
    """What transformers' own search finds after the start token, up to the end token."""
    found = pair.theirs.generate(
        source[None], do_sample=False, num_beams=1, max_new_tokens=LONGEST
    )[0].tolist()[1:]
    return found[: found.index(end)] if end in found else found
