"""UER-py's recurrent encoders: torch's modules, with torch's names of the parameters.

rnn, lstm and gru have one module; birnn, bilstm and bigru have one per direction, each with half of
hidden_size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from ptm.components.encoders import Encoder
from ptm.interop.uer.encoders.base import EncoderFormat

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.components.recurrent_stack import RecurrentLayers
    from ptm.interop.uer.entries import StateDict

_PARAMETERS = {
    "input_weight": "weight_ih",
    "state_weight": "weight_hh",
    "input_bias": "bias_ih",
    "state_bias": "bias_hh",
}


class Recurrent(EncoderFormat):
    """A stack of recurrent layers, or two that read in opposite directions.

    `gates`: number of gates of a cell. `modules`: prefix of the parameters in `ptm` to the name of
    the module in UER-py, which is one for all layers.
    """

    def __init__(self, name: str, *, gates: int, modules: Mapping[str, str]) -> None:
        self.type = name
        self._gates = gates
        self._two_streams = len(modules) > 1
        self._modules = {prefix: f"encoder.{module}" for prefix, module in modules.items()}

    def block(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "type": self.type,
            "layers": config["layers_num"],
            "hidden_size": config["hidden_size"],
            **({} if self._two_streams else {"bidirectional": _is_bidirectional(config)}),
        }

    def config(self, encoder: Encoder) -> dict[str, Any]:
        stack = cast("RecurrentLayers", encoder)
        return {
            "encoder": self.type,
            "hidden_size": stack.hidden_size,
            "layers_num": stack.layers,
            **({"bidirectional": True} if getattr(stack, "bidirectional", False) else {}),
        }

    def from_uer(self, theirs: StateDict, config: Mapping[str, Any]) -> dict[str, Tensor]:
        return {ours: theirs.pop(name) for ours, name in self._names(config)}

    def to_uer(self, ours: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
        return {theirs: ours.pop(name) for name, theirs in self._names(config)}

    def describes(self, theirs: Mapping[str, Tensor]) -> bool:
        states = [theirs.get(f"{module}.weight_hh_l0") for module in self._modules.values()]
        return all(
            state is not None and state.dim() == 2 and len(state) == self._gates * state.shape[1]
            for state in states
        )

    def options_of(self, theirs: Mapping[str, Tensor]) -> dict[str, Any]:
        if self._two_streams:
            return {}
        reverse = [f"{module}.weight_hh_l0_reverse" for module in self._modules.values()]
        return {"bidirectional": any(name in theirs for name in reverse)}

    def _names(self, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the canonical and the UER-py name of every parameter."""
        directions = {"": ""}
        if not self._two_streams and _is_bidirectional(config):
            directions["reverse_"] = "_reverse"
        for prefix, module in self._modules.items():
            for index in range(config["layers_num"]):
                for direction, suffix in directions.items():
                    for ours, theirs in _PARAMETERS.items():
                        yield (
                            f"encoder_{index:02}.{prefix}{direction}{ours}",
                            f"{module}.{theirs}_l{index}{suffix}",
                        )


def _is_bidirectional(config: Mapping[str, Any]) -> bool:
    return bool(config.get("bidirectional", False))
