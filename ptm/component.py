"""Components: frozen pydantic configs that build parts of a model, found by scanning packages."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from ptm.limits import MOST_LAYERS, MOST_POSITIONS, MOST_SPAN, MOST_WIDTH

PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
NonNegativeInt = Annotated[int, Field(ge=0, lt=2**31)]
LayerCount = Annotated[int, Field(gt=0, le=MOST_LAYERS)]
LayerSize = Annotated[int, Field(gt=0, le=MOST_WIDTH)]
SpanLength = Annotated[int, Field(gt=0, le=MOST_SPAN)]
PositionCount = Annotated[int, Field(gt=0, le=MOST_POSITIONS)]
RowLength = Annotated[int, Field(ge=4, le=MOST_POSITIONS)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# Accepts the lists of YAML for the tuples of the frozen configs.
Listed = Strict(False)


class Config(BaseModel):
    """A frozen part of a recipe. Unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError(
                        "unknown_key",
                        'unknown key "{key}"',
                        {"key": str(key), "known": tuple(cls.model_fields)},
                    )
        return data


T = TypeVar("T")
C = TypeVar("C", bound=Config)


def classes_in(package: str, base: type[T]) -> list[type[T]]:
    """The concrete subclasses of `base` that the modules of `package` define, module by module."""
    return [one for one in _own_classes(package, base) if not inspect.isabstract(one)]


def _own_classes(package: str, base: type[T]) -> list[type[T]]:
    found: list[type[T]] = []
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for _, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ == module.__name__ and issubclass(member, base):
                found.append(member)
    return found


def members(package: str, base: type[C], *, tag: str = "type") -> dict[str, type[C]]:
    """The configs of `package` by the literal of their field `tag`.

    Classes without a literal there, such as the base class, are skipped.
    """
    found: dict[str, type[C]] = {}
    for member in _own_classes(package, base):
        field = member.model_fields.get(tag)
        if field is not None and get_origin(field.annotation) is Literal:
            lacking = sorted(getattr(member, "__abstractmethods__", ())) or _unset(member)
            assert not lacking, f"{member.__module__}.{member.__name__} lacks {lacking}"
            found[get_args(field.annotation)[0]] = member
    return dict(sorted(found.items()))


def _unset(member: type[Config]) -> list[str]:
    """Class variables that a base class declares and `member` does not set."""
    names = {
        name
        for one in member.__mro__
        for name, annotation in vars(one).get("__annotations__", {}).items()
        if str(annotation).startswith("ClassVar")
    }
    return sorted(name for name in names if not hasattr(member, name))


def union_of(package: str, base: type[Config], *, tag: str = "type") -> Any:
    """The union of all configs of `package`, discriminated by the field `tag`."""
    classes = tuple(members(package, base, tag=tag).values())
    if len(classes) == 1:
        return classes[0]
    return Annotated[Union[classes], Field(discriminator=tag)]  # noqa: UP007
