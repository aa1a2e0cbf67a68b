"""The tasks of a suite: recipes that start from one model, checked before anything is trained."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptm.checkpoint.verification import digest_of
from ptm.errors import UserError
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from ptm.loading.index import TRAIN
from ptm.loading.stores import open_store
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.data_block import EVAL, StoreInput, metric_key
from ptm.recipe.source import RecipeSource
from ptm.store.format import MANIFEST
from ptm.text.corpus import CorpusReader, find_corpus, recognise
from ptm.text.corpus.parse import parse
from ptm.text.corpus.remote import is_remote
from ptm.train.run_folder import OtherRecipeError, RunFolder, RunInUseError
from ptm.train.validate import check_recipe

_BLOCK_BYTES = 2**16
_OF_LINES = ("labelled", "tagged", "pairs")
"""Layouts whose files may have wrong columns although their format is recognised."""
_TEST = "test"
_SPEED = {"engine", "tracking", "runs_dir", "name"}
"""Blocks of a recipe that change nothing about the result of a training."""
_STORE_IS_MADE = "`ptm preprocess` creates it."


@dataclass(frozen=True)
class Plan:
    """What a suite is made of: the model, overrides of every recipe, seeds, and its folder."""

    model: str
    overrides: tuple[str, ...]
    seeds: int
    folder: Path


@dataclass(frozen=True)
class Task:
    """A recipe with the model of the suite, and the score that stands for it in the table."""

    name: str
    path: str
    overrides: tuple[str, ...]
    recipe: Recipe
    evaluation: str
    """The evaluation set of the score."""
    metric: str
    model: str
    """The model that it starts from, with its step."""

    @property
    def higher_is_better(self) -> bool:
        """Whether higher scores are better."""
        return self.recipe.objective.higher_is_better(self.metric)

    @property
    def key(self) -> str:
        """The name of the score in the results of `ptm evaluate`."""
        return metric_key(self.evaluation, self.metric)

    @property
    def has_stores(self) -> bool:
        """Whether all stores of the recipe have been made."""
        return all(_is_store(one) for one in self.recipe.data.corpora.values())

    def run_name(self, seed: int) -> str:
        """The name of the run with a seed."""
        return f"{self.name}-seed{seed}"

    def arguments(self, seed: int) -> list[str]:
        """The recipe and the overrides of the run with a seed."""
        return [self.path, *self.overrides, f"name={self.run_name(seed)}", f"seed={seed}"]

    def run_recipe(self, seed: int) -> Recipe:
        """The recipe of the run with a seed."""
        return self.recipe.model_copy(update={"name": self.run_name(seed), "seed": seed})

    def fingerprint(self, seed: int) -> str:
        """Identifies what the result of the run depends on."""
        data = self.run_recipe(seed).model_dump(mode="json")
        kept = {key: value for key, value in data.items() if key not in _SPEED}
        return digest_of(json.dumps([kept, self.model], sort_keys=True).encode())


def recipe_files(patterns: Sequence[str]) -> dict[str, str]:
    """The recipe of each task by its name, which is that of the file, in the order given.

    `patterns`: files, folders (every .yaml below) and globs. Raises UserError if one names no
    recipe, or if two recipes have one name.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = sorted(map(str, path.rglob("*.yaml")))
        else:
            files = [pattern] if path.is_file() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not files and path.is_dir():
            raise UserError(f'"{pattern}": the folder has no recipes (files that end in .yaml).')
        if not files:
            raise UserError(f'"{pattern}": there is no such recipe. Give files, folders or globs.')
        for file in files:
            name = Path(file).stem
            if found.get(name, file) != file:
                raise UserError(
                    f"{found[name]} and {file}: two recipes have the name {name}, which the runs "
                    "of a suite are named by. Rename one of them."
                )
            found[name] = file
    return found


def tasks_of(
    files: dict[str, str], plan: Plan, *, keep_going: bool
) -> tuple[list[Task], dict[str, UserError]]:
    """Check every recipe; return the tasks, and with `keep_going` the errors of the others.

    Raises UserError with the errors of all wrong recipes, or if the model cannot be read.
    """
    source = open_source(plan.model)
    tasks: list[Task] = []
    errors: dict[str, UserError] = {}
    for name, path in files.items():
        try:
            tasks.append(_task(name, path, plan, source))
        except UserError as error:
            errors[name] = UserError(*(_with_path(str(line), path) for line in error.args))
    if errors and not (keep_going and tasks):
        raise UserError(*(line for error in errors.values() for line in error.args))
    return tasks, errors


def _with_path(line: str, path: str) -> str:
    return line if path in line else f"{path}: {line}"


