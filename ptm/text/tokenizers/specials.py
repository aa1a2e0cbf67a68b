"""Special tokens: their names in BERT's and RoBERTa's vocabularies, and in others' files."""

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
_ALSO_CALLED = {"cls": ("bos",), "sep": ("eos",)}


def special_roles(named: Mapping[str, Any]) -> dict[str, str]:
    """Role to token from a `special_tokens_map.json` or a `tokenizer_config.json`.

    Models that predict the next token have bos for cls, and eos for sep.
    """
    roles = {}
    for role in ROLES:
        for name in (role, *_ALSO_CALLED.get(role, ())):
            value = named.get(f"{name}_token")
            # transformers writes a token as its text, or as an object with the text in it.
            token = value.get("content") if isinstance(value, dict) else value
            if isinstance(token, str):
                roles[role] = token
                break
    return roles
