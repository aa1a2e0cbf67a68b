"""The base class of all adapters: a frozen config that adds trainable matrices to a plan."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptm.component import Config
from ptm.plan import Plan

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LowRankUpdate:
    """The update `scale` B A of the rows `start` to `start + count` of a weight.

    `a`, `b`: the canonical names of A (r, K) and B (count, r). `part`: what these rows compute
    (`query`), for a weight that holds several maps one after the other.
    """

    part: str
    start: int
    count: int
    a: str
    b: str
    scale: float

    def delta(self, a: Tensor, b: Tensor) -> Tensor:
        """A (r, K), B (count, r) -> what is added to the rows (count, K)."""
        return self.scale * (b @ a)


class Adapter(Config):
    """What is trained besides the head; all other weights keep the values of `init_from`."""

    type: str

    @abstractmethod
    def adapted(self, plan: Plan) -> Plan:
        """`plan` with the adapter's parameters. Raises UserError if nothing can be adapted."""

    @abstractmethod
    def updates(self, adapted: Plan) -> Mapping[str, tuple[LowRankUpdate, ...]]:
        """The updates of each adapted weight by its canonical name, for an adapted plan."""

    def names(self, adapted: Plan) -> frozenset[str]:
        """The canonical names of the adapter's own parameters, for an adapted plan."""
        return frozenset(
            name
            for updates in self.updates(adapted).values()
            for update in updates
            for name in (update.a, update.b)
        )

    def frozen(self, adapted: Plan, *, head_is_pretrained: bool) -> frozenset[str]:
        """The parameters of an adapted plan that are not trained, by canonical name.

        These are all parameters of embeddings and layers but the adapter's, and those of the head
        if pretraining has trained it. The word embedding stays frozen if a new head reads it.
        """
        last = max(index for index, step in enumerate(adapted.operations) if step.block)
        body = {step.key for step in adapted.operations[: last + 1]}
        # The norm after the last layer.
        body |= {
            step.key for step in adapted.operations if step.key.startswith(("encoder", "decoder"))
        }
        own = self.names(adapted)
        return frozenset(
            name
            for name in adapted.parameter_shapes
            if name not in own and (head_is_pretrained or name.partition(".")[0] in body)
        )
