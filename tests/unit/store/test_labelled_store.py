"""Stores of labelled texts: a class index per document, names and counts in the manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptm.cli import main
from ptm.data.documents import Documents
from ptm.data.labelled import labelled_texts
from ptm.errors import UserError
from ptm.store.format import StoreInfo
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.labels import LabelSet
from ptm.text.segmenters.space import Space
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.small_recipes import RECIPE

NAMES = ("negative", "positive")
BOTH = "negative\ta b\npositive\tc\nnegative\td e f\n"


def make(store: Path, *texts: str, vocab: Path, workers: int = 1, words: bool = False) -> StoreInfo:
    paths = [store.with_name(f"{store.name}-{number}.tsv") for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    work = Preprocessing(
        corpus=find_corpus([str(path) for path in paths]),
        layout="labelled",
        tokenizer=WordPiece(type="wordpiece", vocab=str(vocab)),
        segmenter=Space(type="space") if words else None,
        labels=LabelSet(NAMES),
    )
    return preprocess(work, store, workers=workers, fresh=False, report=lambda _: None)


def test_a_document_has_a_class_index_and_the_manifest_their_counts(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    info = make(tmp_path / "s", BOTH, "positive\tg\n", vocab=tiny_vocab)
    assert info.labels == {"negative": 2, "positive": 2}
    store = TokenStore.open(tmp_path / "s")
    assert store.info == info
    assert store.labels.tolist() == [0, 1, 0, 1]
    assert store.document_ranges[1].tolist() == [2, 1, 3, 1]


def test_texts_without_tokens_lose_their_labels_too(tmp_path: Path, tiny_vocab: Path) -> None:
    zero_width = "\u200b"
    text = f"positive\t{zero_width}\nnegative\ta\npositive\tb\n"
    info = make(tmp_path / "s", text, vocab=tiny_vocab)
    assert TokenStore.open(tmp_path / "s").labels.tolist() == [0, 1]
    assert (info.labels, info.report["empty_documents"]) == ({"negative": 1, "positive": 1}, 1)
    text = f"positive\ta\t{zero_width}\nnegative\ta\tb\npositive\tc\td e\n"
    make(tmp_path / "pairs", text, vocab=tiny_vocab)
    store = TokenStore.open(tmp_path / "pairs")
    assert (store.labels.tolist(), store.sentence_ranges[1].tolist()) == ([0, 1], [1, 1, 1, 2])


def test_words_of_both_texts_of_a_pair_are_marked(tmp_path: Path, tiny_vocab: Path) -> None:
    make(tmp_path / "s", "negative\tab c\tde\n", vocab=tiny_vocab, words=True)
    store = TokenStore.open(tmp_path / "s")
    # The pieces: a ##b c | d ##e.
    found = store.word_starts(*store.sentence_ranges[:2]).tolist()
    assert found == [True, False, True, True, False]


def test_a_store_has_the_same_bytes_whatever_the_number_of_workers(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    lines = "".join(f"{'a b c 看书 ' * 12}{n}\t{NAMES[n % 2]}\n" for n in range(9000))
    for workers in (1, 2):
        text = f"text\tlabel\n{lines}"
        made = make(tmp_path / f"of-{workers}", text, vocab=tiny_vocab, workers=workers)
        assert len(made.shards) > 2
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / f"of-{n}").glob("*.bin")}
        for n in (1, 2)
    )
    assert one == two
    assert TokenStore.open(tmp_path / "of-2").labels.tolist() == [n % 2 for n in range(9000)]


def test_the_fingerprint_depends_on_the_labels_of_labelled_stores_only(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    info = make(tmp_path / "s", BOTH, vocab=tiny_vocab)
    other = replace(info, labels={"bad": 2, "good": 1})
    assert other.fingerprint != info.fingerprint
    plain = replace(info, labels=None)
    # As version 1 of the format computed it.
    text = json.dumps([plain.tokenizer, [shard.blake2b for shard in plain.shards]])
    assert plain.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_files_with_singles_and_with_pairs_are_not_one_corpus(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    with pytest.raises(UserError, match=r"s-1.tsv:1: the file has pairs of texts, but .*s-0.tsv"):
        make(tmp_path / "s", BOTH, "positive\ta\tb\n", vocab=tiny_vocab)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("labels", "differing"),
    [
        (LabelSet(("positive", "negative")), "set of labels"),
        (LabelSet(("negative", "positive"), ignored=("-",)), "set of ignored labels"),
    ],
)
def test_a_store_of_other_labels_is_not_taken_for_this_one(
    tmp_path: Path, tiny_vocab: Path, labels: LabelSet, differing: str
) -> None:
    make(tmp_path / "s", BOTH, vocab=tiny_vocab)
    work = Preprocessing(
        corpus=find_corpus([str(tmp_path / "s-0.tsv")]),
        layout="labelled",
        tokenizer=WordPiece(type="wordpiece", vocab=str(tiny_vocab)),
        segmenter=None,
        labels=labels,
    )
    with pytest.raises(UserError, match=f"was made with another {differing}"):
        preprocess(work, tmp_path / "s", workers=1, fresh=False, report=lambda _: None)


def _one_each(texts: int) -> int:
    """Special tokens of an example: one per text."""
    return texts


def test_long_texts_are_cut_and_counted(tmp_path: Path, tiny_vocab: Path) -> None:
    make(tmp_path / "s", BOTH, vocab=tiny_vocab)
    singles = labelled_texts(
        Documents(TokenStore.open(tmp_path / "s")), 3, specials=lambda texts: texts
    )
    assert singles.part_lengths.tolist() == [[2], [1], [2]]
    assert singles.left_out == {"tokens cut off (examples too long for a row: 1)": 1}
    text = "negative\ta b c d\te\npositive\ta b c d\te f g\n"
    make(tmp_path / "pairs", text, vocab=tiny_vocab)
    pairs = labelled_texts(
        Documents(TokenStore.open(tmp_path / "pairs")), 6, specials=lambda texts: texts
    )
    assert pairs.part_lengths.tolist() == [[3, 1], [2, 2]]
    assert pairs.left_out == {"tokens cut off (examples too long for a row: 2)": 4}
    store = TokenStore.open(tmp_path / "pairs")
    tokens = pairs.texts(store, np.array([1])).tokens
    starts = store.sentence_ranges[0]
    first = store.tokens(starts[2:], np.array([2, 2]))
    assert tokens.tolist() == first.tolist()


# `ptm preprocess`


@pytest.fixture
def arguments(tmp_path: Path, tiny_vocab: Path) -> list[str]:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    (tmp_path / "train.tsv").write_text(BOTH, encoding="utf-8")
    return [
        *("preprocess", str(recipe), f"tokenizer.vocab={tiny_vocab}", "tokenizer.size=null"),
        *(f"data.corpus={tmp_path}/train.tsv", f"data.store={tmp_path}/store"),
        *("data.layout=labelled", "data.held_out=0", "data.sequence_length=16"),
        "objective={type: classification, labels: [negative, positive]}",
    ]


def test_the_counts_of_the_labels_are_printed(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert "texts per label: negative: 2, positive: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        (
            "negative\ta\nnegative\tb\n",
            BOTH,
            'data.corpus: every training example has the label "n',
        ),
        (BOTH, "neutral\ta\n", 'dev.tsv:1: "neutral" is not one of objective.labels'),
    ],
)
def test_labels_that_cannot_be_learned_leave_no_store(
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    train: str,
    dev: str,
    message: str,
) -> None:
    (tmp_path / "train.tsv").write_text(train, encoding="utf-8")
    (tmp_path / "dev.tsv").write_text(dev, encoding="utf-8")
    sets = f"data.evaluation={{dev: {{corpus: {tmp_path}/dev.tsv, store: {tmp_path}/dev}}}}"
    assert main([*arguments, sets]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "dev").exists()
    assert not (tmp_path / "dev.partial" / "work.json").exists()


def test_declared_labels_must_occur_in_the_training_corpus(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    third = "objective.labels=[negative, neutral, positive]"
    assert main([*arguments, third]) == 2
    assert 'no training example has the label "neutral"' in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
