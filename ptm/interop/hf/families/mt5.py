"""mT5 as transformers has it (Xue et al. 2021): the tensors of T5 1.1 under another name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.components.objectives import Objective
from ptm.interop.hf.families.t5 import T5
from ptm.recipe.model_block import ModelBlock


class MT5(T5):
    """`MT5ForConditionalGeneration`, whose output is never scaled."""

    name = "mt5"
    _usual_feed_forward = "gated-gelu"

    def refusal(self, model: ModelBlock, objective: Objective) -> str | None:
        """Always: a T5 computes the same, and its config says more."""
        return "it goes out as a t5, if as either"

    def _is_scaled(self, config: Mapping[str, Any]) -> bool:
        return False
