"""The model and the tokenizer that a line of a Hugging Face script names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.interop.hf.families import families, model_types
from ptm.interop.hub import looks_like_hub_id
from ptm.recipe.saved_files import RECIPE, read_recipe_data
from ptm.translate.huggingface_models import OF_TYPE, published_config
from ptm.translate.options import Given

_TOKENIZERS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    **dict.fromkeys(
        ("bert", "distilbert", "ernie"), ({"type": "wordpiece"}, {"vocab": "vocab.txt"})
    ),
    **dict.fromkeys(
        ("gpt2", "roberta"), ({"type": "bpe"}, {"vocab": "vocab.json", "merges": "merges.txt"})
    ),
    "xlm-roberta": (
        {"type": "sentencepiece", "ids": "fairseq"},
        {"model": "sentencepiece.bpe.model"},
    ),
    "albert": ({"type": "sentencepiece"}, {"model": "spiece.model"}),
    "t5": ({"type": "sentencepiece", "sentinels": 100}, {"model": "spiece.model"}),
    "mt5": ({"type": "sentencepiece"}, {"model": "spiece.model"}),
    "llama": ({"type": "sentencepiece"}, {"model": "tokenizer.model"}),
}
"""Model type to the keys of its tokenizer and the names of its files."""


@dataclass(frozen=True)
class Source:
    """A model or a tokenizer that an option names."""

    blocks: Mapping[str, Any]
    """The blocks `model` and `objective`, and `tokenizer` of a folder that ptm wrote."""
    model_type: str
    name: str


def model_of(given: Given) -> tuple[Source, str]:
    """The model, and the option that names it.

    Raises UserError if no option names a model, its configuration is not found or cannot be read,
    or its family is not supported.
    """
    for option in ("config_name", "model_name_or_path"):
        if given.has(option):
            name = given.get(option)
            return _source(name, given.command.place, given.values.get("config_overrides")), option
    if given.has("model_type"):
        kind = given.get("model_type")
        if kind not in OF_TYPE:
            raise UserError(
                f"{given.command.place}: --model_type {kind} is not supported. Supported: "
                f"{', '.join(OF_TYPE)}."
            )
        config = _overridden(OF_TYPE[kind], given.values.get("config_overrides"))
        return Source(_blocks(config, kind), kind, kind), "model_type"
    raise UserError(
        f"{given.command.place}: no option names a model. Add --model_name_or_path, "
        "--config_name or --model_type."
    )


def _source(name: str, place: str, overrides: str | None) -> Source:
    folder = Path(name)
    if (folder / RECIPE).is_file():
        data = read_recipe_data(folder / RECIPE)
        return Source(data, "", name)
    path = folder / "config.json" if folder.is_dir() else folder
    if path.is_file():
        config: Mapping[str, Any] = read_config(path)
    else:
        published = published_config(name)
        if published is None:
            raise UserError(f"{place}: {_not_found(name)}")
        config = published
    config = _overridden(config, overrides)
    return Source(_blocks(config, name), str(config.get("model_type")), name)


def _not_found(name: str) -> str:
    if Path(name).is_dir():
        return f"{name}: the folder has no config.json."
    if looks_like_hub_id(name):
        return (
            f'"{name}" is neither a folder nor a well-known model of the Hub. Run `ptm import '
            f"{name} {PurePosixPath(name).name} --from hf`, and name that folder."
        )
    return f"{name}: does not exist."


def _overridden(config: Mapping[str, Any], overrides: str | None) -> Mapping[str, Any]:
    """The configuration with the values of `--config_overrides`, n_embd=1024,n_layer=24.

    Raises UserError for an unknown key or a value of another type.
    """
    found = dict(config)
    for pair in (overrides or "").split(","):
        key, equals, text = pair.strip().partition("=")
        if not pair.strip():
            continue
        if not equals or key not in config:
            known = ", ".join(
                key for key, value in config.items() if isinstance(value, int | float)
            )
            raise UserError(f'--config_overrides: "{pair}" is not KEY=VALUE of {known}.')
        kind = type(config[key])
        try:
            found[key] = text.lower() in ("true", "1", "yes") if kind is bool else kind(text)
        except ValueError:
            raise UserError(f'--config_overrides: "{pair}" is not {kind.__name__}.') from None
    return found


def _blocks(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    for family in families():
        if family.matches_config(config):
            try:
                return family.blocks(config, {})
            except KeyError as error:
                raise UserError(f"{name}: config.json: the key {error} is missing.") from error
            except (TypeError, ValueError) as error:
                raise UserError(
                    f"{name}: config.json: a value has the wrong type ({error})."
                ) from error
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
    known = ", ".join(model_types())
    raise UserError(
        f'{name}: model_type "{config.get("model_type")}" is not supported. Supported: {known}.'
    )


def tokenizer_of(given: Given, source: Source) -> tuple[dict[str, Any], str | None]:
    """The block `tokenizer`, and the Hub model that has to be imported for its files, if any.

    Raises UserError if the tokenizer is not found or not supported.
    """
    name = given.values.get("tokenizer_name") or given.values.get("model_name_or_path")
    if name is None:
        return _block(source.model_type, PurePosixPath("."), given), None
    folder = Path(name)
    if (folder / RECIPE).is_file():
        return dict(read_recipe_data(folder / RECIPE)["tokenizer"]), None
    if folder.is_dir():
        return _block_of_folder(folder, given, source), None
    if not looks_like_hub_id(name):
        raise UserError(f"{given.command.place}: {name}: does not exist.")
    imported = import_folder(name)
    config = published_config(name) or {"model_type": source.model_type}
    block = _block(config["model_type"], PurePosixPath(imported) / "tokenizer", given)
    if "uncased" not in name and "chinese" not in name and block["type"] == "wordpiece":
        block["lowercase"] = "cased" not in name
    return block, name


def import_folder(name: str) -> str:
    """The folder to import a Hub model to."""
    return f"imports/{PurePosixPath(name).name}"


def _block(model_type: str, folder: PurePosixPath, given: Given) -> dict[str, Any]:
    if model_type not in _TOKENIZERS:
        raise UserError(
            f"{given.command.place}: no tokenizer of model_type {model_type} is known. Add "
            "--tokenizer_name with a folder."
        )
    options, files = _TOKENIZERS[model_type]
    return {**options, **{key: str(folder / file) for key, file in files.items()}}


def _block_of_folder(folder: Path, given: Given, source: Source) -> dict[str, Any]:
    """The tokenizer of a folder of transformers. Files that are only in tokenizer.json need an
    import."""
    from ptm.interop.hf.io.tokenizer_folder import HuggingFaceTokenizer

    path = folder / "config.json"
    config = read_config(path) if path.is_file() else {"model_type": source.model_type}
    block = HuggingFaceTokenizer(folder, config).block
    for key in ("vocab", "merges", "model"):
        if key in block and Path(block[key]).parent != folder:
            raise UserError(
                f"{given.command.place}: {folder}: the vocabulary is only in tokenizer.json. Run "
                f"`ptm import {folder} {folder.name}-imported --from hf`, and name that folder."
            )
    if not block["special_tokens"]:
        del block["special_tokens"]
    return block
