"""The base class of all encoder formats: how UER-py configures and stores one kind of encoder."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptm.components.encoders import Encoder
from ptm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.interop.uer.entries import StateDict


class EncoderFormat(ABC):
    """One kind of encoder: keys of its config, and names and shapes of its tensors.

    Embedding and target are configured and stored in the same way for every encoder.
    """

    type: str
    """The value of `model.encoder.type`."""

    @abstractmethod
    def block(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `model.encoder` block without the options that the head shares.

        Raises KeyError for a missing size, UserError for an option that is not supported.
        """

    @abstractmethod
    def config(self, encoder: Encoder) -> dict[str, Any]:
        """Return the config keys of an encoder of this kind.

        Options that UER-py does not have are left out; `ptm.interop.uer.expressible` finds them.
        """

    @abstractmethod
    def from_uer(self, theirs: StateDict, config: Mapping[str, Any]) -> dict[str, Tensor]:
        """Remove the encoder's tensors from a state dict and return them by canonical name.

        A missing one is added to `theirs.missing` or raises KeyError. Raises UserError if one has a
        wrong shape.
        """

    @abstractmethod
    def to_uer(self, ours: dict[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
        """Remove the encoder's tensors from canonical ones and return them by UER-py's names."""

    def describes(self, theirs: Mapping[str, Tensor]) -> bool:
        """Whether a state dict has an encoder of this kind; called if no config says which."""
        return False

    def options_of(self, theirs: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return config keys that are command-line options in UER-py, inferred from tensors."""
        return {}


def check_supported(config: Mapping[str, Any], only: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise UserError naming the first key of `only` whose value is not listed there."""
    for key, supported in only.items():
        if key in config and config[key] not in supported:
            raise UserError(
                f"{key} = {json.dumps(config[key])} is not supported. Supported: "
                f"{' or '.join(json.dumps(value) for value in supported)}."
            )
