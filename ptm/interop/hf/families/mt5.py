"""mT5 in transformers (Xue et al. 2021, arXiv:2010.11934): T5 1.1 under another model_type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.components.objectives import Objective
from ptm.interop.hf.families.t5 import T5
from ptm.recipe.model_block import ModelBlock


class MT5(T5):
    """`MT5ForConditionalGeneration`, whose output is never scaled; imported only."""

    name = "mt5"
    _default_feed_forward = "gated-gelu"

    def unsupported_reason(self, model: ModelBlock, objective: Objective) -> str | None:
        # T5 computes the same function, and its config can express more.
        return "such models are exported as t5"

    def _is_scaled(self, config: Mapping[str, Any]) -> bool:
        return False
