"""A tokenizer in a Hugging Face folder: written so that AutoTokenizer gives the same ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, processors

from ptm.objectives.gsg import GAP_MARKS
from ptm.text.tokenizers import Tokenizer
from ptm.text.vocabulary import Vocabulary

OPTIONS = "ptm_tokenizer"
"""The key of tokenizer_config.json that holds the recipe's block without its files."""
_DOUBLE_SEPARATORS = ("roberta", "xlm-roberta", "bart")


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, *, positions: int, config: Mapping[str, Any]
) -> None:
    """The vocabulary, the pipeline, and the settings that AutoTokenizer reads.

    `positions`: the longest sequence. `config`: the model's config.json, which says how two texts
    are told apart.
    """
    vocabulary, ours = tokenizer.vocabulary, tokenizer.config
    for name, content in ours.huggingface_files(vocabulary).items():
        (folder / name).write_bytes(content)
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
    sep = vocabulary.specials["sep"]
    around = [sep, *([vocabulary.specials["cls"]] if vocabulary.has("cls") else [])]
    before = "".join(f"{token} " for token in around[1:])
    between = f"{sep} {sep}" if config.get("model_type") in _DOUBLE_SEPARATORS else sep
    second = 1 if segments else 0
    backend.post_processor = processors.TemplateProcessing(
        single=f"{before}$A {sep}",
        pair=f"{before}$A {between} $B:{second} {sep}:{second}",
        special_tokens=[(token, vocabulary.ids[token]) for token in around],
    )
    backend.save(str(folder / "tokenizer.json"))
    named = {
        f"{role}_token": token
        for role, token in vocabulary.specials.items()
        if token in vocabulary.ids
    }
    inputs = ["input_ids", *(["token_type_ids"] if segments else []), "attention_mask"]
    settings: dict[str, Any] = {
        "tokenizer_class": ours.huggingface_class,
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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """One object, readable."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
