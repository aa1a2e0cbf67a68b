"""Texts and vocabularies for models that are compared with transformers'."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Bundled

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture(scope="session")
def bundled_texts(bundled: Bundled) -> list[str]:
    """A few lines of the bundled corpus, alternately Chinese and English."""
    lines = [file.read_text(encoding="utf-8").splitlines()[:8] for file in bundled.corpus]
    return [line for pair in zip(*lines, strict=True) for line in pair]


@pytest.fixture(scope="session")
def corpus_texts(bundled: Bundled) -> list[str]:
    """Enough lines of the bundled corpus to train on."""
    return bundled.english.read_text(encoding="utf-8").splitlines()[:400]


@pytest.fixture(scope="session")
def bundled_vocab(tmp_path_factory: pytest.TempPathFactory, bundled: Bundled) -> Path:
    """A copy of the bundled vocabulary, so that its regeneration changes no model during a test."""
    return Path(shutil.copy(bundled.vocab, tmp_path_factory.mktemp("bundled")))


@pytest.fixture(scope="session")
def small_vocab(tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str]) -> Path:
    return write_letters(tmp_path_factory.mktemp("small") / "vocab.txt", bundled_texts)


def write_letters(path: Path, texts: Sequence[str]) -> Path:
    """Write a vocabulary of the characters of the texts, at the start of a word and inside one."""
    letters = [c for c, _ in Counter("".join(texts).lower()).most_common() if c.strip()]
    inside = [f"##{c}" for c in letters if c.isascii() and c.isalnum()]
    path.write_text("\n".join((*SPECIALS, *letters, *inside)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def review_texts(shared_data: Path) -> list[str]:
    with (shared_data / "book_review.txt").open(encoding="utf-8") as lines:
        return [line.strip() for line, _ in zip(lines, range(16), strict=False)]


@pytest.fixture(scope="session")
def chinese_vocab(shared_data: Path) -> Path:
    return shared_data / "vocab" / "google_zh_vocab.txt"
