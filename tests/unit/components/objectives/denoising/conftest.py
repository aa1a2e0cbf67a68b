from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ptm.text.tokenizers.wordpiece import WordPiece

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabulary
    from tests.conftest import BuildStore, RealText

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))


@pytest.fixture(scope="session")
def vocabulary(real_text: RealText) -> Vocabulary:
    """The vocabulary of the real text, followed by sentinels."""
    plain = real_text.tokenizer.vocabulary
    return replace(plain, tokens=(*plain.tokens, *SENTINELS))


@pytest.fixture(scope="session")
def sentence_store(
    real_text: RealText, build_store: BuildStore, tmp_path_factory: pytest.TempPathFactory
) -> TokenStore:
    """The real text in the layout `sentences`."""
    return build_store(
        tmp_path_factory.mktemp(f"{real_text.name}-denoised"),
        real_text.as_layout("sentences"),
        vocab=real_text.vocab,
        layout="sentences",
    )


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary file with a token per letter, and sentinels."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path = tmp_path_factory.mktemp("letters") / "letters.txt"
    path.write_text("\n".join([*specials, *"abcdefghij", *SENTINELS[:5]]) + "\n")
    return path


@pytest.fixture(scope="session")
def letter_vocabulary(letters: Path) -> Vocabulary:
    return WordPiece(type="wordpiece", vocab=str(letters)).load().vocabulary


@pytest.fixture(scope="session")
def letter_store(letters: Path, build_store: BuildStore) -> TokenStore:
    """Documents of two to five sentences of random letters, for small models."""
    chance = random.Random(0)
    sentences = (
        "\n".join(
            " ".join(chance.choices("abcdefghij", k=chance.randint(3, 14)))
            for _ in range(chance.randint(2, 5))
        )
        for _ in range(40)
    )
    return build_store(
        letters.parent / "work", "\n\n".join(sentences) + "\n", vocab=letters, layout="sentences"
    )
