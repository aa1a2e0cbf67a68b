"""The machine: card, torch, kernels that torch has."""

from __future__ import annotations

import inspect
import os
import platform

import torch

from benchmarks.gpu.figures import Bench
from benchmarks.gpu.timing import the_device
from ptm.engines.chips import device_peak_flops


def run(bench: Bench) -> None:
    device = the_device()
    values = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
        "processors": os.cpu_count(),
    }
    if device.type == "cuda":
        of_card = torch.cuda.get_device_properties(device)
        peak = device_peak_flops(device, "bf16")
        values |= {
            "card": of_card.name,
            "GiB": round(of_card.total_memory / 2**30),
            "peak TFLOP/s": "unknown" if peak is None else peak / 1e12,
            "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
        }
    with bench.case("env"):
        from torch.nn.attention.varlen import varlen_attn

        values["varlen_attn"] = " ".join(inspect.signature(varlen_attn).parameters)
    bench.record("env", **values)
