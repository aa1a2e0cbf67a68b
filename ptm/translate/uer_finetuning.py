"""Lines of run_classifier.py of UER-py and TencentPretrain: fine-tunings on labelled texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ptm.errors import UserError
from ptm.files.user_files import read_text
from ptm.translate import uer_options
from ptm.translate.command_line import CommandLine
from ptm.translate.draft import Draft
from ptm.translate.options import Given, parse_options, table_of
from ptm.translate.ranks import Ranks
from ptm.translate.steps import Translation
from ptm.translate.uer_recipe import uer_recipe
from ptm.translate.uer_settings import UerSettings
from ptm.translate.uer_trainings import (
    PREPROCESS,
    PRETRAIN,
    add_training,
    name_and_start,
    with_new_paths,
)

FINETUNING_SCRIPT = "run_classifier.py"
_OF_PRETRAINING = (
    *("dataset_path", "total_steps", "save_checkpoint_steps", "accumulation_steps"),
    *("instances_buffer_size", "labels_num", "data_processor", "world_size", "gpu_ranks"),
    *("master_ip", "backend", "deep_init", "whole_word_masking", "span_masking", "span_geo_prob"),
    *("span_max_length", "pipeline_model_parallel_size", "tensor_model_parallel_size"),
    "virtual_pipeline_model_parallel_size",
)
"""Options that pretrain.py has and run_classifier.py has not."""
FINETUNE = table_of(
    uer_options.FINETUNE,
    (option for name, option in PRETRAIN.items() if name not in _OF_PRETRAINING),
)
_STEPS_PER_EPOCH, _LABELS = 500, 2
"""Placeholders for a train file that does not exist here."""


@dataclass(frozen=True)
class _TrainFile:
    """What decides the number of labels and of steps."""

    texts: int
    labels: tuple[str, ...]
    """The distinct labels, sorted."""


def translate_finetuning(line: CommandLine, translation: Translation) -> None:
    """Add the recipe and the commands of a line of run_classifier.py.

    UER-py counts the labels of the train file, and so does this function if the file exists.
    Raises UserError for a line that cannot be parsed, a required option that is missing, and a
    model that has no counterpart.
    """
    (given,) = with_new_paths([parse_options(line, FINETUNE)], translation)
    for name in ("train_path", "dev_path", "test_path"):
        required = name != "test_path" or given.has(name)
        if required and not given.get(name):
            raise UserError(f"{line.place}: --{name} is missing. Add the path of labelled texts.")
    train = _read(given.get("train_path"))
    settings = _settings(given)
    ranks = _ranks(given)
    name, start = name_and_start(settings, translation)
    draft = uer_recipe(settings, ranks, name=name, init_from=start)
    _set_data(draft, given)
    _set_labels(draft, given, train)
    _set_intervals(draft, given, train)
    _set_batch(draft, given, ranks)
    if given.has("target"):
        draft.note(given.written["target"], "it has no effect on fine-tuning")
    add_training(draft, settings, ranks, translation)


def _settings(given: Given) -> UerSettings:
    """The settings of pretrain.py that train the same classifier."""
    values = {**given.values, "data_processor": "cls", "labels_num": _LABELS}
    line = replace(given, table={**PRETRAIN, **FINETUNE}, values=values)
    return UerSettings.of(Given(CommandLine("preprocess.py", ()), PREPROCESS), line)


def _ranks(given: Given) -> Ranks:
    """One rank for each visible GPU that the batch divides among, else one rank."""
    visible = given.command.environment.get("CUDA_VISIBLE_DEVICES")
    gpus = len(visible.split(",")) if visible else 1
    return Ranks({}, gpus if given.get("batch_size") % gpus == 0 else 1, visible)


def _set_batch(draft: Draft, given: Given, ranks: Ranks) -> None:
    """Set the batch, which run_classifier.py splits among the GPUs that it sees."""
    batch = given.get("batch_size")
    origin = "--batch_size" if given.has("batch_size") else "default of --batch_size"
    draft.set("train.global_batch_size", batch, origin)
    split = f"{origin} / {ranks.world_size} GPUs" if ranks.world_size > 1 else origin
    draft.set("train.micro_batch_size", batch // ranks.world_size, split)


def _read(path: str) -> _TrainFile | None:
    """The texts and labels of a train file; None if it does not exist."""
    if not Path(path).is_file():
        return None
    rows = [line.split("\t") for line in read_text(path).splitlines() if line.strip()]
    names = [cell.strip().lower() for cell in rows[0]] if rows else []
    column = 0
    if "label" in names:
        column = names.index("label")
        del rows[0]
    labels = {row[column].strip() for row in rows if len(row) > column}
    return _TrainFile(len(rows), tuple(sorted(labels)))


def _set_data(draft: Draft, given: Given) -> None:
    """Replace what `preprocess.py` would set of `data`."""
    path = given.get("train_path")
    draft.set("data.corpus", path, "--train_path")
    draft.set("data.store", _store(path), "a folder that `ptm preprocess` writes")
    draft.set("data.held_out", 0.0, "--dev_path is evaluated")
    draft.remove("data.workers")
    stores = {_store(path)}
    for name, option in (("dev", "dev_path"), ("test", "test_path")):
        if given.has(option):
            key, corpus = f"data.evaluation.{name}", given.get(option)
            draft.set(f"{key}.corpus", corpus, f"--{option}")
            # Two options may name one file, but each corpus has a store of its own.
            store = _store(corpus) if _store(corpus) not in stores else f"{_store(corpus)}-{name}"
            stores.add(store)
            draft.set(f"{key}.store", store)


def _store(path: str) -> str:
    return re.sub(r"\.\w+$", "", path) + "-store"


def _set_labels(draft: Draft, given: Given, train: _TrainFile | None) -> None:
    path = given.get("train_path")
    draft.comments["objective.type"] = given.command.program
    if train is None:
        comment = f"a placeholder: {path} does not exist here; give the number of its labels"
        draft.set("objective.labels", _LABELS, comment)
    elif len(train.labels) < _LABELS:
        comment = f"a placeholder: {path} has fewer than 2 labels"
        draft.set("objective.labels", _LABELS, comment)
    elif set(train.labels) == {str(number) for number in range(len(train.labels))}:
        draft.set("objective.labels", len(train.labels), f"counted in {path}")
    else:
        draft.set("objective.labels", list(train.labels), f"the labels in {path}")


def _set_intervals(draft: Draft, given: Given, train: _TrainFile | None) -> None:
    """Evaluate after each epoch and keep the best checkpoint, as UER-py."""
    steps, comment = _STEPS_PER_EPOCH, "a placeholder: UER-py evaluates after each epoch"
    if train is not None and train.texts and given.get("batch_size") > 0:
        steps = -(-train.texts // given.get("batch_size"))
        comment = f"one epoch of {train.texts} texts, as UER-py"
    draft.set("checkpoint.every", steps, comment)
    draft.set("checkpoint.best", "dev/accuracy", "UER-py keeps the checkpoint that is best on dev")
    draft.set("tracking.evaluate_every", steps, comment)
