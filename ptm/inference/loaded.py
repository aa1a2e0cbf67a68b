"""A model with given weights, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.model.plain import PlainModel, empty_model
from ptm.plan import Plan


def loaded_model(plan: Plan, weights: Mapping[str, Tensor], *, source: str) -> PlainModel:
    """The plan's model with `weights`, in evaluation mode. Raises UserError where some do not fit.

    Weights that the plan has no place for are left out.
    """
    model = empty_model(plan).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name not in weights:
                raise UserError(f"{source}: has no weights for {name}.")
            if weights[name].shape != parameter.shape:
                raise UserError(
                    f"{source}: {name} has the shape {tuple(weights[name].shape)}, its recipe says "
                    f"{tuple(parameter.shape)}."
                )
            parameter.copy_(weights[name])
    return model
