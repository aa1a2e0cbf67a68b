"""Components: frozen pydantic configs that build a part of a model, found by scanning a package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from ptm.errors import nearest

PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# YAML has lists only; the frozen configs keep tuples.
Listed = Strict(False)


class Config(BaseModel):
    """A frozen part of a recipe. Unknown keys are errors that name the nearest valid one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key.{hint}",
                        {"key": str(key), "hint": nearest(str(key), cls.model_fields)},
                    )
        return data


C = TypeVar("C", bound=Config)


def members(package: str, base: type[C]) -> dict[str, type[C]]:
    """The subclasses of `base` in the modules of `package`, by the literal of their `type`."""
    found: dict[str, type[C]] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{module_info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ != module.__name__ or not issubclass(member, base):
                continue
            field = member.model_fields.get("type")
            if field is not None and get_origin(field.annotation) is Literal:
                found[get_args(field.annotation)[0]] = member
    return dict(sorted(found.items()))


def union_of(package: str, base: type[Config]) -> Any:
    """The discriminated union (on `type`) of all components of `package`: one file each."""
    classes = tuple(members(package, base).values())
    if len(classes) == 1:
        return classes[0]
    return Annotated[Union[classes], Field(discriminator="type")]  # noqa: UP007
