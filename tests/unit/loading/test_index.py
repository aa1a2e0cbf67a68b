"""Row indexes of objectives whose examples change by epoch: positions, epochs and variants."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptm.components.objectives.bert import Bert
from ptm.errors import EXIT_DONE, EXIT_STOPPED, UserError
from ptm.loading.batches import TrainStream, describe_rows
from ptm.loading.rows import TRAIN, PackedDataset, open_rows
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.batch import batches_of
from ptm.recipe.data_block import EVAL
from ptm.runs.show import show, show_rows
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.text.corpus import find_corpus
from ptm.train.inputs import open_inputs
from tests.support.small_runs import QUICKSTART, Runs, small_overrides

BERT = (
    "objective={type: bert}",
    "data.sentence_splitting=true",
    "data.held_out=0.1",
    "model.encoder.heads=2",
)
STATIC = "objective={type: bert, dynamic: false, duplicates: 3}"


@pytest.fixture(scope="session")
def split_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of few documents of the bundled corpus, split into sentences: epochs are short."""
    folder = tmp_path_factory.mktemp("split")
    lines: list[str] = []
    for name in ("english", "chinese"):
        text = (QUICKSTART / "corpus" / f"{name}.txt").read_text(encoding="utf-8")
        every = [line for line in text.splitlines() if line.strip()]
        lines += [" ".join(every[at : at + 4]) for at in range(0, 100, 4)]
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [])
    preprocess(
        Preprocessing(
            corpus=find_corpus([str(corpus)]),
            layout="documents",
            tokenizer=recipe.tokenizer.model_copy(update={"vocab": str(QUICKSTART / "vocab.txt")}),
            segmenter=None,
            sentence_splitting=True,
        ),
        folder / "store",
        workers=1,
        fresh=False,
        report=lambda progress: None,
    )
    return folder / "store"


@pytest.fixture
def own_store(split_store: Path, tmp_path: Path) -> Path:
    """The store without an index folder yet."""
    store = tmp_path / "store"
    store.mkdir()
    for path in split_store.iterdir():
        if path.is_file():
            (store / path.name).symlink_to(path)
    return store


def recipe_of(store: Path, *overrides: str) -> Recipe:
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    return load_recipe(
        recipe, [*small_overrides(store, store / "runs", "pairs"), *BERT, *overrides]
    )


def rows_of(store: Path, *overrides: str, split: str = TRAIN) -> PackedDataset:
    recipe = recipe_of(store, *overrides)
    return open_rows(recipe, recipe.tokenizer.load(), split=split)


def seen(rows: PackedDataset, positions: range) -> list[dict[str, Any]]:
    """Return epoch and tensors of each position."""
    numbers = np.array(positions)
    epochs, chosen = rows.locate(numbers)
    return [
        {"epoch": int(epoch), **rows.micro_batch(chosen[[at]], epochs[[at]]).tensors}
        for at, epoch in enumerate(epochs)
    ]


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(one_row[name], other_row[name])
        for one_row, other_row in zip(one, other, strict=True)
        for name in one_row
    )


def contents(rows: PackedDataset, epoch: int) -> list[str]:
    """Return the sorted texts of an epoch's examples."""
    count = len(rows.indexes.at(int(rows.indexes.variant_of(np.array(epoch)))).rows)
    every = np.arange(count)
    return sorted(rows.words(rows.layout(every, np.full(count, epoch))))


def drawings_on_disk(store: Path) -> set[str]:
    """Return the variants whose index is on disk."""
    kept = {path.name for path in (store / "index").iterdir() if path.is_dir()}
    return {name.rsplit("-", 1)[1] for name in kept}


def test_epochs_differ_in_pairs_and_number_of_rows(own_store: Path) -> None:
    rows = rows_of(own_store)
    ends = rows.indexes.epoch_ends(int(4.5 * len(rows)))
    assert len(set(np.diff(ends, prepend=0).tolist())) > 1
    first, second = contents(rows, 0), contents(rows, 1)
    assert len(set(first) & set(second)) < 0.5 * len(first)


