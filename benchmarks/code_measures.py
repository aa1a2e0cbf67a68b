"""Measure the structure of the code: `python benchmarks/code_measures.py [FOLDER] [--json]`.

Measures sizes of files and functions, repeated lines, flat folders, and functions that take a whole
recipe but read at most two of its blocks, without importing the code. `--walk RECIPE
[KEY=VALUE ...]` instead preprocesses and trains one step, and counts the modules that the program
enters on the way from the text to the gradient, and how often it enters them.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SMALL = 50
_REPEATED = 6
"""Number of consecutive equal lines that count as repeated."""
_BLOCKS = 2
_NOT_COUNTED = ("#", "import ", "from ", ")", "]", "}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("ptm"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--walk", nargs="+", metavar="RECIPE")
    parsed = parser.parse_args()
    found = walk(parsed.walk) if parsed.walk else measures(parsed.folder)
    if parsed.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:52} {value}")
    return 0


def measures(folder: Path) -> dict[str, Any]:
    """Name -> value of each static measure."""
    paths = sorted(folder.rglob("*.py"))
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    lines = {path: len(text.splitlines()) for path, text in sources.items()}
    modules = {path: count for path, count in lines.items() if path.name != "__init__.py"}
    functions = [one for text in sources.values() for one in _functions(ast.parse(text))]
    lengths = sorted(end - begin + 1 for _, begin, end in functions)
    flat = Counter(path.parent for path in modules)
    largest, files = flat.most_common(1)[0]
    whole, few = _takes_recipes(functions)
    return {
        "files": len(paths),
        "lines": sum(lines.values()),
        "median file": statistics.median(modules.values()),
        "largest file": max(modules.values()),
        f"modules under {_SMALL} lines": sum(count < _SMALL for count in modules.values()),
        "modules": len(modules),
        "function p90 / longest": f"{lengths[int(0.9 * len(lengths))]} / {lengths[-1]}",
        "repeated lines, %": round(100 * _repeated(sources), 2),
        "largest flat folder": f"{largest.as_posix()} ({files})",
        "folders with more than 20 modules": sum(count > 20 for count in flat.values()),
        "functions that take a whole recipe": whole,
        f"functions of these that read at most {_BLOCKS} blocks": few,
    }


def _functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node, node.lineno, node.end_lineno or node.lineno


def _takes_recipes(functions: list[tuple[ast.FunctionDef, int, int]]) -> tuple[int, int]:
    """Count functions with a parameter of type Recipe, and those that read few of its blocks.

    A function that passes the recipe to another one counts as reading all blocks.
    """
    whole = few = 0
    for node, _, _ in functions:
        arguments = [*node.args.args, *node.args.kwonlyargs]
        named = [
            argument.arg
            for argument in arguments
            if argument.annotation is not None and ast.unparse(argument.annotation) == "Recipe"
        ]
        for name in named:
            whole += 1
            uses = [one for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == name]
            attributes = [
                one.attr
                for one in ast.walk(node)
                if isinstance(one, ast.Attribute)
                and isinstance(one.value, ast.Name)
                and one.value.id == name
            ]
            few += len(attributes) == len(uses) and len(set(attributes)) <= _BLOCKS
    return whole, few


def _repeated(sources: dict[Path, str]) -> float:
    """The share of lines within a run of `_REPEATED` lines that occurs more than once.

    Blank lines, comments, imports and closing brackets do not count.
    """
    runs: dict[tuple[str, ...], list[tuple[Path, int]]] = {}
    total = 0
    for path, text in sources.items():
        kept = [
            line.strip()
            for line in text.splitlines()
            if line.strip()
            and not line.strip().startswith(("#", "import ", "from ", ")", "]", "}"))
        ]
        total += len(kept)
        for at in range(len(kept) - _REPEATED + 1):
            runs.setdefault(tuple(kept[at : at + _REPEATED]), []).append((path, at))
    again = {
        (path, at + offset)
        for places in runs.values()
        if len(places) > 1
        for path, at in places
        for offset in range(_REPEATED)
    }
    return len(again) / max(1, total)


def walk(words: list[str]) -> dict[str, Any]:
    """Count the modules of ptm that `ptm preprocess` and one step of `ptm train` enter."""
    from ptm.cli import main as ptm

    root = str(Path(sys.modules["ptm"].__file__ or "").parent)
    entered: list[str] = []

    def enter(frame: Any, event: str, _: Any) -> None:
        code = frame.f_code
        # The flag excludes the bodies of modules and classes.
        runs = event == "call" and code.co_flags & inspect.CO_NEWLOCALS
        if runs and code.co_filename.startswith(root):
            module = code.co_filename
            if not entered or entered[-1] != module:
                entered.append(module)

    recipe, *overrides = words
    short = ("train.steps=1", "schedule.warmup=0", "data.workers=1")
    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        codes = [
            ptm([command, recipe, *overrides, *short, "--fresh"])
            for command in ("preprocess", "train")
        ]
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    assert codes == [0, 0], f"exit codes {codes}"
    counts = Counter(entered)
    return {"modules entered": len(counts), "times that one is entered": sum(counts.values())}


if __name__ == "__main__":
    raise SystemExit(main())
