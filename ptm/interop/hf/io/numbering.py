"""Token ids of SentencePiece models: how each family numbers the pieces and which ids it adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.text.tokenizers.sentencepiece import FAIRSEQ_FIRST, PEGASUS_OFFSET
from ptm.text.tokenizers.sentencepiece_file import read_sentencepiece

_T5_SENTINELS = 100
"""Sentinels that T5's tokenizer adds by default."""


def sentencepiece_ids(
    path: Path,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    tokens: Sequence[str],
) -> dict[str, Any]:
    """Options of a `tokenizer` block: `ids`, and for T5 and PEGASUS also `sentinels` and `unused`.

    `path`: the SentencePiece file. `settings`, `config`: contents of tokenizer_config.json and
    config.json. `tokens`: those of a tokenizer.json by id, if there is one. `unused` fills the
    vocabulary up to the config's vocab_size. Raises UserError for an offset that is not PEGASUS's
    default.
    """
    kind = " ".join(str(s) for s in (settings.get("tokenizer_class"), config.get("model_type")))
    kind = kind.lower().replace("-", "")
    pieces = read_sentencepiece(str(path)).tokens
    if tuple(tokens[:4]) == FAIRSEQ_FIRST or (not tokens and "xlmroberta" in kind):
        return {"ids": "fairseq"}
    ids, added = "file", 0
    sentinels: dict[str, Any] = {}
    if "pegasus" in kind:
        ids, added = "pegasus", int(settings.get("offset", PEGASUS_OFFSET))
        if added != PEGASUS_OFFSET:
            raise UserError(
                f"{path}: offset = {added} in tokenizer_config.json is not supported, because "
                f"token ids would differ. Supported: {PEGASUS_OFFSET}, the default of PEGASUS."
            )
    elif "t5" in kind and not any("<extra_id_0>" in piece for piece in pieces):
        added = int(settings.get("extra_ids", _T5_SENTINELS))
        sentinels = {"sentinels": added}
    elif "t5" not in kind:
        return {"ids": ids}
    rows = config.get("vocab_size", 0)
    return {"ids": ids, **sentinels, "unused": max(0, rows - len(pieces) - added)}
