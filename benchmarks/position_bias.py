"""CPU time of the attention masks with relative position biases of a micro-batch, and of gradients.

python benchmarks/position_bias.py [--rows 8] [--heads 8] [--length 512] [--layers 6] [--repeats 3]

`by pair`: the bias of every pair of positions is read from the table, and each layer adds the mask.
`by distance`: what ptm does, one vector of distances, whose matrix with the mask all layers share.
Each row has two examples. User and system time, one thread, in ms.
"""

from __future__ import annotations

import argparse
import os
import resource

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional as F

from ptm.nn.attention_mask import FULL
from ptm.nn.packed_examples import PackedExamples
from ptm.nn.positions import RelativePositionBias, relative_buckets


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def masks(way: str, bias: RelativePositionBias, ids: Tensor, layers: int) -> list[Tensor]:
    if way == "by distance":
        packed, biases = PackedExamples(), bias(ids)
        return [packed.biased_mask(FULL, ids, None, biases) for _ in range(layers)]
    place = torch.arange(ids.shape[1])
    bucket = relative_buckets(
        place[None] - place[:, None], buckets=32, max_distance=128, bidirectional=True
    )
    matrix = F.embedding(bucket, bias.weight).permute(2, 0, 1)[None].contiguous()
    seen = FULL.mask(ids, ids, None)
    return [matrix.masked_fill(~seen, float("-inf")) for _ in range(layers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("rows", 8),
        ("heads", 8),
        ("length", 512),
        ("layers", 6),
        ("repeats", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parsed = parser.parse_args()
    torch.set_num_threads(1)
    bias = RelativePositionBias(parsed.heads, buckets=32, max_distance=128, bidirectional=True)
    torch.nn.init.normal_(bias.weight)
    ids = torch.ones(parsed.rows, parsed.length, dtype=torch.long)
    ids[:, parsed.length // 2 :] = 2
    gradient = torch.randn(parsed.rows, parsed.heads, parsed.length, parsed.length)
    # The first round warms up.
    for _ in range(parsed.repeats + 1):
        for way in ("by pair", "by distance"):
            begin = cpu_seconds()
            found = masks(way, bias, ids, parsed.layers)
            torch.autograd.backward(found, [gradient] * parsed.layers)
            print(f"{way}: {1000 * (cpu_seconds() - begin):.0f} ms")


if __name__ == "__main__":
    main()
