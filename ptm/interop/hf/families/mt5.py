"""mT5 in transformers (Xue et al. 2021, arXiv:2010.11934): T5 1.1 under another model_type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.interop.hf.families.t5 import T5


class MT5(T5):
    """`MT5ForConditionalGeneration`, whose output is never scaled; imported only."""

    name = "mt5"
    # Exported as T5, which computes the same function.
    import_only = True
    model_types = ("mt5",)
    # Its output is its own matrix if the weights have one, and is never scaled.
    keys_without_effect: tuple[str, ...] = (
        *T5.keys_without_effect,
        *("tie_word_embeddings", "scale_decoder_outputs"),
    )
    _default_feed_forward = "gated-gelu"

    def _is_scaled(self, config: Mapping[str, Any]) -> bool:
        return False
