"""The heads of ModernBERT on single tokens: dense, activation and norm before the output layer."""

from __future__ import annotations

from typing import Any

from ptm.components.objectives import Objective
from ptm.components.objectives.classifier_head import TokenHead
from ptm.interop.hf.heads.base import HeadLayout
from ptm.interop.hf.model_config import ModelConfig
from ptm.interop.hf.shared.post_norm import ACTIVATIONS, activation_from_config


class ModernBertTokenLayout(HeadLayout):
    """The activation is an option of the config, and the biases are those of the body."""

    def read_options(self, config: ModelConfig) -> dict[str, Any]:
        return {
            "head": {
                "dense": True,
                "activation": activation_from_config(config, "classifier_activation"),
                "norm": True,
                "dense_bias": bool(config.get("classifier_bias", False)),
            }
        }

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        head = getattr(objective, "head", None)
        assert isinstance(head, TokenHead), "`Head.holds` was checked before"
        return {"classifier_activation": ACTIVATIONS[head.activation]}
