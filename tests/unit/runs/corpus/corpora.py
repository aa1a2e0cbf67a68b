"""Small corpora of several files with everything that a report counts."""

from __future__ import annotations

import random
from pathlib import Path

from ptm.store.preprocess import Preprocessing, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import Layout, find_corpus
from ptm.text.tokenizers.wordpiece import WordPiece

UNKNOWN = ("é中", "ξ", "字")
"""Strings that are not in `tiny_vocab`: the first one is two unknown tokens, é and 中."""


def drawn_documents(count: int, *, seed: int = 0, longest: int = 40) -> list[str]:
    """Texts of 1 to `longest` words, some of them unknown, and some texts twice or three times."""
    draw = random.Random(seed)
    words = [*"abcdefg", "ab", "abc", "我们", *UNKNOWN]
    texts = [
        " ".join(draw.choices(words, k=draw.randint(1, longest))) for _ in range(count * 3 // 4)
    ]
    return [*texts, *draw.choices(texts, k=count - len(texts))]


def work_of(*files: Path, vocab: Path, layout: Layout = "documents") -> Preprocessing:
    return Preprocessing(
        corpus=find_corpus([str(file) for file in files]),
        layout=layout,
        tokenizer=WordPiece(type="wordpiece", vocab=str(vocab), lowercase=False),
        segmenter=None,
    )


def make_store(folder: Path, *files: Path, vocab: Path, layout: Layout = "documents") -> TokenStore:
    """Preprocess `files`, one shard each, to `folder`/store."""
    work = work_of(*files, vocab=vocab, layout=layout)
    preprocess(work, folder / "store", workers=1, fresh=False, report=lambda _: None)
    return TokenStore.open(folder / "store")
