"""The implementation of attention that `engine.attention` chooses."""

from __future__ import annotations

import pytest
import torch

from ptm.engines.attention import attention_implementation, check_attention
from ptm.errors import UserError
from ptm.recipe.blocks import EngineBlock

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def block(attention: str, precision: str) -> EngineBlock:
    return EngineBlock.model_validate({"attention": attention, "precision": precision})


@pytest.mark.parametrize(
    ("capability", "precision", "chosen"),
    [
        ((9, 0), "bf16", "varlen"),
        ((8, 0), "fp16", "varlen"),
        ((9, 0), "fp32", "sdpa"),
        ((7, 5), "fp16", "sdpa"),
    ],
)
def test_auto_is_varlen_where_it_can_run(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert attention_implementation(block("auto", precision), GPU) == chosen
    assert attention_implementation(block("flex", precision), GPU) == "flex"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_auto_is_sdpa_on_cpus(precision: str) -> None:
    assert attention_implementation(block("auto", precision), CPU) == "sdpa"
    check_attention(block("auto", precision))


@pytest.mark.parametrize("attention", ["varlen", "flex"])
def test_kernels_of_gpus_are_rejected_on_cpus(attention: str) -> None:
    with pytest.raises(UserError, match=f"engine.attention = {attention} trains only on GPUs"):
        check_attention(block(attention, "bf16"))


def test_varlen_is_rejected_on_old_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla V100")
    with pytest.raises(UserError, match="needs a GPU from Ampere on"):
        check_attention(block("varlen", "fp16"))
