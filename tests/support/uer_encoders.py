"""The recurrent and convolutional encoders of UER-py, a second implementation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.uer_layers import Config

RECURRENT = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
TWO_STREAMS = {f"bi{name}": module for name, module in RECURRENT.items()}


class Recurrent(nn.Module):
    """One module of torch, or two that read in opposite directions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        kind, width, inputs = config["encoder"], config["hidden_size"], config["emb_size"]
        self.two_streams = kind in TWO_STREAMS
        both, count = config.get("bidirectional", False), config["layers_num"]
        if self.two_streams:
            self.rnn_forward = TWO_STREAMS[kind](inputs, width // 2, count, batch_first=True)
            self.rnn_backward = TWO_STREAMS[kind](inputs, width // 2, count, batch_first=True)
        else:
            self.rnn = RECURRENT[kind](
                inputs,
                width // 2 if both else width,
                count,
                batch_first=True,
                bidirectional=both,
            )

    def forward(self, x: Tensor, seg: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, D)."""
        if self.two_streams:
            forward, _ = self.rnn_forward(x)
            backward, _ = self.rnn_backward(x.flip(1))
            return torch.cat((forward, backward.flip(1)), dim=-1)
        found: Tensor = self.rnn(x)[0]
        return found


class GatedCnn(nn.Module):
    """Gated convolutions, each with a bias of its module and one more."""

    def __init__(self, config: Config) -> None:
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

    def forward(self, embedded: Tensor, seg: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, D)."""
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
