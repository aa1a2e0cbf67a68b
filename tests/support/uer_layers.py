"""Layers of UER-py and TencentPretrain, a second implementation with their parameter names.

Written from their formulas: the norm divides by the deviation over n - 1 and adds epsilon to it; a
relative position bias is added before scores are scaled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Config = Mapping[str, Any]
_HIDDEN = -10000.0
"""Added to the score of a token that is not to be seen."""


def activate(name: str, x: Tensor) -> Tensor:
    """Apply UER-py's activation `name`."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu": F.gelu,
        "gelu_fast": lambda y: F.gelu(y, approximate="tanh"),
        "relu": F.relu,
        "silu": F.silu,
    }
    return functions[name](x)


class LayerNorm(nn.Module):
    """gamma (x - mean) / (deviation over n - 1, plus epsilon) + beta.

    `of_ptm`: epsilon of ptm's norms, which is added to the variance over n instead.
    """

    of_ptm: float | None = None

    def __init__(self, width: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        centred = x - x.mean(-1, keepdim=True)
        count = x.shape[-1]
        variance = centred.square().sum(-1, keepdim=True) / (count - 1)
        if self.of_ptm is not None:
            deviation = (variance + self.of_ptm * count / (count - 1)).sqrt()
            return self.gamma * centred / deviation + self.beta
        return self.gamma * centred / (variance.sqrt() + self.epsilon) + self.beta


class RmsNorm(nn.Module):
    """weight x / root of the mean square."""

    def __init__(self, width: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) -> (…, D)."""
        return self.weight * x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt()


def norm_of(config: Config) -> nn.Module:
    """The norm of a layer."""
    kind = LayerNorm if config.get("layernorm", "normal") == "normal" else RmsNorm
    return kind(config["hidden_size"], config.get("layernorm_eps", 1e-6))


class RelativePositions(nn.Module):
    """T5's buckets of distances, up to 128, and one value per bucket and head."""

    def __init__(self, config: Config, *, both_ways: bool) -> None:
        super().__init__()
        buckets = config.get("relative_attention_buckets_num", 32)
        self.relative_attention_bias = nn.Embedding(buckets, config["heads_num"])
        self.both_ways = both_ways

    def forward(self, length: int) -> Tensor:
        """The biases (H, T, T)."""
        table = self.relative_attention_bias.weight
        rows = [[self._bucket(key - query) for key in range(length)] for query in range(length)]
        return table[torch.tensor(rows)].permute(2, 0, 1)

    def _bucket(self, distance: int) -> int:
        count = len(self.relative_attention_bias.weight)
        first = 0
        if self.both_ways:
            count //= 2
            first = count if distance > 0 else 0
            distance = abs(distance)
        else:
            distance = max(-distance, 0)
        exact = count // 2
        if distance < exact:
            return first + distance
        growth = math.log(distance / exact) / math.log(128 / exact) * (count - exact)
        return first + min(exact + int(growth), count - 1)


class Attention(nn.Module):
    """Query, key, value and output as four linear layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.heads = config["hidden_size"], config["heads_num"]
        self.size = config.get("attention_head_size", width // self.heads)
        self.others = config.get("local_kv_heads_num", self.heads)
        self.rotary = config.get("rotary_position_embedding", False)
        self.scaled = not config.get("remove_attention_scale", False)
        biased = not config.get("remove_transformer_bias", False)
        counts = (self.heads, self.others, self.others)
        self.linear_layers = nn.ModuleList(
            [nn.Linear(width, count * self.size, bias=biased) for count in counts]
        )
        self.final_linear = nn.Linear(self.heads * self.size, width, bias=biased)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor,
        bias: Tensor | None,
        previous: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, T, D) and (B, K, D) -> (B, T, D) and the scores (B, H, T, K)."""
        read = (x, memory, memory)
        query, key, value = (
            layer(side).unflatten(-1, (-1, self.size)).transpose(1, 2)
            for layer, side in zip(self.linear_layers, read, strict=True)
        )
        if self.rotary:
            query, key = _rotated(query), _rotated(key)
        key, value = (
            side.repeat_interleave(self.heads // self.others, dim=1) for side in (key, value)
        )
        scores = query @ key.transpose(2, 3)
        if bias is not None:
            scores = scores + bias
        if self.scaled:
            scores = scores / math.sqrt(self.size)
        scores = scores + (1.0 - mask.float()) * _HIDDEN
        if previous is not None:
            scores = scores + previous
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return self.final_linear(mixed), scores


def _rotated(heads: Tensor) -> Tensor:
    """Rotate the pairs of channels (0, 1), (2, 3) … of (B, H, T, S), as complex numbers."""
    length, size = heads.shape[2:]
    turns = 10000.0 ** -(torch.arange(0, size, 2).double() / size)
    angles = torch.arange(length).double()[:, None] * turns
    even, odd = heads[..., 0::2], heads[..., 1::2]
    cosines, sines = angles.cos().float(), angles.sin().float()
    return torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), -1).flatten(-2)


class FeedForward(nn.Module):
    """Two linear layers, or three with a gate."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["feedforward_size"]
        biased = not config.get("remove_transformer_bias", False)
        self.activation = config["hidden_act"]
        self.gated = config.get("feed_forward") == "gated"
        if self.gated:
            self.linear_gate = nn.Linear(width, inner, bias=biased)
        self.linear_1 = nn.Linear(width, inner, bias=biased)
        self.linear_2 = nn.Linear(inner, width, bias=biased)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        inner = self.linear_1(x)
        if self.gated:
            inner = activate(self.activation, self.linear_gate(x)) * inner
        else:
            inner = activate(self.activation, inner)
        found: Tensor = self.linear_2(inner)
        return found


class Layer(nn.Module):
    """A layer of an encoder or, if `crosses`, of a decoder."""

    def __init__(self, config: Config, *, crosses: bool = False) -> None:
        super().__init__()
        self.pre = config.get("layernorm_positioning") == "pre"
        self.residual = config.get("has_residual_attention", False) and not crosses
        self.self_attn = Attention(config)
        self.feed_forward = FeedForward(config)
        self.layer_norm_1, self.layer_norm_2 = norm_of(config), norm_of(config)
        self.crosses = crosses
        if crosses:
            self.context_attn = Attention(config)
            self.layer_norm_3 = norm_of(config)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        bias: Tensor | None = None,
        *,
        previous: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) -> (B, T, D), and the scores that the next layer adds."""
        scores: Tensor | None = None

        def attend(y: Tensor) -> Tensor:
            nonlocal scores
            mixed, scores = self.self_attn(y, y, mask, bias, previous)
            found: Tensor = mixed
            return found

        def cross(y: Tensor) -> Tensor:
            found: Tensor = self.context_attn(y, memory, memory_mask, None)[0]
            return found

        branches: list[Callable[[Tensor], Tensor]] = [attend, self.feed_forward]
        if self.crosses:
            branches.insert(1, cross)
        for number, branch in enumerate(branches, start=1):
            norm = self.get_submodule(f"layer_norm_{number}")
            x = x + branch(norm(x)) if self.pre else norm(x + branch(x))
        return x, scores if self.residual else None