def test_every_row_occurs_once_per_epoch(own_store: Path) -> None:
    rows = rows_of(own_store)
    ends = rows.indexes.epoch_ends(3 * len(rows))
    epochs, chosen = rows.locate(np.arange(int(ends[2])))
    for epoch, (begin, end) in enumerate(zip([0, *ends[:2]], ends[:3], strict=True)):
        assert (epochs[begin:end] == epoch).all()
        assert np.array_equal(np.sort(chosen[begin:end]), np.arange(end - begin))
        assert rows.epoch_of(int(begin)) == rows.epoch_of(int(end) - 1) == epoch


def test_static_pairs_repeat_after_the_number_of_duplicates(own_store: Path) -> None:
    rows = rows_of(own_store, STATIC)
    found = [contents(rows, epoch) for epoch in range(4)]
    assert found[0] == found[3]
    assert found[0] != found[1] != found[2] != found[0]
    ends = rows.indexes.epoch_ends(7 * len(rows))
    sizes = np.diff(ends, prepend=0).tolist()
    assert sizes[:3] == sizes[3:6]


def test_a_micro_batch_across_an_epoch_boundary_equals_its_single_rows(own_store: Path) -> None:
    rows = rows_of(own_store)
    end = int(rows.indexes.epoch_ends(0)[0])
    positions = range(end - 3, end + 3)
    epochs, chosen = rows.locate(np.array(positions))
    assert epochs.tolist() == [0, 0, 0, 1, 1, 1]
    together, alone = rows.micro_batch(chosen, epochs), seen(rows, positions)
    for name in ("input_ids", "segment_ids", "example_ids"):
        assert np.array_equal(together.tensors[name], np.concatenate([r[name] for r in alone]))
    labels = np.concatenate([row["pair_labels"] for row in alone])
    assert np.array_equal(together.tensors["pair_labels"], labels)
    firsts = np.concatenate(
        [row["pair_positions"] + 64 * number for number, row in enumerate(alone)]
    )
    assert np.array_equal(together.tensors["pair_positions"], firsts)


def test_rows_of_the_fourth_epoch_are_the_same_without_reading_earlier_epochs(
    own_store: Path,
) -> None:
    through = rows_of(own_store)
    ends = through.indexes.epoch_ends(int(3.5 * len(through)))
    middle = int(ends[2] + ends[3]) // 2
    for position in range(0, middle, 40):
        seen(through, range(position, position + 1))
    expected = seen(through, range(middle, middle + 12))
    assert {row["epoch"] for row in expected} == {3}
    assert same(seen(rows_of(own_store), range(middle, middle + 12)), expected)


