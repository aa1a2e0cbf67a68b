"""Classifiers on two ranks at ZeRO 3 and in two stages report the numbers of one process.

Also the scores, which are computed from the predictions of all ranks, on an uneven number of
examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from ptm.text.labels import MultiLabelSet
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.labelled_texts import (
    DEV,
    LABELS,
    TRAIN,
    classifying,
    lines,
    write_corpora,
    write_stores,
)
from tests.support.launched import Launch, Training, launched
from tests.support.small_runs import vocab

WITHIN = 1e-5
LSTM = "model.encoder={type: lstm, layers: 3, hidden_size: 32}"
KINDS = {
    # The weights of a micro-batch add up to less than 1 here and there.
    "weighted": (", class_weights: {short: 0.1, english: 0.02, long: 0.5}", ()),
    "masked": (", pooling: mean, mlm: {weight: 0.5, masking: {unit: token}}", ()),
    "multi_label": (
        "",
        (
            "objective={type: multi_label_classification, labels: [short, english, long], "
            "threshold: 0.3}",
            *("data.corpus=FOLDER/several.tsv", "data.store=FOLDER/several"),
            "data.evaluation={dev: {corpus: FOLDER/dev.tsv, store: FOLDER/several-dev}}",
        ),
    ),
    "decoder": (
        ", pooling: last, decoder_start: eos",
        (
            "model.decoder={type: transformer, layers: 1, hidden_size: 32, heads: 2, "
            "feed_forward_size: 64}",
        ),
    ),
    "lstm": (", pooling: max", (LSTM, "model.embedding={parts: [word], layer_norm: false}")),
}
AT_ZERO3 = ("weighted", "lstm", "multi_label")
IN_STAGES = ("weighted", "masked", "decoder")


def trainings(folder: Path, *engine: str) -> list[Training]:
    return [
        Training(
            kind,
            (
                *(*classifying(folder, options), *EXACT),
                *(*(one.replace("FOLDER", str(folder)) for one in more), *engine),
                *("data.packing=true", "optimizer.learning_rate=3.0e-3"),
            ),
        )
        for kind, (options, more) in KINDS.items()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("labelled")
    write_corpora(made)
    write_stores(made)
    write_several(made)
    return made


def write_several(folder: Path) -> None:
    """Stores of texts with none to two labels."""
    for name, count, first in (("several", TRAIN, 0), ("several-dev", DEV, TRAIN)):
        texts = []
        for number, line in enumerate(lines(count, first=first)):
            label, text = line.split("\t")
            texts.append(f"{(label, f'{label},long', '')[number % 3]}\t{text}\n")
        (folder / f"{name}.tsv").write_text("".join(texts), encoding="utf-8")
        work = Preprocessing(
            corpus=find_corpus([str(folder / f"{name}.tsv")]),
            layout="labelled",
            tokenizer=WordPiece(type="wordpiece", vocab=str(vocab())),
            segmenter=None,
            labels=MultiLabelSet(LABELS),
        )
        preprocess(work, folder / name, workers=1, fresh=False, report=lambda _: None)


def launch(
    folder: Path, factory: pytest.TempPathFactory, *engine: str, ranks: int
) -> Iterator[Launch]:
    own = factory.mktemp("classification")
    with launched(trainings(folder, *engine), ranks=ranks, store=folder, folder=own) as found:
        yield found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(0), ranks=1)


@pytest.fixture(scope="module")
def zero3(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(3), ranks=2)


@pytest.fixture(scope="module")
def stages2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, *stages(2), ranks=2)


def same_as_alone(found: Launch, alone: Launch, kind: str) -> None:
    worst = differences(found.metrics(kind), alone.metrics(kind))
    assert "macro_f1" not in {key for key, apart in worst.items() if apart > 1e-12}
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_learns_and_its_score_is_reported(alone: Launch, kind: str) -> None:
    halfway, ended = [one for one in alone.metrics(kind) if one["split"] == "dev"]
    assert ended["classification_loss"] < halfway["classification_loss"]
    assert 0 < ended["macro_f1"] <= 1
    assert "perplexity" not in ended


@pytest.mark.parametrize("kind", [by_default(kind, AT_ZERO3) for kind in KINDS])
def test_zero_3_has_the_losses_and_scores_of_one_process(
    zero3: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(zero3, alone, kind)


@pytest.mark.parametrize("kind", [by_default(kind, IN_STAGES) for kind in KINDS])
def test_two_stages_have_the_losses_and_scores_of_one_process(
    stages2: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(stages2, alone, kind)
