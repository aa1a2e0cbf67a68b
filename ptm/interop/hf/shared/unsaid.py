"""What a family's config has no key for."""

from __future__ import annotations

from collections.abc import Collection

from ptm.component import Config


def unsaid(part: Config, name: str, *, said: Collection[str]) -> str | None:
    """The first option of `part` that is not at its default and not among `said`, as a reason.

    So an option that is added later is refused by every family that does not know it.
    """
    for key, field in type(part).model_fields.items():
        value = getattr(part, key)
        if key not in said and not field.is_required() and value != field.default:
            return f"it has {name}.{key} = {value}"
    return None
