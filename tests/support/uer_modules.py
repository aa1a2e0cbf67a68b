"""Whole models of UER-py and TencentPretrain, a second implementation with their parameter names.

Parameters are tied and shared in the order of `models/model.py`: an encoder-decoder's output is
tied to the decoder's table first, which is then replaced by the encoder's. State dicts hold what
`torch.save` writes, and are loaded loosely, as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.uer_encoders import GatedCnn, Recurrent
from tests.support.uer_layers import Config, Layer, LayerNorm, RelativePositions, activate, norm_of

State = dict[str, Tensor]
PAD = 0
"""Id of the padding token, whose sinusoidal row is zero."""


class _Table(nn.Module):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(rows, width)


class _Embedding(nn.Module):
    def __init__(self, config: Config, key: str, words: int) -> None:
        super().__init__()
        width, self.parts = config["emb_size"], config[key]
        self.config, self.width = config, width
        rows = {"word": words, "pos": config["max_seq_length"], "seg": 3}
        for part in self.parts:
            if part != "sinusoidalpos":
                self.add_module(part, _Table(rows[part], width))
        if not config.get("remove_embedding_layernorm"):
            self.layer_norm = LayerNorm(width)

    def forward(self, ids: Tensor, seg: Tensor) -> Tensor:
        """Ids and segments (B, T) -> (B, T, E)."""
        scaled = "sinusoidalpos" in self.config["embedding"]
        words: Tensor = self.get_submodule("word.embedding")(ids)
        summed = words * math.sqrt(self.width) if scaled else words
        if "pos" in self.parts:
            summed = summed + self.get_submodule("pos.embedding")(torch.arange(ids.shape[1]))
        if "seg" in self.parts:
            summed = summed + self.get_submodule("seg.embedding")(seg)
        if "sinusoidalpos" in self.parts:
            summed = summed + self._waves(ids.shape[1])
        if not self.config.get("remove_embedding_layernorm"):
            summed = self.layer_norm(summed)
        return summed

    def _waves(self, length: int) -> Tensor:
        half = self.width // 2
        turns = torch.exp(torch.arange(half).double() * -(math.log(10000) / (half - 1)))
        angles = torch.arange(length + 2).double()[:, None] * turns
        table = torch.stack((angles.sin(), angles.cos()), -1).flatten(1).float()
        table[PAD] = 0
        return table[2:]


class _Transformer(nn.Module):
    def __init__(self, config: Config, *, tencent: bool) -> None:
        super().__init__()
        self.config, self.count = config, config["layers_num"]
        self.shared = config.get("parameter_sharing", False)
        if config.get("factorized_embedding_parameterization"):
            self.linear = nn.Linear(config["emb_size"], config["hidden_size"])
        layers = [Layer(config) for _ in range(1 if self.shared else self.count)]
        self.transformer = layers[0] if self.shared else nn.ModuleList(layers)
        if config.get("layernorm_positioning") == "pre":
            self.layer_norm = norm_of(config)
        self.relative = config.get("relative_position_embedding", False)
        if self.relative:
            self.relative_pos_emb = RelativePositions(config, both_ways=True)
        self.of_layers = self.relative and tencent
        if self.of_layers:
            # TencentPretrain's layers share a second module, and only that one is used.
            one = RelativePositions(config, both_ways=True)
            for layer in layers:
                layer.relative_pos_emb = one

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, D)."""
        if self.config.get("factorized_embedding_parameterization"):
            x = self.linear(x)
        length = x.shape[1]
        mask = _mask(self.config.get("mask", "fully_visible"), seg)
        scores: Tensor | None = None
        for index in range(self.count):
            layer = self.transformer if self.shared else self.get_submodule(f"transformer.{index}")
            source = layer if self.of_layers else self
            bias = source.get_submodule("relative_pos_emb")(length) if self.relative else None
            x, scores = layer(x, mask, bias, previous=scores)
        return self.layer_norm(x) if self.config.get("layernorm_positioning") == "pre" else x


