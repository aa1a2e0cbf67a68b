"""What pydantic says about a value, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, ValidationError

TEXT = "text"
_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("string_type", "string_unicode"), TEXT),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    "int_parsing_size": "a number with fewer digits",
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type", "dataclass_type", "mapping_type"),
        "a block of keys",
    ),
    "none_required": "null",
}
"""Kind of a pydantic error -> the type that a value must have."""
_RULES: Mapping[str, str] = {
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "missing": "is required and missing",
    "extra_forbidden": "is an unknown key",
    "invalid_key": "has a key that is not text",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "json_invalid": "is not JSON: {error}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "lacks the key {discriminator}",
}
"""Kind of a pydantic error -> what is wrong, with the values of its context."""
_FORMS: dict[str, str] = {}
"""Pattern of `text_of` -> the words that describe it."""


def text_of(pattern: str, words: str) -> Any:
    """A field of pydantic whose text matches `pattern`. `words` follow "must" in messages."""
    _FORMS[pattern] = words
    return Field(pattern=pattern)


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """What follows the name of a value in a message: "must be a whole number".

    `error`: an entry of `ValidationError.errors()`.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    if kind == "string_pattern_mismatch":
        return f"must {_FORMS.get(context['pattern'], 'have another form')}"
    if kind in _RULES:
        return _RULES[kind].format(**{name: _shown(value) for name, value in context.items()})
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.rstrip(".")


def _shown(value: Any) -> Any:
    """A limit as it is in a recipe: 0 rather than 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def wrong_types(errors: Iterable[Mapping[str, Any]]) -> str | None:
    """What is wrong if no member of a union accepts a value: "must be text or a list".

    None unless each of the errors is a wrong type.
    """
    kinds = [error["type"] for error in errors]
    if not kinds or not set(kinds) <= set(_TYPES):
        return None
    return "must be " + " or ".join(dict.fromkeys(_TYPES[kind] for kind in kinds))


def first_problem(error: ValidationError) -> str:
    """The first problem of an error as `dotted.key: must be a whole number`."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    what = what_is_wrong(first)
    return f"{key}: {what}" if key else what
