"""Which implementation of attention can run on this machine."""

from __future__ import annotations

import torch

from ptm.errors import UserError
from ptm.nn.attention_choice import Implementation
from ptm.recipe.blocks import EngineBlock

_AMPERE = (8, 0)
"""The first compute capability that FlashAttention-2 supports."""


def attention_implementation(engine: EngineBlock, device: torch.device) -> Implementation:
    """The implementation that `engine.attention` chooses on `device`."""
    if engine.attention != "auto":
        return engine.attention
    runs_flash = (
        device.type == "cuda"
        and engine.precision != "fp32"
        and torch.cuda.get_device_capability(device) >= _AMPERE
    )
    return "varlen" if runs_flash else "sdpa"


def check_attention(engine: EngineBlock) -> None:
    """Raise UserError if `engine.attention` cannot run on this machine."""
    if engine.attention not in ("varlen", "flex"):
        return
    advice = "Set engine.attention: auto."
    if not torch.cuda.is_available():
        raise UserError(
            f"engine.attention = {engine.attention} trains only on GPUs, and no GPU is available. "
            f"{advice}"
        )
    if engine.attention == "varlen" and torch.cuda.get_device_capability() < _AMPERE:
        raise UserError(
            "engine.attention = varlen needs a GPU from Ampere on (compute capability 8.0), but "
            f"this one is a {torch.cuda.get_device_name()}. {advice}"
        )
