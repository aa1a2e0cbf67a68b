"""Pairs, triplets and scored pairs made of the bundled corpus, and overrides that train on them."""

from __future__ import annotations

from pathlib import Path

from ptm.components.objectives.embedding import Embedding
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from ptm.text.corpus.files import Layout
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_runs import QUICKSTART, vocab

TRAIN, DEV = 61, 37
"""Numbers of examples: neither divides over two ranks."""
LOSSES: dict[str, tuple[Layout, str]] = {
    "pairs": ("pairs", "loss: multiple_negatives_ranking"),
    "triplets": ("triplets", "loss: multiple_negatives_ranking"),
    "scored": ("labelled", "loss: cosine_similarity, score_range: [0, 5]"),
    "classes": ("labelled", "loss: softmax, labels: [other, same]"),
    "texts": ("documents", "loss: simcse"),
}
"""Kind of corpus -> its layout, and the options of an objective that reads it."""


def lines(kind: str, count: int, *, first: int) -> list[str]:
    """Texts of unequal lengths: beginnings of sentences, and other parts of the same sentences.

    Every tenth pair has the texts of the one before, so that a batch may have a false negative.
    """
    sentences = (QUICKSTART / "corpus" / "chinese.txt").read_text(encoding="utf-8").splitlines()
    found = []
    for number in range(first, first + count):
        at = number - (number % 10 == 9)
        anchor, positive, other = (
            sentences[at][: 6 + at % 9],
            sentences[at][4 : 12 + at % 5],
            sentences[at + 1][2 : 9 + at % 4],
        )
        same = number % 3 > 0
        found.append(
            "\t".join(
                {
                    "pairs": (anchor, positive),
                    "triplets": (anchor, positive, other, sentences[at + 2][:8]),
                    "scored": (
                        f"{1.5 + 3 * same - at % 2 / 2}",
                        anchor,
                        positive if same else other,
                    ),
                    "classes": (("other", "same")[same], anchor, positive if same else other),
                    "texts": (anchor,),
                }[kind]
            )
        )
    return found


def write_corpora(folder: Path, kind: str) -> None:
    """Write train.tsv and dev.tsv to the folder `kind` in `folder`, and their stores."""
    layout, _ = LOSSES[kind]
    (folder / kind).mkdir()
    for name, count, first in (("train", TRAIN, 0), ("dev", DEV, TRAIN)):
        path = folder / kind / f"{name}.tsv"
        path.write_text("\n".join(lines(kind, count, first=first)) + "\n", encoding="utf-8")
        work = Preprocessing(
            corpus=find_corpus([str(path)]),
            layout=layout,
            tokenizer=WordPiece(type="wordpiece", vocab=str(vocab())),
            segmenter=None,
            labels=objective_of(kind).label_set,
        )
        preprocess(work, folder / kind / name, workers=1, fresh=False, report=lambda _: None)


def objective_of(kind: str) -> Embedding:
    """The objective that reads a kind of corpus."""
    import yaml

    options = yaml.safe_load(f"{{type: embedding, {LOSSES[kind][1]}}}")
    return Embedding.model_validate(options)


def embedding(folder: Path, kind: str, options: str = "") -> tuple[str, ...]:
    """Overrides of a training on a kind of corpus in `folder`; `options`: of the objective."""
    layout, own = LOSSES[kind]
    here = folder / kind
    return (
        f"objective={{type: embedding, {own}{options}}}",
        *(f"data.layout={layout}", "data.held_out=0", f"data.corpus={here}/train.tsv"),
        f"data.store={here}/train",
        f"data.evaluation={{dev: {{corpus: {here}/dev.tsv, store: {here}/dev}}}}",
    )
