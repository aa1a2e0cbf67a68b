"""What a message about an unknown key or value proposes, for users who come from other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ptm.errors import closest
from ptm.recipe.former_keys import RENAMED_KEYS, RENAMED_VALUES
from ptm.recipe.keys import configs_in, recipe_keys
from ptm.recipe.names_of_others import ENCODER, SAME_MEANING, VALUES, WITHOUT_A_KEY


def any_key(dotted: str) -> bool:
    """Whether a recipe can have the key."""
    return dotted in recipe_keys()


def key_hint(
    path: Sequence[str], known: Iterable[str], *, exists: Callable[[str], bool] = any_key
) -> str:
    """What to write instead of the unknown key at `path`: a sentence that begins with a space.

    `known` are the keys of the block that the key was found in. `exists`: whether the recipe can
    have a key, with the types that it chooses. The first that applies: the new
    name of a former key, the key of the same meaning, the key of that name in another block, a key
    of the block with almost the same letters, all keys of the block.
    """
    choices = sorted(known)
    dotted, name = ".".join(path), path[-1]
    renamed = RENAMED_KEYS.get(dotted)
    if renamed in choices:
        return f' It is called "{".".join((*path[:-1], renamed))}" now.'
    misspelled = closest(name.lower().replace("-", "_"), choices)
    found = _same_meaning(path, choices, exists) or (
        "" if misspelled else _elsewhere(path[:-1], name, exists) or ""
    )
    if found:
        return found
    if misspelled:
        return f' Did you mean "{misspelled}"?'
    return f" Keys of this block: {', '.join(choices)}." if choices else ""


def value_hint(path: Sequence[str], value: str, known: Iterable[str]) -> str:
    """What to write instead of the unknown word `value` at `path`, as in `key_hint`."""
    choices = sorted(known)
    dotted = ".".join(path).replace("model.decoder.", f"{ENCODER}.")
    renamed = RENAMED_VALUES.get(dotted, {}).get(value)
    if renamed in choices:
        return f' It is called "{renamed}" now.'
    same = VALUES.get(dotted, {}).get(value.lower())
    if same is not None:
        return f" The nearest is {same}."
    misspelled = closest(value.lower(), choices)
    if misspelled:
        return f' Did you mean "{misspelled}"?'
    return f" Choose one of: {', '.join(choices)}." if choices else ""


def _same_meaning(
    path: Sequence[str], choices: Sequence[str], exists: Callable[[str], bool]
) -> str | None:
    """The key that has the meaning of another tool's `path[-1]`."""
    name = path[-1].lower().replace("-", "_")
    targets = [target for target, names in SAME_MEANING.items() if name in names]
    for target in targets:
        *block, last = target.split(".")
        # The decoder has most keys of the encoder; a block's own key comes without its path.
        if last in choices and (path[0] == block[0] if len(path) > 1 else not block):
            return f' Did you mean "{last}"?'
    existing = [target for target in targets if exists(target)]
    if existing:
        return f' Did you mean "{existing[0]}"?'
    if targets:
        return f' "{targets[0]}" has this meaning, but not with the types chosen in this recipe.'
    for sentence, names in WITHOUT_A_KEY.items():
        if name in names:
            return f" {sentence}"
    return None


def _elsewhere(block: Sequence[str], name: str, exists: Callable[[str], bool]) -> str | None:
    """The key of the same name in another block; of several, the least deep one."""
    here = ".".join(block)
    paths = [
        dotted
        for dotted, key in recipe_keys().items()
        if key.path[-1] == name
        and ".".join(key.path[:-1]) != here
        and name != "type"
        # A block of the recipe shares its name with a key by chance: `tokenizer.model`.
        and (len(key.path) > 1 or not any(True for _ in configs_in(key.field.annotation)))
        and exists(dotted)
    ]
    if not paths:
        return None
    # `init_from.layers` chooses layers of another model; the model's own key is the likelier one.
    likeliest = min(paths, key=lambda one: (one.startswith("init_from"), one.count(".")))
    level = "" if "." in likeliest else "the top-level key "
    return f' Did you mean {level}"{likeliest}"?'
