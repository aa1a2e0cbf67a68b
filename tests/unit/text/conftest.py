"""Fixtures with texts to tokenise."""

from __future__ import annotations

import random

import pytest

from tests.conftest import Bundled

ODD = (
    # Latin with marks before and after composition, and marks that Unicode reorders.
    "ae\u0301\u0323\u0340é\u1e69ßİıſǅ"
    # Invisible, private and unassigned characters, controls and kinds of white space.
    "\u200b\u200d\ufeff\u00ad\ue000\u0378\x00\x07\x1f\x7f\x85\ufffd \t\r\n\u3000\u2028"
    # Punctuation, symbols, digits and what decomposes to one of them.
    "!#。，\u037e\u1fef≠½①９_-"
    # Chinese: also rare, compatible, and outside the Basic Multilingual Plane.
    "我们龘\uf900\ufa0e𠀀\U0002b820\U0002f800"
    # Scripts with combining or conjoining characters, and pairs of regional indicators.
    "각\u1100\u1161กำि्क\u0651م👍🏽🇨🇳"
)
"""Characters whose tokens depend on rules of Unicode or of a tokenizer."""


@pytest.fixture(scope="session")
def bundled_lines(bundled: Bundled) -> list[str]:
    """Lines of the bundled corpus, English and Chinese."""
    return [
        line
        for path in bundled.corpus
        for line in path.read_text(encoding="utf-8").splitlines()[:60]
    ]


@pytest.fixture(scope="session")
def odd_texts() -> list[str]:
    """Random texts of characters for which tokenizers have rules."""
    draw = random.Random(0)
    return ["".join(draw.choices(ODD, k=draw.randrange(12))) for _ in range(4_000)]
