"""A tokenizer in a Hugging Face folder: written so that AutoTokenizer gives the same ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, processors

from ptm.components.objectives.gsg import GAP_MARKS
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabulary

OPTIONS = "ptm_tokenizer"
"""The key of tokenizer_config.json that holds the recipe's block without its files."""
_DOUBLE_SEPARATORS = ("roberta", "xlm-roberta", "bart")
_PIPELINE_CLASS = "PreTrainedTokenizerFast"
_FILES = {"llama": {"spiece.model": "tokenizer.model"}}
"""Names of files that differ by the model's type."""


@dataclass(frozen=True)
class Around:
    """The special tokens that AutoTokenizer puts around a text of its own accord."""

    before: bool = True
    """The start token."""
    after: bool = True
    """The end token, which would tell a model that predicts the next token that all is said."""


def write_tokenizer(
    folder: Path,
    tokenizer: Tokenizer,
    *,
    positions: int,
    config: Mapping[str, Any],
    around: Around = Around(),
) -> None:
    """The vocabulary, the pipeline, and the settings that AutoTokenizer reads.

    `positions`: the longest sequence. `config`: the model's config.json, which says how two texts
    are told apart.
    """
    vocabulary, ours = tokenizer.vocabulary, tokenizer.config
    renamed = _FILES.get(config.get("model_type", ""), {})
    for name, content in ours.huggingface_files(vocabulary).items():
        (folder / renamed.get(name, name)).write_bytes(content)
    segments = int(config.get("type_vocab_size", 0)) > 1
    backend = ours.backend(vocabulary)
    marks = _marks(vocabulary)
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, lstrip=role == "mask" and ours.mask_takes_space)
            for role, token in vocabulary.specials.items()
            if token in vocabulary.ids
        ]
        + [AddedToken(token, special=True, normalized=False) for token in marks]
    )
    backend.post_processor = _template(
        vocabulary,
        around,
        double=config.get("model_type") in _DOUBLE_SEPARATORS,
        second=1 if segments else 0,
    )
    backend.save(str(folder / "tokenizer.json"))
    named = {
        f"{role}_token": token
        for role, token in vocabulary.specials.items()
        if token in vocabulary.ids
    }
    if not around.after:
        named |= {
            theirs: named[f"{role}_token"]
            for role, theirs in (("cls", "bos_token"), ("sep", "eos_token"))
            if f"{role}_token" in named
        }
    inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    settings: dict[str, Any] = {
        # The classes of families put both tokens around a text, whatever the pipeline says.
        "tokenizer_class": ours.huggingface_class if around.after else _PIPELINE_CLASS,
        "do_lower_case": ours.lowercase,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "model_max_length": positions,
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
        OPTIONS: ours.model_dump(mode="json", exclude={*ours.FILES, "size", "special_tokens"}),
        **({"additional_special_tokens": marks} if marks else {}),
        **named,
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "special_tokens_map.json", named)


def _marks(vocabulary: Vocabulary) -> list[str]:
    """Tokens without a role that an objective writes into texts: sentinels, gaps of sentences."""
    sentinels = [vocabulary.tokens[index] for index in vocabulary.sentinels]
    taken = {*vocabulary.specials.values()}
    gaps = [mark for mark in GAP_MARKS if mark in vocabulary.ids and mark not in taken]
    return [*sentinels, *gaps]


def _template(
    vocabulary: Vocabulary, around: Around, *, double: bool, second: int
) -> processors.PostProcessor:
    """What stands around one text and two; `second`: the segment of the second text.

    `double`: whether there are two end tokens between them.
    """
    begins = around.before and vocabulary.has("cls")
    used = [role for role, chosen in (("cls", begins), ("sep", around.after)) if chosen]
    specials = [(vocabulary.specials[role], vocabulary.special_id(role)) for role in used]
    first = [vocabulary.specials["cls"]] if begins else []
    end = [vocabulary.specials["sep"]] if around.after else []
    return processors.TemplateProcessing(
        single=[*first, "$A", *end],
        pair=[
            *(*first, "$A", *end, *(end if double else [])),
            *(f"{piece}:{second}" for piece in ("$B", *end)),
        ],
        special_tokens=specials,
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One object, readable."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
