"""Tagged sentences for tests, their stores, and overrides that train on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptm.store.format import StoreInfo
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import ReadOptions, find_corpus, recognise
from ptm.text.tags import Scheme, TagSet, tags_of_entities
from ptm.text.tokenizers import TokenizerConfig
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_runs import vocab

ENTITIES = ("PER", "LOC")
TRAIN, DEV = 61, 37
"""Numbers of sentences: neither divides over two ranks."""


def sentences(
    count: int, *, seed: int, scheme: Scheme = "bio"
) -> list[tuple[list[str], list[str]]]:
    """Words and tags of random sentences: a word's tag follows from the words before it."""
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words: list[str] = []
        tags: list[str] = []
        for _ in range(int(dice.integers(1, 6))):
            words += (str(word) for word in dice.choice(["we", "看书", "在", "b3"], 2))
            tags += ["O", "O"]
            kind = int(dice.integers(3))
            if kind < 2:
                length = int(dice.integers(1, 4))
                words += (("ann", "天安门")[kind], *("bobby", "安")[kind : kind + 1] * (length - 1))
                tags += _entity(ENTITIES[kind], length, scheme)
        found.append((words, tags))
    return found


def _entity(kind: str, length: int, scheme: Scheme) -> list[str]:
    letters = ["B", *"I" * (length - 1)]
    if scheme == "bioes":
        letters = ["S"] if length == 1 else [*letters[:-1], "E"]
    return [f"{letter}-{kind}" for letter in letters]


def as_lines(some: list[tuple[list[str], list[str]]]) -> str:
    """One sentence per line."""
    return "".join(f"{' '.join(words)}\t{' '.join(tags)}\n" for words, tags in some)


def make_store(
    store: Path,
    *texts: str,
    tokenizer: TokenizerConfig,
    tags: TagSet | None = None,
    workers: int = 1,
    **options: Any,
) -> StoreInfo:
    """Write each of `texts` to a file and preprocess them; `options` as of ReadOptions."""
    paths = [store.with_name(f"{store.name}-{number}.txt") for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    work = Preprocessing(
        corpus=recognise(
            find_corpus([str(path) for path in paths]), "tagged", ReadOptions(**options)
        ),
        layout="tagged",
        tokenizer=tokenizer,
        segmenter=None,
        labels=tags or TagSet(tags_of_entities(ENTITIES, "bio"), scheme="bio"),
    )
    return preprocess(work, store, workers=workers, fresh=False, report=lambda _: None)


def write_stores(folder: Path, *, scheme: Scheme = "bio") -> None:
    """Write the stores `train` and `dev` of random sentences."""
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab()))
    tags = TagSet(tags_of_entities(ENTITIES, scheme), scheme=scheme)
    for name, count, seed in (("train", TRAIN, 1), ("dev", DEV, 2)):
        text = as_lines(sentences(count, seed=seed, scheme=scheme))
        make_store(folder / name, text, tokenizer=tokenizer, tags=tags)


def tagging(folder: Path, options: str = "") -> tuple[str, ...]:
    """Overrides that train on the stores of `write_stores`."""
    return (
        *(f"data.corpus={folder}/train-0.txt", f"data.store={folder}/train"),
        *("data.layout=tagged", "data.held_out=0", "data.sequence_length=32"),
        f"data.evaluation={{dev: {{corpus: {folder}/dev-0.txt, store: {folder}/dev}}}}",
        f"objective={{type: tagging, entities: [{', '.join(ENTITIES)}]{options}}}",
    )
