"""Models that came without the head that their objective has: encoders alone."""

from __future__ import annotations

from collections.abc import Collection

from ptm.components.objectives import Objective
from ptm.components.objectives.next_token import LmHead
from ptm.errors import UserError


def is_headless(names: Collection[str], objective: Objective, *, source: str) -> bool:
    """Whether a model, by its tensors' canonical names, lacks the head that predicts tokens.

    A head that predicts the next token may have no tensor of its own. Raises UserError where a
    model has a head of sentence pairs alone, with which no format holds it.
    """
    head = getattr(objective, "head", None)
    if isinstance(head, LmHead):
        # A tied one has nothing of its own.
        return not head.tied and "lm_unembed.weight" not in names
    if any(name.startswith("mlm_") for name in names):
        return False
    if "pair_classifier.weight" in names:
        raise UserError(
            f"{source}: has a head of sentence pairs, but none of masked tokens; it can be "
            "exported with both or with neither."
        )
    return True