def test_a_resume_does_not_rebuild_indexes_of_past_epochs(
    own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = rows_of(own_store)
    for epoch in range(6):
        through.indexes.at(epoch)
    ends = through.indexes.epoch_ends(int(5.5 * len(through))).tolist()
    assert drawings_on_disk(own_store) == {"0", "4", "5"}

    def index(*_: Any, **__: Any) -> Any:
        raise AssertionError("an index is rebuilt")

    monkeypatch.setattr(Bert, "index", index)
    seen(rows_of(own_store), range(ends[4], ends[4] + 1))


def test_the_next_epochs_index_is_built_in_the_second_half_of_an_epoch(own_store: Path) -> None:
    rows = rows_of(own_store)
    rows.prefetch(len(rows) // 2 - 1)
    assert drawings_on_disk(own_store) == {"0"}
    rows.prefetch(len(rows) // 2 + 1)
    for thread in threading.enumerate():
        if thread.name == "ptm-index":
            thread.join()
    assert drawings_on_disk(own_store) == {"0", "1"}


def test_an_error_in_the_background_is_raised_when_the_index_is_needed(
    own_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(own_store)

    def fail(*_: Any, **__: Any) -> Any:
        raise UserError("the disk is full")

    monkeypatch.setattr(Bert, "index", fail)
    rows.indexes.prefetch(1)
    with pytest.raises(UserError, match="the disk is full"):
        rows.locate(np.array([len(rows)]))


def test_held_out_pairs_are_always_the_same(own_store: Path) -> None:
    rows = rows_of(own_store, split=EVAL)
    assert len(rows)
    again = rows_of(own_store, split=EVAL)
    every, zeros = np.arange(len(rows)), np.zeros(len(rows), np.int64)
    one, other = rows.micro_batch(every, zeros), again.micro_batch(every, zeros)
    assert all(np.array_equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    trained = set(contents(rows_of(own_store), 0))
    assert not trained & set(rows.words(rows.layout(every, zeros)))


def test_the_cache_name_of_an_unchanging_index_is_stable(own_store: Path) -> None:
    rows = rows_of(own_store, "objective={type: mlm, masking: {unit: token}}")
    names = [path.name for path in (own_store / "index").iterdir()]
    assert names == [f"{rows.store.info.fingerprint[:16]}-pieces-64-packed-0.1-train"]
    # Examples are whole documents, although the store is split into sentences.
    assert rows.lengths.size >= rows.store.info.documents * 0.85
    assert rows.lengths.size < sum(shard.sentences for shard in rows.store.info.shards) / 2


def test_a_description_has_both_halves_of_every_pair(own_store: Path) -> None:
    recipe = recipe_of(own_store)
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    found = describe_rows(rows, batches_of(recipe.train, recipe.engine), len(rows) - 4, text=True)
    assert found["epoch"] == 0
    assert len(found["texts"]) == len(found["examples"])
    assert all(text.count(" [SEP] ") == 1 for text in found["texts"])


def test_data_ranks_split_the_rows_of_a_step(own_store: Path) -> None:
    recipe = recipe_of(own_store)
    inputs = open_inputs(recipe)
    at = len(inputs.train) - 3
    whole = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0).step(at)
    two = open_inputs(recipe, ranks=2)
    halves = [
        TrainStream(two.train, two.batch, data_parallel_rank=rank).step(at) for rank in (0, 1)
    ]
    for name, count in whole.counts.items():
        assert count == sum(half.counts[name] for half in halves)
    ids = [part["input_ids"] for half in halves for part in half.micro_batches]
    together = [part["input_ids"] for part in whole.micro_batches]
    assert np.array_equal(np.concatenate(ids), np.concatenate(together))


def test_show_prints_left_out_tokens_and_labels(own_store: Path) -> None:
    recipe = recipe_of(own_store)
    lines = [*show(recipe), *show_rows(recipe)]
    assert any(line.startswith("left out: ") and "tokens cut off" in line for line in lines)
    assert any("pair label " in line for line in lines)


def test_a_store_without_sentence_splitting_is_rejected(store: Path) -> None:
    with pytest.raises(UserError, match=r"without sentence splitting.*sentence_splitting: true"):
        rows_of(store)


def test_a_run_stopped_in_a_later_epoch_resumes_with_the_same_metrics(
    split_store: Path, tmp_path: Path
) -> None:
    runs = Runs(split_store, tmp_path / "runs")
    size = len(rows_of(split_store))
    steps = 3 * size // 32
    # Three epochs of the first one's size, at four times the usual rows per step.
    options = (
        *BERT,
        "train.global_batch_size=32",
        "train.micro_batch_size=16",
        f"train.steps={steps}",
        "model.dropout=0.1",
    )
    assert runs.train("stopped", *options, stop_at=steps - 3) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert runs.train("calm", *options) == EXIT_DONE
    metrics = runs.metrics("calm")
    assert runs.metrics("stopped") == metrics
    assert metrics[-1]["epoch"] >= 2
    assert {"mlm_loss", "nsp_loss", "nsp_accuracy", "mlm_accuracy"} <= metrics[-1].keys()
    last = metrics[-1]
    assert last["loss"] == pytest.approx(last["mlm_loss"] + last["nsp_loss"])
    held_out = next(record for record in metrics if record["split"] == "eval")
    assert held_out["perplexity"] == pytest.approx(np.exp(held_out["mlm_loss"]))
