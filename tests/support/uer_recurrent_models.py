"""UER-py's recurrent and convolutional models, a second implementation with its parameter names.

The names are those of `encoders/rnn_encoder.py`, `encoders/cnn_encoder.py` and `targets/`. The
recurrent layers are torch's modules, as there; the convolutions are those of `nn.functional`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.uer_models import State

RECURRENT = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
TWO_STREAMS = {f"bi{name}": module for name, module in RECURRENT.items()}
LABELS = 3
_SIZES: dict[str, Any] = {
    "emb_size": 12,
    "hidden_size": 16,
    "layers_num": 3,
    "max_seq_length": 64,
    "dropout": 0.1,
    "embedding": ["word"],
    "remove_embedding_layernorm": True,
}


def config_of(encoder: str, *, target: str = "lm", **options: Any) -> dict[str, Any]:
    """A config as in UER-py's models/rnn and models/cnn, with small sizes."""
    convolution = {"kernel_size": 4, "block_size": 2} if encoder == "gatedcnn" else {}
    both = {"bidirectional": True} if encoder in RECURRENT else {}
    masked = {**both, "factorized_embedding_parameterization": True}
    return {
        **_SIZES,
        **convolution,
        **(masked if target in ("mlm", "bert") else {}),
        **({"labels_num": LABELS, "pooling": "max"} if target == "cls" else {}),
        "data_processor": target,
        "encoder": encoder,
        "target": ["mlm", "sp"] if target == "bert" else [target],
        **options,
    }


def fine_tuned(state: State) -> State:
    """The state dict of a classifier as UER-py's run_classifier.py names it."""
    return {
        name.replace("target.cls.linear_", "output_layer_"): tensor
        for name, tensor in state.items()
    }


class _GatedCnn(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        inputs, width, kernel = config["emb_size"], config["hidden_size"], config["kernel_size"]
        self.kernel, count = kernel, config["layers_num"] - 1
        for part in ("conv", "gate"):
            self.add_module(f"{part}_1", nn.Conv2d(1, width, (kernel, inputs)))
            self.register_parameter(f"{part}_b1", nn.Parameter(torch.empty(1, width, 1, 1)))
            layers = [nn.Conv2d(width, width, (kernel, 1)) for _ in range(count)]
            self.add_module(part, nn.ModuleList(layers))
            biases = [nn.Parameter(torch.empty(1, width, 1, 1)) for _ in range(count)]
            self.add_module(f"{part}_b", nn.ParameterList(biases))

    def forward(self, embedded: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        state = dict(self.named_parameters())
        weights = {p: state[f"{p}_1.weight"][:, 0].transpose(1, 2) for p in ("conv", "gate")}
        biases = {p: state[f"{p}_1.bias"] + state[f"{p}_b1"].flatten() for p in weights}
        hidden = carried = self._layer(embedded.transpose(1, 2), weights, biases)
        for index in range(len(self.get_submodule("conv"))):  # type: ignore[arg-type]
            weights = {p: state[f"{p}.{index}.weight"][..., 0] for p in weights}
            biases = {
                p: state[f"{p}.{index}.bias"] + state[f"{p}_b.{index}"].flatten() for p in weights
            }
            hidden = self._layer(hidden, weights, biases)
            if index % 2:
                hidden = carried = hidden + carried
        return hidden.transpose(1, 2)

    def _layer(self, x: Tensor, weights: dict[str, Tensor], biases: dict[str, Tensor]) -> Tensor:
        padded = F.pad(x, (self.kernel - 1, 0))
        value, gate = (F.conv1d(padded, weights[p], biases[p]) for p in ("conv", "gate"))
        return value * gate.sigmoid()


# Of one text without padding, (B, T, D) -> (B, D).
_POOLINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "first": lambda hidden: hidden[:, 0],
    "last": lambda hidden: hidden[:, -1],
    "mean": lambda hidden: hidden.mean(dim=1),
    "max": lambda hidden: hidden.amax(dim=1),
}


class _Norm(nn.Module):
    def __init__(self, width: int, *, over_n_minus_1: bool) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.empty(width)), nn.Parameter(torch.empty(width))
        self.over_n_minus_1 = over_n_minus_1

    def forward(self, x: Tensor) -> Tensor:
        deviation = x.std(-1, keepdim=True, correction=int(self.over_n_minus_1))
        deviation = deviation + (1e-6 if self.over_n_minus_1 else 0.0)
        normal: Tensor = self.gamma * (x - x.mean(-1, keepdim=True)) / deviation
        return normal + self.beta