def _mask(kind: str, seg: Tensor) -> Tensor:
    """(B, 1, T, T): whether a token (row) sees another (column)."""
    length = seg.shape[1]
    before = torch.ones(length, length).tril().bool()[None]
    text, prefix = (seg > 0)[:, None, :], (seg == 1)[:, None, :]
    if kind == "fully_visible":
        seen = text.expand(-1, length, -1)
    elif kind == "causal":
        seen = before.expand(len(seg), -1, -1)
    else:
        seen = prefix | (text & before)
    return seen[:, None]


class _Decoder(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        layers = [Layer(config, crosses=True) for _ in range(config["decoder_layers_num"])]
        self.transformer_decoder = nn.ModuleList(layers)
        self.pre = config.get("layernorm_positioning") == "pre"
        if self.pre:
            self.layer_norm = norm_of(config)
        self.relative = config.get("relative_position_embedding", False)
        if self.relative:
            self.self_pos_emb = RelativePositions(config, both_ways=False)

    def forward(self, memory: Tensor, x: Tensor, seg: Tensor, target_seg: Tensor) -> Tensor:
        """(B, K, D) and (B, T, D) -> (B, T, D)."""
        length = x.shape[1]
        bias = self.self_pos_emb(length) if self.relative else None
        seen = (seg > 0)[:, None, None, :].expand(-1, 1, length, -1)
        for layer in self.transformer_decoder:
            mask = _mask("causal", target_seg)
            x, _ = layer(x, mask, bias, memory=memory, memory_mask=seen)
        return self.layer_norm(x) if self.pre else x


# Of one text without padding, (B, T, D) -> (B, D).
_POOLINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "first": lambda hidden: hidden[:, 0],
    "last": lambda hidden: hidden[:, -1],
    "mean": lambda hidden: hidden.mean(dim=1),
    "max": lambda hidden: hidden.amax(dim=1),
}


