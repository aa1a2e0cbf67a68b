"""The data of a recipe and the line of each key: a YAML file and KEY=VALUE overrides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ptm.errors import UserError
from ptm.files.bundled import bundled
from ptm.files.user_files import read_text
from ptm.limits import (
    LARGEST_INTEGER,
    MOST_RECIPE_ALIASES,
    MOST_RECIPE_BYTES,
    MOST_RECIPE_DEPTH,
    MOST_RECIPE_VALUES,
)

Key = tuple[str | int, ...]

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
"""No path and no other text of a recipe can hold a NUL or half of a surrogate pair."""


class _NotPlainError(YAMLError):
    """YAML that recipes do not support; `problem` describes it, `problem_mark` is its place."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        self.problem, self.problem_mark = problem, mark


def _composed(text: str) -> Node | None:
    """The nodes of one YAML 1.2 document: `1e-4` is a number, `no` is a word. Raises YAMLError.

    Tags and directives change the type of a value; depth and aliases make reading expensive. All of
    them are checked in the parser's events, before anything is built.
    """
    depth = aliases = 0
    anchors: set[str] = set()
    for event in _events(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        aliases += isinstance(event, AliasEvent)
        problem = None
        if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
            problem = "a directive (%YAML, %TAG), which recipes do not support. Remove it"
        elif getattr(event, "tag", None) is not None:
            problem = f"the tag {event.tag}, which recipes do not support. Remove it"
        elif not isinstance(event, AliasEvent) and getattr(event, "anchor", None) in anchors:
            problem = f"the anchor &{event.anchor} twice. Rename the second one"
        elif depth > MOST_RECIPE_DEPTH:
            problem = f"blocks nested more than {MOST_RECIPE_DEPTH} deep"
        elif aliases > MOST_RECIPE_ALIASES:
            problem = f"more than {MOST_RECIPE_ALIASES} aliases (*name)"
        if problem is not None:
            raise _NotPlainError(problem, event.start_mark)
        if getattr(event, "anchor", None):
            anchors.add(event.anchor)
    root: Node | None = YAML(typ="safe", pure=True).compose(text)
    return root


def is_text(value: str) -> bool:
    """Whether `value`, written without quotes, is read as text and not as a number or a block."""
    try:
        node = _composed(value)
    except YAMLError:
        return False
    return node is not None and node.tag == "tag:yaml.org,2002:str"


def _events(text: str) -> Iterator[Any]:
    """The events of the parser. Raises YAMLError."""
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except (ValueError, OverflowError) as error:
        # An escape that is not a character.
        raise YAMLError(str(error)) from error


class RecipeSource:
    """The data of a recipe and the place where each key was written."""

    def __init__(
        self, data: dict[str, Any], name: str, lines: Mapping[Key, int], text: str = ""
    ) -> None:
        self.data = data
        self.text = text
        self._name = name
        self._lines = lines
        self._overrides: list[tuple[Key, str]] = []

    @classmethod
    def read(cls, path: str) -> RecipeSource:
        """Read a recipe file. Raises UserError if it cannot be read or is not a mapping."""
        if path.startswith("recipes/") and not Path(path).exists() and bundled(path) is not None:
            name = PurePosixPath(path).relative_to("recipes").with_suffix("")
            raise UserError(
                f"{path}: there is no such file here. It comes with ptm: copy it with "
                f"`ptm recipes --copy {name}`."
            )
        return cls.parse(read_text(path, most=MOST_RECIPE_BYTES), path)

    @classmethod
    def parse(cls, text: str, path: str) -> RecipeSource:
        """The source of a recipe's text; `path` is used in messages.

        Raises UserError if it is not a mapping.
        """
        try:
            node = _composed(text)
        except _NotPlainError as error:
            line = error.problem_mark.line + 1
            raise UserError(f"{path}:{line}: the recipe has {error.problem}.") from error
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
            raise UserError(f"{path}{line}: the file is not valid YAML: {what}.") from error
        if not isinstance(node, MappingNode):
            raise UserError(f"{path}: the file is not a recipe: it has no `key: value` lines.")
        lines: dict[Key, int] = {}
        data = _constructed(node, (), lines, path)
        return cls(data, path, lines, text)

    def override(self, argument: str) -> None:
        """Apply one KEY=VALUE. Raises UserError if it is not of that form."""
        dotted, equals, text = argument.partition("=")
        if not equals or not dotted:
            raise UserError(f'"{argument}": expected KEY=VALUE, for example train.steps=200.')
        try:
            node = _composed(text)
        except _NotPlainError as error:
            raise UserError(f'"{argument}": the value has {error.problem}.') from error
        except YAMLError as error:
            raise UserError(f'"{argument}": the value is not valid YAML.') from error
        value = None if node is None else _constructed(node, (), {}, f'"{argument}"')
        keys = dotted.split(".")
        block: Any = self.data
        for depth, key in enumerate(keys[:-1], start=1):
            inner = block.get(key)
            if inner is None:
                inner = block[key] = {}
            if not isinstance(inner, dict):
                raise UserError(
                    f'"{argument}": {".".join(keys[:depth])} is {inner!r}, which has no keys.'
                )
            block = inner
        block[keys[-1]] = value
        self._overrides.append((tuple(keys), argument))

    def where(self, key: Key, message: str = "") -> str:
        """`file:line: `, or the override that set `key` or its nearest parent, as a prefix.

        `message`: what is wrong with a block. Of the overrides inside the block, one of a field
        that it names takes precedence.
        """
        found = [
            (path, argument)
            for path, argument in reversed(self._overrides)
            if (shared := min(len(path), len(key))) and path[:shared] == key[:shared]
        ]
        words = set(re.findall(r"\w+", message))
        named = [one for one in found if len(one[0]) <= len(key) or one[0][len(key)] in words]
        if found:
            return f'"{(named or found)[0][1]}": '
        for length in range(len(key), -1, -1):
            if key[:length] in self._lines:
                return f"{self._name}:{self._lines[key[:length]]}: "
        return f"{self._name}: "


def _constructed(
    node: Node, at: Key, lines: dict[Key, int], path: str, around: tuple[int, ...] = ()
) -> Any:
    """Python data of a node. Records the line of every key; `around`: ids of enclosing nodes."""
    where = f"{_place(path, node.start_mark.line + 1)}: "
    if len(lines) > MOST_RECIPE_VALUES:
        raise UserError(
            f"{where}the recipe has more than {MOST_RECIPE_VALUES:,} values after the expansion "
            "of aliases (*name)."
        )
    if id(node) in around:
        raise UserError(f"{where}{'.'.join(map(str, at))} contains itself.")
    around = (*around, id(node))
    if isinstance(node, MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                raise UserError(f"{_place(path, line)}: a key is not a plain word.")
            key = str(key_node.value)
            if _UNUSABLE.search(key):
                raise UserError(
                    f"{_place(path, line)}: a key contains a NUL or a lone surrogate. Remove it."
                )
            if key in data:
                first = lines[(*at, key)]
                dotted = ".".join(map(str, (*at, key)))
                raise UserError(
                    f"{_place(path, line)}: {dotted} is given twice (first in line {first}). "
                    "Remove one of them."
                )
            lines[(*at, key)] = line
            data[key] = _constructed(value_node, (*at, key), lines, path, around)
        return data
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
        return [_constructed(v, (*at, i), lines, path, around) for i, v in enumerate(node.value)]
    try:
        value = YAML(typ="safe", pure=True).constructor.construct_object(node)
    except (YAMLError, ValueError, OverflowError) as error:
        raise UserError(f"{where}cannot be read as a value: {error}.") from error
    dotted = ".".join(map(str, at)) or "the value"
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise UserError(f"{where}{dotted}: the number is larger than {LARGEST_INTEGER}.")
    if isinstance(value, str) and _UNUSABLE.search(value):
        raise UserError(f"{where}{dotted}: the text contains a NUL or a lone surrogate. Remove it.")
    return value


def _place(source: str, line: int) -> str:
    """`file:line`; an override, which is in quotes, has no lines."""
    return source if source.startswith('"') else f"{source}:{line}"
