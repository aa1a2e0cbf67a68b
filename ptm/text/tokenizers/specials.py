"""Special tokens of BERT's and RoBERTa's vocabularies, and reading them from JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.text.vocabulary import ROLES

BERT_SPECIALS = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}
ROBERTA_SPECIALS = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
_FALLBACK_NAMES = {"cls": ("bos",), "sep": ("eos",)}


def special_roles(named: Mapping[str, Any]) -> dict[str, str]:
    """Role to token from the content of a `special_tokens_map.json` or `tokenizer_config.json`.

    Without `cls_token`, role `cls` is the `bos_token`; without `sep_token`, `sep` is `eos_token`.
    """
    roles = {}
    for role in ROLES:
        for name in (role, *_FALLBACK_NAMES.get(role, ())):
            value = named.get(f"{name}_token")
            # transformers writes a token as a string or as an object with the string in `content`.
            token = value.get("content") if isinstance(value, dict) else value
            if isinstance(token, str):
                roles[role] = token
                break
    return roles
