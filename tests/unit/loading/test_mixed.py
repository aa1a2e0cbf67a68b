"""The rows of a mixture: their order, epochs, random draws, and pairs of one source only."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ptm.components.objectives import MicroBatch
from ptm.errors import UserError
from ptm.loading.batches import TrainStream, describe_rows
from ptm.loading.splits import open_splits, open_training_rows
from ptm.loading.training_rows import TrainingRows
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.batch import batches_of
from ptm.runs.show import show, show_rows
from tests.support.labelled_texts import LABELS, lines
from tests.support.mixtures import RECIPE, mixed, preprocess_mixture, write_mixture
from tests.support.small_runs import small_overrides

NEXT_SENTENCE = ("objective={type: bert}", "model.encoder.heads=2")
SINGLE = "data.packing=false"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mixture")
    write_mixture(made)
    return made


def recipe_of(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(RECIPE, small_overrides(folder, folder / "runs", "mixture", *overrides))


def rows_of(folder: Path, *overrides: str) -> TrainingRows:
    recipe = recipe_of(folder, *overrides)
    return open_training_rows(recipe, recipe.tokenizer.load())


def contents(batches: list[MicroBatch]) -> list[str]:
    """Every row of the batches with all that the model reads of it, sorted."""
    names = ("input_ids", "position_ids", "segment_ids", "example_ids")
    return sorted(
        str([batch.tensors[name][row].tolist() for name in names])
        for batch in batches
        for row in range(batch.rows)
    )


def sources_of(rows: TrainingRows, count: int) -> list[str]:
    """The source of each of the first rows."""
    found = []
    for position in range(count):
        (source,) = rows.describe(np.array([position]), text=False)["sources"]
        found.append(source)
    return found


@pytest.mark.parametrize("objective", [(), NEXT_SENTENCE])
def test_rows_are_the_same_in_chunks_of_any_size(folder: Path, objective: tuple[str, ...]) -> None:
    positions = np.arange(90, 150)
    whole = rows_of(folder, *mixed(folder, *objective)).micro_batches(positions, size=60)
    for size in (1, 7, 20):
        rows = rows_of(folder, *mixed(folder, *objective))
        parts = [
            part
            for first in range(0, 60, size)
            for part in rows.micro_batches(positions[first : first + size], size=4)
        ]
        assert contents(parts) == contents(whole)


def test_data_ranks_split_the_rows_of_a_step(folder: Path) -> None:
    recipe = recipe_of(folder, *mixed(folder))
    rows = open_training_rows(recipe, recipe.tokenizer.load())
    for first in (0, 24, len(rows) - 4):
        alone = TrainStream(rows, batches_of(recipe.train, recipe.engine), data_parallel_rank=0)
        plan = batches_of(recipe.train, recipe.engine, ranks=2)
        halves = [TrainStream(rows, plan, data_parallel_rank=rank).step(first) for rank in (0, 1)]
        whole = alone.step(first)
        assert whole.tokens == sum(half.tokens for half in halves)
        assert sorted(
            row for one in whole.micro_batches for row in one["input_ids"].tolist()
        ) == sorted(
            row
            for half in halves
            for one in half.micro_batches
            for row in one["input_ids"].tolist()
        )


@pytest.mark.parametrize("weights", [(0.7, 0.3), (0.05, 0.95)])
@pytest.mark.parametrize("exhaustion", ["repeat", "stop"])
def test_an_epoch_ends_by_its_rule(
    folder: Path, exhaustion: str, weights: tuple[float, float]
) -> None:
    rows = rows_of(folder, *mixed(folder, f"data.exhaustion={exhaustion}", weights=weights))
    sizes = {name: len(source) for name, source in rows.sources.items()}
    read: Counter[str] = Counter()
    epoch, ends = 0, []
    for position, source in enumerate(sources_of(rows, 2 * len(rows) + 5)):
        assert rows.epoch_of(position) == epoch
        assert rows.rows_before(position) == {name: read[name] for name in sizes}
        read[source] += 1
        whole_passes = [read[name] // size for name, size in sizes.items()]
        if (min if exhaustion == "repeat" else max)(whole_passes) > epoch:
            epoch += 1
            ends.append(position + 1)
    assert ends[0] == len(rows)


def test_repeat_is_the_default_and_changes_no_row(folder: Path) -> None:
    default = rows_of(folder, *mixed(folder))
    rules = {
        rule: rows_of(folder, *mixed(folder, f"data.exhaustion={rule}"))
        for rule in ("repeat", "stop")
    }
    assert len(default) == len(rules["repeat"]) > len(rules["stop"])
    positions = np.arange(len(rules["stop"]) - 5, len(rules["stop"]) + 5)
    one, other = (rules[rule].micro_batches(positions, size=5) for rule in ("repeat", "stop"))
    assert contents(one) == contents(other)


def test_a_pass_has_every_row_of_a_source_once_and_the_next_one_has_another_order(
    folder: Path,
) -> None:
    rows = rows_of(folder, *mixed(folder))
    found: dict[str, list[int]] = {name: [] for name in rows.sources}
    for position in range(2 * len(rows) + 4):
        for name, one in rows.describe(np.array([position]), text=False)["sources"].items():
            found[name] += one["rows"]
    for name, order in found.items():
        size = len(rows.sources[name])
        first, second = order[:size], order[size : 2 * size]
        assert sorted(first) == sorted(second) == list(range(size))
        assert first != second


def test_the_order_of_the_mapping_changes_nothing(folder: Path) -> None:
    names = ["english", "chinese"]
    listed = [
        rows_of(
            folder,
            *mixed(folder),
            "data.corpus={"
            + ", ".join(f"{name}: {{store: {folder}/stores/{name}, weight: 1}}" for name in order)
            + "}",
        )
        for order in (names, names[::-1])
    ]
    one, other = (rows.micro_batches(np.arange(20), size=20) for rows in listed)
    assert contents(one) == contents(other)
    assert listed[0].fingerprint == listed[1].fingerprint


def is_chinese(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    assert letters
    kinds = {"\u3400" <= character <= "\u9fff" for character in letters}
    assert len(kinds) == 1, f"both languages: {text}"
    return kinds.pop()


def test_both_halves_of_a_pair_are_from_one_source(folder: Path) -> None:
    recipe = recipe_of(folder, *mixed(folder, *NEXT_SENTENCE))
    rows = open_training_rows(recipe, recipe.tokenizer.load())
    special = set(recipe.tokenizer.load().vocabulary.specials.values())
    plan = batches_of(recipe.train, recipe.engine)
    kinds, labels = set(), Counter[int]()
    for first in range(0, 160, plan.global_batch_size):
        described = describe_rows(rows, plan, first, text=True)
        for name, one in described["sources"].items():
            for text in one["texts"]:
                words = " ".join(word for word in text.split() if word not in special)
                assert text.count("[SEP]") == 1
                assert is_chinese(words) == (name == "chinese")
                kinds.add(name)
        positions = np.arange(first, first + plan.global_batch_size)
        for batch in rows.micro_batches(positions, size=8):
            labels.update(batch.tensors["pair_labels"].tolist())
    assert kinds == {"english", "chinese"}
    # Random second halves occur as often as following ones.
    assert min(labels.values()) > 0.3 * labels.total()


def test_sources_with_equal_texts_have_other_orders_and_masks(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.txt").write_text((folder / "chinese.txt").read_text(encoding="utf-8"))
    sources = ", ".join(f"{name}: {{files: {folder / name}.txt, weight: 1}}" for name in "ab")
    corpus = sources.replace("a.txt", "one.txt").replace("b.txt", "two.txt")
    overrides = mixed(folder, f"data.corpus={{{corpus}}}", SINGLE, "data.held_out=0")
    assert preprocess_mixture(folder, *overrides) == 0
    rows = rows_of(folder, *overrides)
    orders: dict[str, list[int]] = {"a": [], "b": []}
    inputs: dict[str, set[str]] = {"a": set(), "b": set()}
    for position in range(len(rows)):
        here = np.array([position])
        ((name, described),) = rows.describe(here, text=False)["sources"].items()
        orders[name] += described["rows"]
        inputs[name] |= set(contents(rows.micro_batches(here, size=1)))
    assert sorted(orders["a"]) == sorted(orders["b"])
    assert orders["a"] != orders["b"]
    # The same texts, but nearly every one is masked at other tokens.
    assert len(inputs["a"] & inputs["b"]) < 0.2 * len(orders["a"])


def test_one_named_source_has_all_rows(folder: Path) -> None:
    corpus = f"data.corpus={{english: {{store: {folder}/stores/english, weight: 3}}}}"
    rows = rows_of(folder, *mixed(folder), corpus)
    assert len(rows) == len(rows.sources["english"])
    assert rows.rows_before(17) == {"english": 17}


def test_a_source_without_examples_is_named(folder: Path) -> None:
    (folder / "single.txt").write_text("一朵花，两朵花。\n", encoding="utf-8")
    corpus = (
        f"data.corpus={{english: {{store: {folder}/stores/english, weight: 1}}, "
        f"single: {{files: {folder}/single.txt, weight: 1}}}}"
    )
    overrides = (*mixed(folder), corpus)
    assert preprocess_mixture(folder, *overrides) == 0
    with pytest.raises(
        UserError, match=r"stores/single.* has no examples to train on with data.held"
    ):
        rows_of(folder, *overrides)


def test_show_lists_the_rows_of_each_source_and_the_passes_over_them(folder: Path) -> None:
    recipe = recipe_of(folder, *mixed(folder, "train.steps=100"))
    rows = open_training_rows(recipe, recipe.tokenizer.load())
    shown = "\n".join([*show(recipe), *show_rows(recipe)])
    assert f"length: 100 steps = {800 / len(rows):.2f} epochs of {len(rows):,} rows\n" in shown
    size = len(rows.sources["english"])
    assert (
        f"  english: 70.00 % of the rows; 560 rows = {560 / size:.2f} passes over {size:,} rows"
        in shown
    )
    assert "source chinese:\nthe first 2 rows" in shown


class TestLabels:
    """Classifiers on a mixture of labelled corpora."""

    def overrides(self, folder: Path, **files: list[str]) -> list[str]:
        for name, texts in files.items():
            (folder / f"{name}.tsv").write_text("\n".join(texts) + "\n", encoding="utf-8")
        sources = (f"{name}: {{files: {folder / name}.tsv, weight: 1}}" for name in files)
        found = [
            f"data.corpus={{{', '.join(sources)}}}",
            f"data.store={folder / 'labelled'}",
            *("data.layout=labelled", "data.held_out=0"),
            f"objective={{type: classification, labels: [{', '.join(LABELS)}]}}",
        ]
        assert preprocess_mixture(folder, *found) == 0
        return found

    def test_labels_may_be_spread_over_the_sources(self, tmp_path: Path) -> None:
        every = lines(60, first=0)
        some = [line for line in every if not line.startswith("long")]
        long = [line for line in every if line.startswith("long")]
        recipe = recipe_of(tmp_path, *self.overrides(tmp_path, some=some, long=long))
        train, _ = open_splits(recipe, recipe.tokenizer.load())
        labels = Counter[int]()
        for batch in train.micro_batches(np.arange(0, len(train)), size=8):
            labels.update(batch.tensors["class_labels"].tolist())
        assert labels.keys() >= {0, 1, 2}

    def test_a_label_that_no_source_has_is_an_error(self, tmp_path: Path) -> None:
        some = [line for line in lines(60, first=0) if not line.startswith("long")]
        recipe = recipe_of(tmp_path, *self.overrides(tmp_path, one=some[:30], two=some[30:]))
        with pytest.raises(UserError, match='no training example has the label "long"'):
            open_splits(recipe, recipe.tokenizer.load())

    def test_sources_of_other_columns_are_an_error(self, tmp_path: Path) -> None:
        texts = self.overrides(tmp_path, one=lines(30, first=0), two=lines(30, first=0, texts=2))
        recipe = recipe_of(tmp_path, *texts)
        with pytest.raises(
            UserError, match=r"source two.* are pairs of texts.* source one are sing"
        ):
            open_splits(recipe, recipe.tokenizer.load())
