"""The recipe of a line of run_mlm.py, run_clm.py, run_language_modeling.py, run_t5_mlm_flax.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ptm.translate import huggingface_options as options
from ptm.translate.command_line import CommandLine
from ptm.translate.draft import Draft
from ptm.translate.huggingface_source import Source, import_folder, model_of, tokenizer_of
from ptm.translate.huggingface_training import (
    copy_option,
    huggingface_ranks,
    is_masked,
    origin_of,
    set_engine,
    set_intervals,
    set_optimizer,
    set_train,
)
from ptm.translate.options import Given, Option, parse_options, table_of
from ptm.translate.ranks import Ranks
from ptm.translate.steps import Translation
from ptm.translate.uer_recipe import PLACEHOLDER_CORPUS, run_name, run_stem, runs_folder, set_name

TABLES: Mapping[str, Mapping[str, Option]] = {
    program: table_of(table, options.TRAINING_ARGUMENTS)
    for program, table in (
        ("run_mlm.py", options.RUN_MLM),
        ("run_clm.py", options.RUN_CLM),
        ("run_language_modeling.py", options.RUN_LANGUAGE_MODELING),
        ("run_t5_mlm_flax.py", options.RUN_T5_MLM_FLAX),
    )
}
_LONGEST_BY_DEFAULT = 1024
"""Longest sequence of run_mlm.py and run_clm.py without an option."""


def translate_huggingface(line: CommandLine, translation: Translation) -> None:
    """Add the recipe and the commands of one line.

    Raises UserError for a line that cannot be parsed, a model or a file that is not found, and a
    value that has no counterpart.
    """
    given = parse_options(line, TABLES[line.program])
    source, origin = model_of(given)
    draft = Draft(f"Translated from a command line of {line.program}.")
    _set_names(draft, given, translation.run_names)
    copy_option(draft, given, "seed")
    _set_start(draft, given, translation)
    _set_tokenizer(draft, given, source, translation)
    draft.set("model", dict(source.blocks["model"]), f"--{origin} {source.name}")
    _set_objective(draft, given, source)
    _set_data(draft, given)
    set_optimizer(draft, given)
    ranks = huggingface_ranks(given)
    set_train(draft, given, ranks)
    set_engine(draft, given)
    set_intervals(draft, given)
    for written, why in given.without_counterpart():
        draft.note(written, why)
    draft.validated()
    _add_commands(draft, given, ranks, translation)


def _set_names(draft: Draft, given: Given, taken: set[str]) -> None:
    output = PurePosixPath(given.get("output_dir").replace("\\", "/").rstrip("/") or ".")
    name = given.values.get("run_name") or output.name or "model"
    origin = "--run_name" if given.has("run_name") else origin_of(given, "output_dir")
    set_name(draft, run_name(name, taken), run_stem(name), origin)
    draft.set("runs_dir", runs_folder(str(output)), origin_of(given, "output_dir"))


def _set_start(draft: Draft, given: Given, translation: Translation) -> None:
    """Set `init_from` to the model that the line continues."""
    name = given.values.get("model_name_or_path")
    if name is None:
        return
    if Path(name).is_dir():
        draft.set("init_from", name, "--model_name_or_path")
        return
    folder = import_folder(name)
    translation.add_command(["ptm", "import", name, folder, "--from", "hf"])
    draft.set("init_from", folder, f"--model_name_or_path {name}, imported")


def _set_tokenizer(draft: Draft, given: Given, source: Source, translation: Translation) -> None:
    block, hub_model = tokenizer_of(given, source)
    if hub_model is not None:
        words = ["ptm", "import", hub_model, import_folder(hub_model), "--from", "hf"]
        translation.add_command(words)
    named = given.has("tokenizer_name") or given.has("model_name_or_path")
    comment = "--tokenizer_name" if given.has("tokenizer_name") else "--model_name_or_path"
    draft.set(
        "tokenizer", block, comment if named else "a placeholder: no option names a tokenizer"
    )


def _set_objective(draft: Draft, given: Given, source: Source) -> None:
    head = dict(source.blocks["objective"].get("head", {}))
    if given.command.program == "run_t5_mlm_flax.py":
        draft.set("objective.type", "t5")
        draft.set("objective.concatenate", True, "the script joins all texts")
        rate, length = given.get("mlm_probability"), given.get("mean_noise_span_length")
        draft.set("objective.noise", {"spans": "t5", "rate": rate, "mean_length": length})
        draft.comments["objective.noise"] = "--mlm_probability, --mean_noise_span_length"
    elif is_masked(given):
        draft.set("objective.type", "mlm")
        _set_lines(draft, given)
        unit = "whole_word" if given.values.get("whole_word_mask") else "token"
        draft.set("objective.masking.unit", unit)
        rate = given.get("mlm_probability")
        draft.set("objective.masking.rate", rate, origin_of(given, "mlm_probability"))
        draft.set("objective.masking.dynamic", True, "the script draws masks anew in every batch")
    else:
        draft.set("objective.type", "lm")
        _set_lines(draft, given)
    if head:
        draft.set("objective.head", head)


def _set_lines(draft: Draft, given: Given) -> None:
    """Set whether texts are joined: the scripts do, unless --line_by_line is given."""
    by_line = "line_by_line" in given.table and given.get("line_by_line")
    comment = "--line_by_line" if by_line else "the script joins all texts"
    draft.set("objective.concatenate", not by_line, comment)


def _set_data(draft: Draft, given: Given) -> None:
    corpus, origin = _file(given, "train_file", "train_data_file", "train_data_files")
    draft.set(
        "data.corpus", corpus or PLACEHOLDER_CORPUS, origin or "a placeholder: give text files"
    )
    if corpus is not None and corpus.endswith((".json", ".jsonl", ".csv", ".parquet")):
        comment = "the script reads this column, or the first one if it is absent"
        draft.set("data.text_field", "text", comment)
    draft.set("data.layout", "documents")
    stem = PurePosixPath(corpus or PLACEHOLDER_CORPUS).stem.strip("*") or "corpus"
    draft.set("data.store", f"stores/{stem}")
    validation, origin = _file(given, "validation_file", "eval_data_file")
    if validation is not None:
        store = f"stores/{PurePosixPath(validation).stem.strip('*') or 'validation'}-validation"
        draft.set("data.held_out", 0.0)
        block = {"validation": {"corpus": validation, "store": store}}
        draft.set("data.evaluation", block, origin)
    elif "validation_split_percentage" in given.table:
        share = given.get("validation_split_percentage") / 100
        draft.set("data.held_out", share, origin_of(given, "validation_split_percentage"))
    else:
        draft.set("data.held_out", 0.0)
    _set_lengths(draft, given)
    padded = bool(given.values.get("pad_to_max_length"))
    draft.set("data.packing", not padded, "--pad_to_max_length" if padded else "")
    if given.values.get("whole_word_mask"):
        draft.set("data.segmenter", {"type": "jieba"}, "for Chinese; space for spaced text")
    if given.has("preprocessing_num_workers"):
        copy_option(draft, given, "preprocessing_num_workers")


def _file(given: Given, *names: str) -> tuple[str | None, str]:
    """The value of the first option that the line has, and its name."""
    for name in names:
        if given.has(name):
            return str(given.get(name)), given.table[name].name
    return None, ""


def _set_lengths(draft: Draft, given: Given) -> None:
    name = "max_seq_length" if "max_seq_length" in given.table else "block_size"
    embedding = draft.data["model"]["embedding"]
    positions = embedding.get("positions", 512) - embedding.get("position_offset", 0)
    length, origin = given.get(name), origin_of(given, name)
    if length is None or length <= 0:
        length = min(positions, _LONGEST_BY_DEFAULT)
        origin = f"default of --{name}: the model's positions, at most {_LONGEST_BY_DEFAULT}"
    if "position" in embedding["parts"] and length > positions:
        length, origin = positions, f"{origin}, limited to the model's positions"
    draft.set("data.sequence_length", length, origin)
    if given.command.program == "run_t5_mlm_flax.py":
        noise, mean = given.get("mlm_probability"), given.get("mean_noise_span_length")
        target = t5_target_length(length, rate=noise, mean_length=mean)
        draft.set("data.target_sequence_length", target, "for the noise of --max_seq_length tokens")


def t5_target_length(length: int, *, rate: float, mean_length: float) -> int:
    """Tokens per target if the noised inputs have `length` tokens (Raffel et al. 2020, appendix B).

    A text of n tokens has round(n * rate) noise tokens in spans of `mean_length`; each span is one
    sentinel in the input. The target has the noise, its sentinels, a closing one and the end token.
    """

    def sizes(tokens: int) -> tuple[int, int]:
        noise = round(tokens * rate)
        spans = max(1, round(noise / mean_length))
        return tokens - noise + spans + 1, noise + spans + 2

    tokens = length
    while sizes(tokens + 1)[0] <= length:
        tokens += 1
    return max(4, sizes(tokens)[1])


def _add_commands(draft: Draft, given: Given, ranks: Ranks, translation: Translation) -> None:
    recipe = translation.add_recipe(draft)
    if ranks.hostfile is not None:
        translation.add_hostfile(recipe, ranks.hostfile)
    translation.add_command(["ptm", "validate", recipe.path])
    translation.add_command(["ptm", "preprocess", recipe.path])
    run = f"{draft.data['runs_dir']}/{draft.data['name']}"
    visible = {} if ranks.visible is None else {"CUDA_VISIBLE_DEVICES": ranks.visible}
    if given.has("do_eval") and not given.has("do_train"):
        source = draft.data.get("init_from", run)
        keys = ("corpus", "layout", "store", "held_out", "sequence_length")
        words = [
            f"data.{key}={draft.data['data'][key]}" for key in keys if key in draft.data["data"]
        ]
        translation.add_command(["ptm", "evaluate", source, *words], visible)
        return
    translation.add_command(ranks.launch_command(recipe.path, recipe.hostfile or ""), visible)
    translation.add_command(["ptm", "export", run, f"{run}-hf", "--to", "hf"])
    translation.models[given.get("output_dir")] = run
