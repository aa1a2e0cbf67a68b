"""Special tokens of BERT's and RoBERTa's vocabularies, and reading them from JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.text.vocabulary import COUNTERPARTS, ROLES

BERT_SPECIALS = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}
ROBERTA_SPECIALS = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}


def special_roles(named: Mapping[str, Any]) -> dict[str, str]:
    """Role to token from the content of a `special_tokens_map.json` or `tokenizer_config.json`.

    Without `cls_token`, role `cls` is the `bos_token`; without `sep_token`, `sep` is `eos_token`.
    """
    found = {role: _token(named, role) for role in (*ROLES, *COUNTERPARTS)}
    return with_counterparts({role: token for role, token in found.items() if token is not None})


def _token(named: Mapping[str, Any], role: str) -> str | None:
    value = named.get(f"{role}_token")
    # transformers writes a token as a string or as an object with the string in `content`.
    token = value.get("content") if isinstance(value, dict) else value
    return token if isinstance(token, str) else None


def with_counterparts(named: Mapping[str, str]) -> dict[str, str]:
    """Role to token, where `bos` also names `cls`, and `eos` also names `sep`, unless both are
    given.

    A `bos` or `eos` that equals its counterpart is left out (see `Vocabulary.specials`).
    """
    roles = dict(named)
    for role, other in COUNTERPARTS.items():
        if role in roles:
            roles.setdefault(other, roles[role])
            if roles[role] == roles[other]:
                del roles[role]
    return roles
