"""Lines of UER-py's scripts/: vocabularies, adapted models, conversions, averages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from ptm.translate.command_line import CommandLine
from ptm.translate.options import Given, Option, parse_options, table_of
from ptm.translate.steps import Translation, folder_of

_CONVERSION = re.compile(r"convert_(.+)_from_(\w+?)_to_(\w+)\.py")
_UER, _HUGGINGFACE = ("uer", "tencentpretrain"), ("huggingface",)
_UNSUPPORTED = (
    *("extractive_qa", "text_classification", "token_classification"),
    *("sbert", "vit", "s2t"),
)
"""Kinds of model at the end of the names of conversions that have no counterpart."""
_CONFIG = "models/bert/base_config.json"

BUILD_VOCAB = (
    Option("--corpus_path", key="the first argument of `ptm vocab train`"),
    Option(
        "--delimiter",
        key="`ptm vocab train --type`: space, or wordpiece for char",
        choices=("char", "space"),
        default="char",
    ),
    Option("--output_path", key="`ptm vocab train --out`, a folder with vocab.txt"),
    Option("--workers_num", "integer", why="the number of processes is chosen by itself"),
    Option("--min_count", "integer", key="`ptm vocab train --min-count`", default=1),
)
ADAPT_VOCAB = (
    Option("--old_model_path", key="`ptm import`, then the first argument of `ptm vocab adapt`"),
    Option("--old_vocab_path", key="`ptm import --vocab`"),
    Option("--new_vocab_path", key="`ptm vocab adapt --vocab`"),
    Option("--new_model_path", key="the second argument of `ptm vocab adapt`, a folder"),
)
CONVERT = (
    Option(
        "--input_model_path", key="the argument of `ptm import`", default="models/input_model.bin"
    ),
    Option(
        "--output_model_path",
        key="the second argument of `ptm export`, a folder",
        default="models/output_model.bin",
    ),
    Option("--layers_num", "integer", why="the number of layers is read from the configuration"),
    Option(
        "--decoder_layers_num",
        "integer",
        why="the number of layers is read from the configuration",
    ),
    Option("--type", why="the kind of the model is read from its weights and configuration"),
    Option("--target", why="the kind of the model is read from its weights and configuration"),
)
AVERAGE = (
    Option("--model_list_path", key="`ptm export --average N` of a run", many=True),
    Option("--output_model_path", key="the second argument of `ptm export`, a folder"),
)
COMPARE = (
    Option("--vocab_1", key="the first argument of `ptm vocab compare`"),
    Option("--vocab_2", key="the second argument of `ptm vocab compare`"),
)


def is_conversion(program: str) -> bool:
    """Whether a script is one of UER-py's or TencentPretrain's conversions."""
    return _CONVERSION.fullmatch(program) is not None


def translate_script(line: CommandLine, translation: Translation) -> None:
    """Add the commands of one script. Raises UserError for a line that cannot be parsed."""
    if is_conversion(line.program):
        _convert(line, translation)
        return
    options, add = _SCRIPTS[line.program]
    given = parse_options(line, table_of(options))
    for written, reason in given.without_counterpart():
        translation.note(written, reason)
    add(given, translation)


def _build_vocab(given: Given, translation: Translation) -> None:
    corpus = given.get("corpus_path") or "corpora/corpus.txt"
    output = given.get("output_path") or "models/vocab.txt"
    folder = str(PurePosixPath(output).with_suffix(""))
    kind = "space" if given.get("delimiter") == "space" else "wordpiece"
    if kind == "wordpiece":
        translation.note(
            "--delimiter char",
            "vocabularies of single characters are not built; WordPiece holds every character too",
        )
    minimum = str(given.get("min_count"))
    translation.add_command(
        ["ptm", "vocab", "train", corpus, "--out", folder, "--type", kind, "--min-count", minimum]
    )
    translation.files[output] = f"{folder}/vocab.txt"


def _adapt_vocab(given: Given, translation: Translation) -> None:
    old, new = given.get("old_model_path") or "models/old.bin", given.get("new_vocab_path")
    vocab = given.get("old_vocab_path") or "models/google_zh_vocab.txt"
    source = translation.model_folder(old)
    if source is None:
        source = folder_of(old)
        _import_uer(old, source, translation, vocab=vocab)
    out = folder_of(given.get("new_model_path") or "models/new.bin")
    new = translation.files.get(new, new) or "models/new_vocab.txt"
    translation.add_command(["ptm", "vocab", "adapt", source, out, "--vocab", new])
    translation.models[given.get("new_model_path") or "models/new.bin"] = out


def _import_uer(
    weights: str,
    folder: str,
    translation: Translation,
    *,
    vocab: str = "models/google_zh_vocab.txt",
) -> None:
    words = ["ptm", "import", weights, folder, "--from", "uer"]
    translation.add_command([*words, "--config", _CONFIG, "--vocab", vocab])
    translation.note(
        f"the configuration of {weights}",
        f"the line does not name it; give the model's own instead of {_CONFIG}",
    )


def _convert(line: CommandLine, translation: Translation) -> None:
    found = _CONVERSION.fullmatch(line.program)
    assert found is not None, "the caller has checked the name"
    kind, origin, target = found.groups()
    directions = {(one, "hf") for one in _UER} | {(one, "uer") for one in _HUGGINGFACE}
    to = "hf" if target in _HUGGINGFACE else "uer" if target in _UER else ""
    if kind.endswith(_UNSUPPORTED) or (origin, to) not in directions:
        translation.note(
            line.program, "conversions exist between transformers and UER-py, of language models"
        )
        return
    given = parse_options(line, table_of(CONVERT))
    for written, reason in given.without_counterpart():
        translation.note(written, reason)
    source, output = given.get("input_model_path"), given.get("output_model_path")
    folder = translation.model_folder(source)
    if folder is None and to == "hf":
        folder = folder_of(source)
        _import_uer(source, folder, translation)
    elif folder is None:
        directory = str(PurePosixPath(source).parent)
        folder = f"{folder_of(source)}-imported"
        translation.add_command(["ptm", "import", directory, folder, "--from", "hf"])
    out = f"{folder_of(output)}-{to}"
    translation.add_command(["ptm", "export", folder, out, "--to", to])
    translation.models[output] = folder


def _average(given: Given, translation: Translation) -> None:
    models = given.get("model_list_path") or []
    out = folder_of(given.get("output_model_path") or "models/average.bin")
    runs = {folder for one in models if (folder := translation.model_folder(one)) is not None}
    run = runs.pop() if len(runs) == 1 else "runs/NAME"
    number = str(max(1, len(models)))
    words = ["ptm", "export", run, out, "--to", "uer", "--average", number]
    translation.add_command(words)
    translation.note(
        given.written.get("model_list_path", "average_models.py"),
        "the last checkpoints of one run are averaged, not a list of files",
    )


def _compare(given: Given, translation: Translation) -> None:
    vocabularies = [given.get("vocab_1") or "a.txt", given.get("vocab_2") or "b.txt"]
    known = [translation.files.get(one, one) for one in vocabularies]
    translation.add_command(["ptm", "vocab", "compare", *known])


_SCRIPTS: Mapping[str, tuple[tuple[Option, ...], Callable[[Given, Translation], None]]] = {
    "build_vocab.py": (BUILD_VOCAB, _build_vocab),
    "dynamic_vocab_adapter.py": (ADAPT_VOCAB, _adapt_vocab),
    "average_models.py": (AVERAGE, _average),
    "diff_vocab.py": (COMPARE, _compare),
}
SCRIPTS = tuple(_SCRIPTS)
"""The scripts besides the conversions."""