def _task(name: str, path: str, plan: Plan, source: ModelSource) -> Task:
    overrides = (
        *_of_model(path, plan.model, source),
        *plan.overrides,
        f"runs_dir={plan.folder / 'runs'}",
    )
    recipe = load_recipe(path, [*overrides, f"name={name}"])
    tokenizer = recipe.tokenizer.load()
    if not _stores_fit(recipe):
        overrides = (*overrides, *_own_stores(recipe, plan.folder / "stores" / name))
        recipe = load_recipe(path, [*overrides, f"name={name}"])
    missing = [
        sentence
        for sentence in check_recipe(recipe, need_inputs=False).unchecked
        if _STORE_IS_MADE not in sentence and not sentence.endswith("was not opened.")
    ]
    if missing:
        raise UserError(*missing)
    recipe.objective.check_vocabulary(tokenizer.vocabulary, recipe.data.row_size)
    for one in recipe.data.corpora.values():
        if not _is_store(one):
            _check_corpus(recipe, one)
    evaluation, metric = _score_of(recipe)
    task = Task(name, path, overrides, recipe, evaluation, metric, _described(source))
    for seed in range(1, plan.seeds + 1):
        try:
            RunFolder(task.run_recipe(seed)).check_writable(fresh=False)
        except RunInUseError:
            # That may be a training of this suite that saves and ends.
            continue
        except OtherRecipeError as error:
            raise UserError(f"{error.found}. Set another folder with --out.") from error
    return task


def _described(source: ModelSource) -> str:
    return f"{source.folder}, {source.description()}"


def _of_model(path: str, model: str, source: ModelSource) -> Iterator[str]:
    """Overrides that start a recipe from the model: its weights, tokenizer and architecture.

    The recipe keeps its dropout.
    """
    data = RecipeSource.read(path).data
    declared = data.get("model")
    block = source.recipe().model.model_dump(mode="json")
    for key in ("dropout", "attention_dropout"):
        if isinstance(declared, dict) and key in declared:
            block[key] = declared[key]
    tokenizer = source.recipe().tokenizer.model_dump(mode="json")
    yield f"init_from={json.dumps(model)}"
    yield f"tokenizer={json.dumps(tokenizer, ensure_ascii=False)}"
    yield f"model={json.dumps(_without_decoder(block, data), ensure_ascii=False)}"


def _without_decoder(block: dict[str, Any], recipe: dict[str, Any]) -> dict[str, Any]:
    """The model without its decoder, if the recipe has none: its objective has no target."""
    declared = recipe.get("model")
    if isinstance(declared, dict) and declared.get("decoder") is not None:
        return block
    return {**block, "decoder": None, "target_embedding": None}


def _is_store(one: StoreInput) -> bool:
    return (Path(one.store) / MANIFEST).is_file()


def _stores_fit(recipe: Recipe) -> bool:
    """Whether all stores of a recipe exist and were made with the tokenizer of the model."""
    data, tokenizer = recipe.data, recipe.tokenizer.load()
    splits = [
        *((TRAIN, name) for name in data.training_inputs),
        *((name, "") for name in data.evaluation or ()),
    ]
    try:
        for split, source in splits:
            if split == TRAIN:
                open_store(recipe, tokenizer, split=split, source=source)
            else:
                open_store(recipe, tokenizer, split=split)
    except UserError:
        return False
    return True


def _own_stores(recipe: Recipe, folder: Path) -> Iterator[str]:
    """Overrides by which the suite makes the stores of a recipe."""
    yield f"data.store={json.dumps(str(folder / TRAIN))}"
    for name in recipe.data.evaluation or ():
        yield f"data.evaluation.{name}.store={json.dumps(str(folder / name))}"


def _check_corpus(recipe: Recipe, one: StoreInput) -> None:
    """Raise UserError if a file is missing, or its first lines are not those of the layout."""
    if any(map(is_remote, one.corpus_patterns)):
        return
    layout, labels = recipe.data.layout, recipe.objective.label_set
    files = recognise(find_corpus(one.corpus_patterns, field=one.corpus_key), layout, one.reading)
    for index, file in enumerate(files if layout in _OF_LINES else ()):
        reader = CorpusReader(file, index=index, layout=layout, block_bytes=_BLOCK_BYTES)
        for block in reader.blocks():
            parse(block, layout, labels)
            break


def _score_of(recipe: Recipe) -> tuple[str, str]:
    """The evaluation set and the metric of the table.

    The metric is that of `checkpoint.best`. Its set is the test set, which is not evaluated during
    training, if there is one: that of the name test, or else the first.
    """
    best = recipe.checkpoint.best
    if best is None:
        names = [metric_key(one, "loss") for one in recipe.data.training_evaluation_names]
        example = names[0] if names else "dev/accuracy"
        raise UserError(
            "checkpoint.best: is not set, so that the table has no score for this recipe. Set it, "
            f"e.g. checkpoint.best={example}."
        )
    name, _, metric = best.rpartition("/")
    tests = [key for key, one in recipe.data.evaluation_inputs.items() if not one.during_training]
    if tests:
        return (_TEST if _TEST in tests else tests[0]), metric
    return name or EVAL, metric
