"""Pipelines of the `tokenizers` library: as transformers changes them on loading, and equality."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any

import tokenizers
from tokenizers import AddedToken

from ptm.errors import UserError
from ptm.interop.hf.io.tokenizer_classes import GENERIC
from ptm.text.tokenizers.bpe import byte_letters
from ptm.text.tokenizers.pipeline_file import PipelineFile
from ptm.text.vocabulary import SENTINEL

_BERT_OPTIONS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""Keys of tokenizer_config.json that change a BertNormalizer."""
_WITHOUT_EFFECT = ("trim_offsets", "vocab", "dropout")
"""Keys of a pipeline that do not change ids, or are compared by themselves."""
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


def apply_settings(
    content: Mapping[str, Any], settings: Mapping[str, Any], *, name: str | None
) -> dict[str, Any]:
    """The content of a tokenizer.json with the options of tokenizer_config.json.

    transformers' classes for one family, such as BertTokenizer, change their pipeline so. `name`
    is that of the class.
    """
    changed = dict(content)
    if name in GENERIC:
        return changed
    normalizer, pre_tokenizer = changed.get("normalizer"), changed.get("pre_tokenizer")
    if normalizer and normalizer["type"] == "BertNormalizer":
        # A null strip_accents has a meaning: accents go where capitals go.
        options = {
            key: settings[setting]
            for setting, key in _BERT_OPTIONS.items()
            if setting in settings and (setting == "strip_accents" or settings[setting] is not None)
        }
        changed["normalizer"] = {**normalizer, **options}
    prefix = settings.get("add_prefix_space")
    if prefix is not None and pre_tokenizer and pre_tokenizer["type"] == "ByteLevel":
        changed["pre_tokenizer"] = {**pre_tokenizer, "add_prefix_space": bool(prefix)}
    return changed


def has_word_options(settings: Mapping[str, Any]) -> bool:
    """Whether tokenizer_config.json has options of BERT's tokenizer that its usual rules lack."""
    lowercase = bool(settings.get("do_lower_case", True))
    usual = {
        "strip_accents": (None, lowercase),
        "tokenize_chinese_chars": (None, True),
        "max_input_chars_per_word": (None, 100),
        "do_basic_tokenize": (None, True),
        "never_split": (None, []),
    }
    return any(settings.get(name) not in values for name, values in usual.items())


def apply_word_options(
    content: Mapping[str, Any], settings: Mapping[str, Any], *, source: str
) -> dict[str, Any]:
    """The content of BERT's pipeline with the options that a vocab.txt is read with.

    Raises UserError, naming `source`, for an option that only BERT's former Python code follows.
    """
    never = settings.get("never_split")
    if never:
        raise UserError(
            f"{source}: tokenizer_config.json has never_split = {json.dumps(never)}, which "
            "transformers follows only without its fast tokenizers. Add these words with "
            "add_tokens."
        )
    if settings.get("do_basic_tokenize") is False:
        raise UserError(
            f"{source}: tokenizer_config.json has do_basic_tokenize = false, which transformers "
            "follows only without its fast tokenizers. Put a tokenizer.json into the folder."
        )
    changed = apply_settings(content, settings, name="BertTokenizer")
    longest = settings.get("max_input_chars_per_word")
    if longest is not None:
        changed["model"] = {**changed["model"], "max_input_chars_per_word": int(longest)}
    return changed


def lacking_tokens(
    added: Mapping[int, Mapping[str, Any]],
    *,
    ids: Mapping[str, int],
    found: Set[str] = frozenset(),
) -> dict[int, Mapping[str, Any]]:
    """The tokens of `added` (by id) that the pipeline does not look for in a text, but must.

    `ids`: the pipeline's tokens; `found`: those that it looks for. A special token with an id is
    not among them, because text is never tokenised to it.
    """

    def lacks(token: Mapping[str, Any]) -> bool:
        content = token["content"]
        reserved = token.get("special") or SENTINEL.fullmatch(content)
        return content not in found and not (reserved and content in ids)

    return {index: token for index, token in added.items() if lacks(token)}


def with_tokens(
    content: Mapping[str, Any], added: Mapping[int, Mapping[str, Any]], *, source: str
) -> str:
    """A tokenizer.json with the tokens of `added` (by id).

    Raises UserError, naming `source`, if a token would have another id.
    """
    pipeline = tokenizers.Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
    for index, token in sorted(added.items()):
        flags = {name: bool(token[name]) for name in _FLAGS if name in token}
        special = bool(token.get("special"))
        one = AddedToken(token["content"], special=special, **flags)
        (pipeline.add_special_tokens if special else pipeline.add_tokens)([one])
        found = pipeline.token_to_id(token["content"])
        if found != index:
            raise UserError(
                f"{source}: the added token {token['content']!r} has the id {index}, but the "
                f"vocabulary gives it {found}. The files do not belong together."
            )
    text: str = pipeline.to_str()
    return text


def same_rules(ours: tokenizers.Tokenizer, theirs: PipelineFile) -> bool:
    """Whether two pipelines split every text alike, if their tokens have the same ids."""
    words = [t for t in theirs.added if not t["special"] and not SENTINEL.fullmatch(t["content"])]
    return not words and _rules(ours) == _rules(theirs.pipeline())


def _rules(pipeline: tokenizers.Tokenizer) -> list[Any]:
    content = json.loads(pipeline.to_str())
    model = content["model"]
    if model["type"] == "BPE" and byte_letters().keys() <= model["vocab"].keys():
        model = {**model, "unk_token": None}
    return [_simplified(part) for part in (content["normalizer"], content["pre_tokenizer"], model)]


def _simplified(part: Any) -> Any:
    """A part of a pipeline without the keys that have no effect."""
    if isinstance(part, list):
        return [_simplified(step) for step in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "BertNormalizer" and part["strip_accents"] is None:
        part = {**part, "strip_accents": part["lowercase"]}
    return {
        key: _simplified(value)
        for key, value in part.items()
        if key not in _WITHOUT_EFFECT and value not in (None, "", False)
    }
