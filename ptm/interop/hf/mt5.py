"""mT5 as transformers has it (Xue et al. 2021): the tensors of T5 1.1 under another name.

An mT5 that was imported goes out as a T5, which computes the same and says more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.interop.hf.t5 import T5
from ptm.recipe import Recipe


class MT5(T5):
    """`MT5ForConditionalGeneration`, whose output is never scaled."""

    name = "mt5"
    _usual_feed_forward = "gated-gelu"

    def preference(self, recipe: Recipe) -> int:
        """After a T5."""
        return -1

    def _is_scaled(self, config: Mapping[str, Any]) -> bool:
        return False
