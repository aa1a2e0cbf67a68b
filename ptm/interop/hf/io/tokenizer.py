"""Write a tokenizer into a Hugging Face folder so that AutoTokenizer gives the same ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, processors

from ptm.components.objectives.gsg import GAP_TOKENS
from ptm.errors import UserError
from ptm.interop.hf.io.tokenizer_probe import first_difference, probes
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import COUNTERPARTS, Vocabulary

OPTIONS = "ptm_tokenizer"
"""Key of tokenizer_config.json that holds the recipe's `tokenizer` block without its files."""
_DOUBLE_SEPARATORS = ("roberta", "xlm-roberta", "bart")
_PIPELINE_CLASS = "PreTrainedTokenizerFast"
_WORD_OPTIONS = {"tokenize_chinese_chars": True, "strip_accents": None}
_FILES = {"llama": {"spiece.model": "tokenizer.model"}}
"""File names that differ for a model_type: ptm's name to transformers'."""


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens that AutoTokenizer adds around a text by default."""

    start: str | None = "cls"
    """Role of the token before the text; None: no token."""
    end: str | None = "sep"
    """Role of the token after the text; None for causal models, which continue a prompt."""
    separators: int | None = None
    """Number of separators between the texts of a pair; None: as in the family's own tokenizers,
    two for RoBERTa and BART, one for the others that have an end token."""


def write_tokenizer(
    folder: Path,
    tokenizer: Tokenizer,
    *,
    positions: int,
    config: Mapping[str, Any],
    special_tokens: SpecialTokens = SpecialTokens(),
) -> None:
    """Write the vocabulary, tokenizer.json and the settings that AutoTokenizer reads.

    `positions`: the longest sequence. `config`: content of the model's config.json, which decides
    how two texts are separated. `special_tokens`: special tokens to add by default.
    """
    vocabulary, ours = tokenizer.vocabulary, tokenizer.config
    renamed = _FILES.get(config.get("model_type", ""), {})
    for name, content in ours.huggingface_files(vocabulary).items():
        (folder / renamed.get(name, name)).write_bytes(content)
    segments = int(config.get("type_vocab_size", 0)) > 1
    backend = ours.backend(vocabulary)
    _check_ids(folder, tokenizer, backend)
    marks = _marks(vocabulary)
    usual = 2 if config.get("model_type") in _DOUBLE_SEPARATORS else 1
    separators = usual if special_tokens.separators is None else special_tokens.separators
    if special_tokens.separators is None and special_tokens.end is None:
        separators = 0
    special = [
        AddedToken(token, special=True, lstrip=role == "mask" and ours.mask_takes_space)
        for role, token in vocabulary.specials.items()
        if token in vocabulary.ids
    ] + [AddedToken(token, special=True, normalized=False) for token in marks]
    # A `huggingface` pipeline has its special tokens already, with flags of its own.
    added = backend.get_added_tokens_decoder().values()
    known = {token.content for token in added if token.special}
    backend.add_special_tokens([token for token in special if token.content not in known])
    backend.post_processor = _template(
        vocabulary,
        special_tokens,
        separators=separators,
        second=1 if segments else 0,
    )
    backend.save(str(folder / "tokenizer.json"))
    named = {
        f"{role}_token": token
        for role, token in vocabulary.specials.items()
        if token in vocabulary.ids
    }
    if special_tokens.end is None:
        named |= {
            f"{role}_token": vocabulary.special_token(role)
            for role in COUNTERPARTS
            if vocabulary.has(role)
        }
    both = special_tokens.start is not None and special_tokens.end is not None
    own_template = not both or separators != usual
    inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    settings: dict[str, Any] = {
        # A family's class adds both tokens around a text, and its own separators of a pair,
        # whatever tokenizer.json specifies.
        "tokenizer_class": _PIPELINE_CLASS if own_template else ours.huggingface_class,
        **({"do_lower_case": ours.lowercase} | _WORD_OPTIONS if ours.lowercase is not None else {}),
        "model_max_length": positions,
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
        OPTIONS: ours.model_dump(mode="json", exclude={*ours.FILES, "size", "special_tokens"}),
        **({"additional_special_tokens": marks} if marks else {}),
        **named,
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "special_tokens_map.json", named)


def _check_ids(folder: Path, tokenizer: Tokenizer, backend: tokenizers.Tokenizer) -> None:
    """Raise UserError if the exported pipeline gives other ids than the tokenizer."""
    backend.encode_special_tokens = True
    difference = first_difference(tokenizer, backend, probes(tokenizer), in_any_order=True)
    backend.encode_special_tokens = False
    if difference is not None:
        raise UserError(
            f"{folder}: the tokenizer cannot be exported with the same ids: {difference}."
        )


def _marks(vocabulary: Vocabulary) -> list[str]:
    """Special tokens without a role that an objective inserts: sentinels and gap-sentence masks."""
    sentinels = [vocabulary.tokens[index] for index in vocabulary.sentinels]
    taken = {*vocabulary.specials.values()}
    gaps = [mark for mark in GAP_TOKENS if mark in vocabulary.ids and mark not in taken]
    return [*sentinels, *gaps]


def _template(
    vocabulary: Vocabulary, special_tokens: SpecialTokens, *, separators: int, second: int
) -> processors.PostProcessor:
    """The template that adds special tokens to one text and to a pair of texts.

    `separators`: number of separators of a pair. `second`: the segment id of the second text.
    """
    starts = special_tokens.start is not None and vocabulary.has(special_tokens.start)
    start_role = special_tokens.start if starts else None
    separator = special_tokens.end or "sep"
    roles = (start_role, special_tokens.end, separator if separators else None)
    used = list(dict.fromkeys(role for role in roles if role is not None))
    specials = [(vocabulary.special_token(role), vocabulary.special_id(role)) for role in used]
    first = [vocabulary.special_token(start_role)] if start_role else []
    end = [vocabulary.special_token(special_tokens.end)] if special_tokens.end else []
    return processors.TemplateProcessing(
        single=[*first, "$A", *end],
        pair=[
            *(*first, "$A", *[vocabulary.special_token(separator)] * separators),
            *(f"{piece}:{second}" for piece in ("$B", *end)),
        ],
        special_tokens=specials,
    )


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON object or list, indented."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
