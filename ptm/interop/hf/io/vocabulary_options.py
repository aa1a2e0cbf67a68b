"""Options of a recipe that a Hugging Face config and its vocabulary show together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.text.vocabulary import Vocabulary

_DEFAULT_STARTS = {"bart": 2, "pegasus": 0, "t5": 0, "mt5": 0}
"""decoder_start_token_id of configs that do not have the key."""
_STARTS = ("bos", "pad", "eos")
"""Roles that a decoder may start with. The first that the vocabulary has is the default."""
_MULTIPLE = 8
_MOST_UNUSED = 512
"""Tables are padded to a multiple of at most this number (Qwen's and Megatron's go furthest)."""


def padded_rows(folder: Path, config: Mapping[str, Any], vocabulary: Vocabulary) -> int | None:
    """The rows of a word embedding that is padded beyond the vocabulary; None if it is not.

    Raises UserError if the further rows are not padding: if, without a tokenizer.json, the table is
    not of a size that padding leads to, so that tokens may be missing.
    """
    rows, size = config.get("vocab_size"), vocabulary.size
    if not isinstance(rows, int) or rows <= size:
        return None
    # A tokenizer.json has all tokens.
    whole = (folder / "tokenizer.json").is_file()
    if not whole and (rows % _MULTIPLE or rows - size >= _MOST_UNUSED):
        raise UserError(
            f"{folder}: the word embedding has {rows} rows (vocab_size in config.json), but the "
            f"vocabulary has {size} tokens. Rows beyond the vocabulary are supported only as "
            f"padding to a multiple of {_MULTIPLE}, at most {_MOST_UNUSED - 1} of them. Give the "
            "whole vocabulary."
        )
    return rows


def special_ids(vocabulary: Vocabulary) -> dict[str, int]:
    """The ids of the roles that a decoder may start with, for `decoder_start`."""
    return {role: vocabulary.special_id(role) for role in _STARTS if vocabulary.has(role)}


def special_ids_in(config: Mapping[str, Any]) -> dict[str, int]:
    """The same by the config alone; a role may be missing."""
    named = {role: config.get(f"{role}_token_id") for role in _STARTS}
    return {role: number for role, number in named.items() if isinstance(number, int)}


def generation_options(folder: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of transformers' `generate`: of generation_config.json, or else of config.json.

    Raises UserError if the file cannot be read.
    """
    path = folder / "generation_config.json"
    return read_config(path) if path.is_file() else config


def decoder_start(
    config: Mapping[str, Any], ids: Mapping[str, int], generation: Mapping[str, Any]
) -> dict[str, Any]:
    """The keys of the `objective` block for what the decoder reads first; empty for the default.

    `ids`: those of the special tokens by role, the default start first. transformers shifts the
    labels by one and puts `decoder_start_token_id` before them. BART's tokenizers begin the labels
    with bos; `generation` (see `generation_options`) decides whether it is forced. Raises
    UserError for another token than bos, pad and eos.
    """
    kind = str(config.get("model_type"))
    start = config.get("decoder_start_token_id", _DEFAULT_STARTS.get(kind))
    if start not in ids.values():
        raise UserError(
            f"config.json: decoder_start_token_id = {json.dumps(start)} is not supported. "
            f"Supported: the ids of the special tokens ({_shown(ids)})."
        )
    if start == next(iter(ids.values())):
        return {}
    role = next(role for role, number in reversed([*ids.items()]) if number == start)
    if kind != "bart" or role != "eos" or "bos" not in ids:
        return {"decoder_start": role}
    # The first key is that of early configs.
    forces = generation.get("force_bos_token_to_be_generated") or (
        generation.get("forced_bos_token_id") == ids["bos"]
    )
    found = {"decoder_start": role, "target_bos": True}
    return found if forces else {**found, "force_bos": False}


def _shown(ids: Mapping[str, int]) -> str:
    return ", ".join(f"{role} {number}" for role, number in ids.items())
