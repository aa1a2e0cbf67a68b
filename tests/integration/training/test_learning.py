"""A model learns more than token frequencies from text, but nothing from shuffled targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptm.components.objectives.mlm
from ptm.errors import EXIT_DONE
from ptm.recipe import load_recipe
from ptm.train.run import train
from tests.support.small_runs import PROJECT, QUICKSTART, Runs, vocab


def unigram_entropy(store: Path) -> float:
    """Loss, in nats per token, of a model that predicts the token frequencies."""
    from ptm.store.reader import TokenStore

    opened = TokenStore.open(store)
    starts, lengths = opened.document_ranges
    counts = np.bincount(opened.tokens(starts, lengths))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def shuffle_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permute the targets of masked positions, which keeps only their frequencies."""
    original = ptm.components.objectives.mlm.Mlm.collate

    def collate(self: Any, *arguments: Any, **options: Any) -> Any:
        batch = original(self, *arguments, **options)
        count = batch.counts["predicted"]
        targets = batch.tensors["predicted_ids"]
        targets[:count] = np.random.default_rng(int(targets.sum())).permutation(targets[:count])
        return batch

    monkeypatch.setattr(ptm.components.objectives.mlm.Mlm, "collate", collate)


LEARNING = (
    "model.encoder.hidden_size=64",
    "model.encoder.feed_forward_size=128",
    "model.init.std=0.05",
    "model.dropout=0.0",
    "train.steps=400",
    "train.global_batch_size=16",
    "train.micro_batch_size=16",
    "checkpoint.every=400",
    "tracking.log_every=100",
    "tracking.evaluate_every=400",
)


def test_a_model_learns_more_than_frequencies(runs: Runs, store: Path) -> None:
    assert runs.train("learns", *LEARNING) == EXIT_DONE
    assert runs.metrics("learns")[-1]["loss"] < unigram_entropy(store) - 0.5


def test_a_model_learns_nothing_from_shuffled_targets(
    runs: Runs, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shuffle_targets(monkeypatch)
    assert runs.train("shuffled", *LEARNING) == EXIT_DONE
    assert runs.metrics("shuffled")[-1]["loss"] > unigram_entropy(store) - 0.1


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shuffled", [False, True], ids=["real", "shuffled"])
def test_a_model_of_reviews_gets_past_the_unigram_plateau(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled: bool
) -> None:
    """After 1,500 steps of 32 packed rows of 128, at rate 1e-3: accuracy 0.12, loss 5.9."""
    from ptm.cli import main

    if shuffled:
        shuffle_targets(monkeypatch)
    recipe = str(PROJECT / "recipes" / "roberta" / "tiny.yaml")
    overrides = [
        f"data.corpus={shared_data / 'book_review.txt'}",
        f"tokenizer.vocab={shared_data / 'vocab' / 'google_zh_vocab.txt'}",
        f"data.store={tmp_path / 'store'}",
        f"runs_dir={tmp_path}",
        "train.steps=1500",
        "optimizer.learning_rate=1e-3",
    ]
    assert main(["preprocess", recipe, *overrides]) == EXIT_DONE
    assert train(lambda: load_recipe(recipe, overrides), fresh=False) == EXIT_DONE
    records = Runs(tmp_path / "store", tmp_path).metrics("roberta-tiny")
    last = [record for record in records if record["split"] == "train"][-1]
    if shuffled:
        assert last["loss"] > 6.3
        assert last["mlm_accuracy"] < 0.055
    else:
        assert last["loss"] < 5.9
        assert last["mlm_accuracy"] >= 0.12


def test_the_bundled_vocabulary_covers_the_bundled_corpus() -> None:
    tokenizer = load_recipe(
        str(QUICKSTART / "roberta-tiny.yaml"), [f"tokenizer.vocab={vocab()}"]
    ).tokenizer.load()
    unknown = tokenizer.vocabulary.special_id("unk")
    for path in sorted((QUICKSTART / "corpus").glob("*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not any(unknown in ids for ids in tokenizer.encode(lines)), path


def test_the_quickstart_probes_are_not_in_the_corpus() -> None:
    text = "\n".join(
        path.read_text(encoding="utf-8").lower()
        for path in sorted((QUICKSTART / "corpus").glob("*.txt"))
    )
    for row in (QUICKSTART / "probes.tsv").read_text(encoding="utf-8").splitlines():
        question, answer = row.split("\t")
        assert question.replace("[MASK]", answer).lower() not in text
