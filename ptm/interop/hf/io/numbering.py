"""Token ids of SentencePiece models: how each family numbers the pieces and which ids it adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.text.tokenizers.sentencepiece import FAIRSEQ_FIRST, PEGASUS_OFFSET
from ptm.text.tokenizers.sentencepiece_file import read_sentencepiece

_T5_SENTINELS = 100
"""Sentinels that T5's tokenizer adds by default."""


def sentencepiece_ids(
    path: Path | None,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """Options of a `tokenizer` block: `ids`, and for T5 and PEGASUS also `sentinels` and `unused`.

    `path`: the SentencePiece file. Without it `model` is the model of a tokenizer.json, whose ids
    are final. `settings`, `config`: contents of tokenizer_config.json and config.json. `unused`
    fills the vocabulary up to the config's vocab_size. Raises UserError for an offset that is not
    PEGASUS's default.
    """
    kind = " ".join(str(s) for s in (settings.get("tokenizer_class"), config.get("model_type")))
    kind = kind.lower().replace("-", "")
    pieces = read_sentencepiece(str(path)).tokens if path else _pieces(model)
    if _is_fairseq(model, kind):
        return {"ids": "fairseq"}
    ids, added = "file", 0
    sentinels: dict[str, Any] = {}
    if "pegasus" in kind and path is not None:
        ids, added = "pegasus", int(settings.get("offset", PEGASUS_OFFSET))
        if added != PEGASUS_OFFSET:
            raise UserError(
                f"{path}: offset = {added} in tokenizer_config.json is not supported, because "
                f"token ids would differ. Supported: {PEGASUS_OFFSET}, the default of PEGASUS."
            )
    elif "t5" in kind and not any("<extra_id_0>" in piece for piece in pieces):
        added = int(settings.get("extra_ids", _T5_SENTINELS))
        sentinels = {"sentinels": added}
    elif "t5" not in kind and "pegasus" not in kind:
        return {"ids": ids}
    rows = config.get("vocab_size", 0)
    return {"ids": ids, **sentinels, "unused": max(0, rows - len(pieces) - added)}


def _pieces(model: Mapping[str, Any]) -> tuple[str, ...]:
    found = model.get("vocab")
    return tuple(piece for piece, _ in found) if isinstance(found, list) else ()


def _is_fairseq(model: Mapping[str, Any], kind: str) -> bool:
    pieces = _pieces(model)
    if model.get("type") == "Unigram" and pieces:
        return pieces[:4] == FAIRSEQ_FIRST
    return "xlmroberta" in kind
