"""Texts and vocabularies for models that are compared with transformers'."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
BUNDLED = PROJECT / "recipes" / "quickstart"
SHARED = PROJECT.parent / "shared" / "data"
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture(scope="session")
def bundled_texts() -> list[str]:
    """A few lines of the bundled corpus, Chinese and English in turn."""
    files = [BUNDLED / "corpus" / name for name in ("chinese.txt", "english.txt")]
    lines = [file.read_text(encoding="utf-8").splitlines()[:8] for file in files]
    return [line for pair in zip(*lines, strict=True) for line in pair]


@pytest.fixture(scope="session")
def corpus_texts() -> list[str]:
    """Enough of the bundled corpus to learn from."""
    return (BUNDLED / "corpus" / "english.txt").read_text(encoding="utf-8").splitlines()[:400]


@pytest.fixture(scope="session")
def bundled_vocab() -> Path:
    return BUNDLED / "vocab.txt"


@pytest.fixture(scope="session")
def small_vocab(tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str]) -> Path:
    """The characters of the texts, alone and inside a word."""
    letters = [c for c, _ in Counter("".join(bundled_texts).lower()).most_common() if c.strip()]
    inside = [f"##{c}" for c in letters if c.isascii() and c.isalnum()]
    path = tmp_path_factory.mktemp("small") / "vocab.txt"
    path.write_text("\n".join((*SPECIALS, *letters, *inside)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def review_texts() -> list[str]:
    path = SHARED / "book_review.txt"
    if not path.exists():
        pytest.skip("needs book_review.txt, which is not part of this project")
    with path.open(encoding="utf-8") as lines:
        return [line.strip() for line, _ in zip(lines, range(16), strict=False)]


@pytest.fixture(scope="session")
def chinese_vocab() -> Path:
    path = SHARED / "vocab" / "google_zh_vocab.txt"
    if not path.exists():
        pytest.skip("needs google_zh_vocab.txt, which is not part of this project")
    return path
