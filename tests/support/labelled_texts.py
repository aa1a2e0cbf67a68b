"""Labelled texts made of the bundled corpus, their stores, and overrides that train on them."""

from __future__ import annotations

from pathlib import Path

from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from ptm.text.labels import LabelSet
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_runs import QUICKSTART, vocab

LABELS = ("short", "english", "long")
TRAIN, DEV = 61, 37
"""Numbers of examples: neither divides over two ranks."""


def lines(count: int, *, first: int, texts: int = 1) -> list[str]:
    """Labelled texts, of unequal lengths: Chinese ones, short or long, and English ones."""
    chinese, english = (
        (QUICKSTART / "corpus" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        for name in ("chinese", "english")
    )
    found = []
    for number in range(first, first + count):
        kind = (0, 1, 0, 1, 2)[number % 5]
        text = (chinese[number][:8], english[number][:70], chinese[number] * 3)[kind]
        found.append("\t".join((LABELS[kind], text, chinese[number][5:15])[: texts + 1]))
    return found


def write_corpora(folder: Path, *, texts: int = 1) -> None:
    """Write train.tsv and dev.tsv."""
    for name, count, first in (("train", TRAIN, 0), ("dev", DEV, TRAIN)):
        text = "\n".join(lines(count, first=first, texts=texts)) + "\n"
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")


def write_stores(folder: Path) -> None:
    """Preprocess train.tsv and dev.tsv of `folder` to the stores `train` and `dev`."""
    for name in ("train", "dev"):
        work = Preprocessing(
            corpus=find_corpus([str(folder / f"{name}.tsv")]),
            layout="labelled",
            tokenizer=WordPiece(type="wordpiece", vocab=str(vocab())),
            segmenter=None,
            labels=LabelSet(LABELS),
        )
        preprocess(work, folder / name, workers=1, fresh=False, report=lambda _: None)


def classifying(folder: Path, options: str = "") -> tuple[str, ...]:
    """Overrides of a training on the corpora and stores of `folder`; `options`: further ones."""
    return (
        f"objective={{type: classification, labels: [{', '.join(LABELS)}]{options}}}",
        *("data.layout=labelled", "data.held_out=0", f"data.corpus={folder}/train.tsv"),
        f"data.store={folder}/train",
        f"data.evaluation={{dev: {{corpus: {folder}/dev.tsv, store: {folder}/dev}}}}",
    )
