"""Files of inputs in any form of a layout, read in windows that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ptm.inference.predict.base import InputFiles, Window
from ptm.inference.predict.input_files import STDIN_NAME, found_files
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import CorpusFile, CorpusReader, Layout, ParsedBlock, ReadOptions, recognise
from ptm.text.corpus.parse import parse
from ptm.text.corpus.pieces import pieces

_BLOCK_BYTES = 2**18
_CHARACTERS = 2**22
"""Characters after which a window ends, so that its memory is bounded whatever the texts are."""


@dataclass(frozen=True)
class Placed:
    """An input of a file. `place`: the file, and the line or key path, for messages."""

    place: str


P = TypeVar("P", bound=Placed)
InputsOf = Callable[[ParsedBlock], Iterable[tuple[P, int]]]
"""The inputs of a block, each with its number of characters."""


def record_inputs(
    files: InputFiles,
    reading: ReadingBlock | None,
    layout: Layout,
    inputs_of: InputsOf[P],
    *,
    window: int,
) -> Iterator[Window[P]]:
    """Yield the inputs of all files in order, at most `window` at a time.

    `reading`: how the recipe reads its corpus; its fields are defaults. Damaged and blank records
    are inputs, too, so that answer n belongs to input n.

    Raises UserError if a file cannot be read, or is of another form.
    """
    declared = reading.field_names if reading is not None else {}
    options = ReadOptions(
        format=files.format,
        encoding=files.encoding,
        fields={**declared, **files.fields},
        fields_required=False,
        key="",
    )
    with found_files(files) as (found, copy):
        optional = {"label", "answers"} - set(files.fields)
        recognised = recognise(found, layout, options, optional=optional)
        total = sum(file.bytes for file in recognised)
        for one in _windows(recognised, layout, inputs_of, total, window=window):
            yield one if copy is None else _renamed(one, copy)


def _renamed(window: Window[P], copy: Path) -> Window[P]:
    """`window` with places that name standard input, and not the copy of it."""
    inputs = [replace(one, place=one.place.replace(str(copy), STDIN_NAME)) for one in window.inputs]
    return replace(window, inputs=inputs)


def _windows(
    files: tuple[CorpusFile, ...],
    layout: Layout,
    inputs_of: InputsOf[P],
    total: int,
    *,
    window: int,
) -> Iterator[Window[P]]:
    inputs: list[P] = []
    characters = done = 0
    for index, file in enumerate(files):
        reader = CorpusReader(file, index=index, layout=layout, block_bytes=_BLOCK_BYTES)
        bytes_read = 0
        for block in reader.blocks():
            bytes_read = block.bytes_read
            for piece in pieces(block, layout):
                parsed = parse(piece, layout, None, to_predict=True)
                for one, size in inputs_of(parsed):
                    inputs.append(one)
                    characters += size
                    if len(inputs) >= window or characters >= _CHARACTERS:
                        yield Window(inputs, done + bytes_read, total)
                        inputs, characters = [], 0
        done += bytes_read
    if inputs:
        yield Window(inputs, done, total)