class UerModel(nn.Module):
    """A model of a config.

    `over_n_minus_1`: whether norms use the deviation over n - 1, plus 1e-6, as UER-py's do, or the
    deviation over n.
    """

    def __init__(
        self, config: Mapping[str, Any], *, words: int, over_n_minus_1: bool = True
    ) -> None:
        super().__init__()
        embedded, width = config["emb_size"], config["hidden_size"]
        targets = config["target"]
        self.config = config
        self.embedding = nn.ModuleDict(
            {"word": nn.ModuleDict({"embedding": nn.Embedding(words, embedded)})}
        )
        self.encoder = nn.Module()
        if config["encoder"] == "gatedcnn":
            self.encoder = _GatedCnn(config)
        elif config["encoder"] in TWO_STREAMS:
            for side in ("forward", "backward"):
                stream = TWO_STREAMS[config["encoder"]](
                    embedded, width // 2, config["layers_num"], batch_first=True
                )
                self.encoder.add_module(f"rnn_{side}", stream)
        else:
            both = config.get("bidirectional", False)
            self.encoder.rnn = RECURRENT[config["encoder"]](
                embedded,
                width // 2 if both else width,
                config["layers_num"],
                batch_first=True,
                bidirectional=both,
            )
        self.target = nn.ModuleDict()
        if "lm" in targets:
            self.target["lm"] = nn.ModuleDict(
                {
                    "output_layer": nn.Linear(
                        width, words, bias=config.get("has_lmtarget_bias", False)
                    )
                }
            )
        if "bilm" in targets:
            layer = nn.Linear(width // 2, words, bias=config.get("has_lmtarget_bias", False))
            self.target["bilm"] = nn.ModuleDict({"output_layer": layer})
        if "cls" in targets:
            last = nn.Linear(width, config["labels_num"])
            self.target["cls"] = nn.ModuleDict(
                {"linear_1": nn.Linear(width, width), "linear_2": last}
            )
        if "mlm" in targets:
            self.target["mlm"] = nn.ModuleDict(
                {
                    "linear_1": nn.Linear(width, embedded),
                    "layer_norm": _Norm(embedded, over_n_minus_1=over_n_minus_1),
                    "linear_2": nn.Linear(embedded, words),
                }
            )
        if "sp" in targets:
            self.target["sp"] = nn.ModuleDict(
                {"linear_1": nn.Linear(width, width), "linear_2": nn.Linear(width, 2)}
            )

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        """(B, T) -> `hidden` (B, T, D) and the outputs of the targets.

        These are `logits` (B, T, V), with target sp also `pair_logits` (B, 2); `forward` and
        `backward` logits (B, T, V) with target bilm; `class_logits` (B, labels) with target cls.
        """
        hidden = self._hidden(ids)
        return {"hidden": hidden, **self._outputs(hidden)}

    def _hidden(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.get_submodule("embedding.word.embedding")(ids)
        if self.config["encoder"] == "gatedcnn":
            convolved: Tensor = self.encoder(embedded)
            return convolved
        if self.config["encoder"] in TWO_STREAMS:
            forward, _ = self.encoder.get_submodule("rnn_forward")(embedded)
            backward, _ = self.encoder.get_submodule("rnn_backward")(embedded.flip(1))
            return torch.cat((forward, backward.flip(1)), dim=-1)
        hidden: Tensor = self.encoder.get_submodule("rnn")(embedded)[0]
        return hidden

    def _outputs(self, hidden: Tensor) -> dict[str, Tensor]:
        module = self.get_submodule
        if "lm" in self.target:
            return {"logits": module("target.lm.output_layer")(hidden)}
        if "bilm" in self.target:
            halves = zip(("forward", "backward"), hidden.chunk(2, dim=-1), strict=True)
            return {side: module("target.bilm.output_layer")(half) for side, half in halves}
        if "cls" in self.target:
            pooled = _POOLINGS[self.config["pooling"]](hidden)
            pooled = torch.tanh(module("target.cls.linear_1")(pooled))
            return {"class_logits": module("target.cls.linear_2")(pooled)}
        predicted = F.gelu(module("target.mlm.linear_1")(hidden))
        predicted = module("target.mlm.layer_norm")(predicted)
        found = {"logits": module("target.mlm.linear_2")(predicted)}
        if "sp" in self.target:
            pooled = torch.tanh(module("target.sp.linear_1")(hidden[:, 0]))
            found["pair_logits"] = module("target.sp.linear_2")(pooled)
        return found


def random_state(config: Mapping[str, Any], words: int) -> State:
    """Random tensors with the names and shapes of the config's model."""
    model = UerModel(config, words=words)
    generator = torch.Generator().manual_seed(3)
    return {
        name: 0.4 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in model.state_dict().items()
    }


def logits_of(
    config: Mapping[str, Any], state: State, ids: Tensor, *, over_n_minus_1: bool = True
) -> dict[str, Tensor]:
    """The outputs of UER-py's model for ids (B, T)."""
    words = len(state["embedding.word.embedding.weight"])
    model = UerModel(config, words=words, over_n_minus_1=over_n_minus_1).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        found: dict[str, Tensor] = model(ids)
    return found
