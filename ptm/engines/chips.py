"""Peak rates of GPUs for matrix products, from the makers' data sheets (dense, no sparsity)."""

from __future__ import annotations

import re

import torch

# Expression for torch's name of the device -> TFLOP/s in bf16 and fp16, TFLOP/s of fp32 recipes,
# whose products run in TF32 from Ampere on. The first expression that matches counts.
_PEAKS: tuple[tuple[str, float, float], ...] = (
    (r"GB?[23]00", 2250.0, 1125.0),
    (r"H20\b", 148.0, 74.0),
    (r"H100 NVL", 835.0, 417.5),
    (r"H[128]00.*PCIe", 756.0, 378.0),
    (r"H[128]00|GH200", 989.4, 494.7),
    (r"A[18]00", 312.0, 156.0),
    (r"L40S", 362.0, 183.0),
    (r"L40", 181.0, 90.5),
    (r"L4\b", 121.0, 60.0),
    (r"A40", 149.7, 74.8),
    (r"A30", 165.0, 82.0),
    (r"A10G", 70.0, 35.0),
    (r"A10\b", 125.0, 62.5),
    (r"RTX 4090", 165.2, 82.6),
    (r"RTX 3090", 71.0, 35.6),
    (r"V100", 125.0, 15.7),
    (r"T4", 65.0, 8.1),
)


def peak_flops(name: str, precision: str) -> float | None:
    """Peak FLOP/s of the GPU that torch calls `name`; None if it is not in the table."""
    for expression, half, single in _PEAKS:
        if re.search(expression, name):
            return 1e12 * (single if precision == "fp32" else half)
    return None


def device_peak_flops(device: torch.device, precision: str) -> float | None:
    """Peak FLOP/s of this process's device; None for CPUs, whose peak depends on their clock."""
    if device.type != "cuda":
        return None
    return peak_flops(torch.cuda.get_device_name(device), precision)