class _Targets(nn.Module):
    def __init__(self, config: Config, words: int) -> None:
        super().__init__()
        self.config = config
        width, biased = config["hidden_size"], config.get("has_lmtarget_bias", False)
        inner = config["emb_size"] if config.get("factorized_embedding_parameterization") else width
        modules: dict[str, Callable[[], dict[str, nn.Module]]] = {
            "lm": lambda: {"output_layer": nn.Linear(width, words, bias=biased)},
            "bilm": lambda: {"output_layer": nn.Linear(width // 2, words, bias=biased)},
            "cls": lambda: {
                "linear_1": nn.Linear(width, width),
                "linear_2": nn.Linear(width, config["labels_num"]),
            },
            "mlm": lambda: {
                "linear_1": nn.Linear(width, inner),
                "layer_norm": LayerNorm(inner),
                "linear_2": nn.Linear(inner, words),
            },
            "sp": lambda: {"linear_1": nn.Linear(width, width), "linear_2": nn.Linear(width, 2)},
        }
        for target in config["target"]:
            self.add_module(target, nn.ModuleDict(modules[target]()))

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        module, targets = self.get_submodule, self.config["target"]
        if "lm" in targets:
            return {"logits": module("lm.output_layer")(hidden)}
        if "bilm" in targets:
            halves = zip(("forward", "backward"), hidden.chunk(2, dim=-1), strict=True)
            return {side: module("bilm.output_layer")(half) for side, half in halves}
        if "cls" in targets:
            pooled = torch.tanh(module("cls.linear_1")(_POOLINGS[self.config["pooling"]](hidden)))
            return {"class_logits": module("cls.linear_2")(pooled)}
        predicted = activate(self.config["hidden_act"], module("mlm.linear_1")(hidden))
        found = {"logits": module("mlm.linear_2")(module("mlm.layer_norm")(predicted))}
        if "sp" in targets:
            pooled = torch.tanh(module("sp.linear_1")(hidden[:, 0]))
            found["pair_logits"] = module("sp.linear_2")(pooled)
        return found


class UerModel(nn.Module):
    """A model of a config; `tencent`: of TencentPretrain."""

    def __init__(
        self, config: Config, words: int, *, target_words: int | None = None, tencent: bool = False
    ) -> None:
        super().__init__()
        config = {"hidden_act": "gelu", "encoder": "transformer", "max_seq_length": 512, **config}
        self.config = config
        self.embedding = _Embedding(config, "embedding", words)
        if config["encoder"] == "transformer":
            self.encoder: nn.Module = _Transformer(config, tencent=tencent)
        elif config["encoder"] == "gatedcnn":
            self.encoder = GatedCnn(config)
        else:
            self.encoder = Recurrent(config)
        self.decodes = config.get("decoder") is not None
        outputs = target_words or words if self.decodes else words
        if self.decodes:
            self.tgt_embedding = _Embedding(config, "tgt_embedding", outputs)
            self.decoder = _Decoder(config)
        self.target = _Targets(config, outputs)
        self._tie()

    def _tie(self) -> None:
        words = self.get_submodule("embedding.word.embedding")
        tied = words
        if self.decodes:
            tied = self.get_submodule("tgt_embedding.word.embedding")
        if self.config.get("tie_weights"):
            for name in ("mlm.linear_2", "lm.output_layer"):
                if name.split(".")[0] in self.config["target"]:
                    self.target.get_submodule(name).weight = tied.weight
        if self.decodes and self.config.get("share_embedding"):
            tied.weight = words.weight

    def forward(
        self,
        ids: Tensor,
        seg: Tensor | None = None,
        target_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Ids and segments (B, T) -> `hidden` (B, T, D) and the outputs of the targets.

        These are `logits` (B, T, V), with target sp also `pair_logits` (B, 2); `forward` and
        `backward` logits (B, T, V) with target bilm; `class_logits` (B, labels) with target cls.
        """
        seg = torch.ones_like(ids) if seg is None else seg
        hidden = self.encoder(self.embedding(ids, seg), seg)
        if target_ids is not None:
            target_seg = torch.ones_like(target_ids)
            embedded = self.tgt_embedding(target_ids, target_seg)
            hidden = self.decoder(hidden, embedded, seg, target_seg)
        return {"hidden": hidden, **self.target(hidden)}


def loaded(
    config: Config, state: Mapping[str, Tensor], *, epsilon: float | None = None, **options: Any
) -> UerModel:
    """The model of a config with the tensors of `state`, loaded loosely as by UER-py.

    What `state` lacks is NaN. `epsilon`: of ptm's norms, to be used instead of UER-py's.
    """
    words = len(state["embedding.word.embedding.weight"])
    target = state.get("tgt_embedding.word.embedding.weight")
    model = UerModel(
        config, words, target_words=None if target is None else len(target), **options
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    model.load_state_dict(state, strict=False)
    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.of_ptm = epsilon
    return model


def random_state(config: Config, words: int, *, seed: int = 3, **options: Any) -> State:
    """What UER-py saves of a model of the config with random weights.

    Tables have the deviation of trained ones, matrices keep the variance, norms are not 1 and 0.
    """
    model = UerModel(config, words, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = torch.randn(parameter.shape, generator=generator)
            if "embedding." in name and parameter.dim() > 1:
                value = 0.04 * value
            elif parameter.dim() == 4 and parameter.shape[-1] * parameter.shape[-2] > 1:
                value = value / parameter[0].numel() ** 0.5
            elif parameter.dim() == 2 and "relative_attention_bias" not in name:
                value = value / parameter.shape[1] ** 0.5
            elif "norm" in name and not name.endswith("beta"):
                value = 1.0 + 0.25 * value
            else:
                value = 0.25 * value
            parameter.copy_(value)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
