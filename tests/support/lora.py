"""Adapter folders on models of transformers: by peft, and by the definition alone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

Attach = Callable[[PreTrainedModel, Path], nn.Module]
"""Gives a model the adapter of a folder; returns the model, in which the adapter is trainable."""
_PREFIX = "base_model.model."


class Updated(nn.Module):
    """h = W x + scale B A x (Hu et al. 2021, equation 3)."""

    def __init__(self, frozen: nn.Module, a: Tensor, b: Tensor, scale: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.a, self.b, self.scale = nn.Parameter(a), nn.Parameter(b), scale

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.frozen(x) + self.scale * (x @ self.a.t() @ self.b.t())
        return mapped


def by_definition(model: PreTrainedModel, folder: Path) -> nn.Module:
    """The model with the folder's updates beside its frozen matrices, and its trained modules."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    tensors = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in load_file(folder / "adapter_model.safetensors").items()
    }
    model.requires_grad_(False)
    for name in [name for name in tensors if name.endswith(".lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        assert module in config["target_modules"]
        rank = config["rank_pattern"].get(module, config["r"])
        alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
        scale = alpha / (math.sqrt(rank) if config["use_rslora"] else rank)
        a, b = tensors.pop(name), tensors.pop(f"{module}.lora_B.weight")
        assert len(a) == rank
        model.set_submodule(module, Updated(model.get_submodule(module), a, b, scale))
    for name, tensor in tensors.items():
        assert name.rpartition(".")[0].startswith(tuple(config["modules_to_save"]))
        parameter = model.get_parameter(name)
        parameter.data.copy_(tensor)
        parameter.requires_grad_(True)
    return model


def by_peft(model: PreTrainedModel, folder: Path) -> nn.Module:
    """The model with the adapter as peft loads it."""
    peft = pytest.importorskip("peft", reason="peft is not installed (pip install peft)")
    loaded: nn.Module = peft.PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    trainable = [name for name, one in loaded.named_parameters() if one.requires_grad]
    assert trainable
    assert all(re.search(r"lora_[AB]\.|modules_to_save\.", name) for name in trainable)
    return loaded


WAYS: dict[str, Attach] = {"definition": by_definition, "peft": by_peft}


def adamw(model: nn.Module, *, rate: float, decay: float) -> torch.optim.AdamW:
    """torch's AdamW over what is trained; vectors do not decay."""
    trained = [one for one in model.parameters() if one.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [one for one in trained if one.dim() > 1], "weight_decay": decay},
            {"params": [one for one in trained if one.dim() == 1], "weight_decay": 0.0},
        ],
        lr=rate,
    )
