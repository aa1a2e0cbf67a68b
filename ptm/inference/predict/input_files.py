"""Files of inputs to predict for: found, recognised, and read window by window.

Every line (or record) is an input, also one that is blank or damaged, so that answer n belongs to
input n.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

from ptm.errors import UserError
from ptm.inference.predict.base import InputFiles, Window
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import Block, CorpusFile, CorpusReader, ReadOptions, find_corpus, recognise
from ptm.text.corpus.files import Layout
from ptm.text.corpus.pieces import pieces

STDIN = "-"
STDIN_NAME = "stdin"
_BLOCK_BYTES = 2**18
_CHARACTERS = 2**22
"""Characters after which a window ends, so that its memory is bounded whatever the texts are."""


class FileInput(Protocol):
    """An input that was read from a file."""

    @property
    def place(self) -> str:
        """File and line, for messages."""

    @property
    def characters(self) -> int:
        """Characters of its texts."""

    def with_place(self, place: str) -> Self:
        """The same input at another place."""


Input = TypeVar("Input", bound=FileInput)


@dataclass(frozen=True)
class InputLayout(Generic[Input]):
    """How files are read as inputs.

    `optional`: roles of fields that a file may lack. `inputs`: the inputs of a block, with the
    file that it belongs to. `corrected`: called with each recognised file, to change its format.
    """

    layout: Layout
    optional: Collection[str]
    inputs: Callable[[Block, CorpusFile], Iterable[Input]]
    corrected: Callable[[CorpusFile], CorpusFile] = lambda file: file


def input_windows(
    files: InputFiles, reading: ReadingBlock | None, how: InputLayout[Input], *, window: int
) -> Iterator[Window[Input]]:
    """Yield the inputs of all files in order, at most `window` at a time.

    `reading`: how the recipe reads its corpus; its fields and quoting are defaults. Raises
    UserError if a file cannot be read.
    """
    with found_files(files) as (found, copy):
        for one in _windows(files, found, reading, how, window=window):
            yield one if copy is None else _renamed(one, copy)


def _renamed(window: Window[Input], copy: Path) -> Window[Input]:
    """`window` with places that name standard input, and not the copy of it."""
    inputs = [one.with_place(one.place.replace(str(copy), STDIN_NAME)) for one in window.inputs]
    return replace(window, inputs=inputs)


@contextmanager
def found_files(files: InputFiles) -> Iterator[tuple[list[CorpusFile], Path | None]]:
    """The files, standard input copied to a temporary one, and the path of that copy.

    A UserError of the body names standard input, and not the copy of it.
    """
    copy = None
    with ExitStack() as stack:
        found: list[CorpusFile] = []
        for pattern in files.patterns:
            if pattern != STDIN:
                found += find_corpus([pattern], field="FILE")
                continue
            if copy is not None:
                raise UserError("FILE: - is given twice, but standard input can be read only once.")
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory())) / STDIN_NAME
            # Formats and fields are recognised by the first bytes, which a pipe gives only once.
            with copy.open("wb") as out:
                shutil.copyfileobj(sys.stdin.buffer, out)
            if not copy.stat().st_size:
                raise UserError("standard input is empty.")
            found += find_corpus([str(copy)], field="FILE")
        try:
            yield found, copy
        except UserError as error:
            if copy is None:
                raise
            lines = (str(line).replace(str(copy), STDIN_NAME) for line in error.args)
            raise UserError(*lines) from error


def _windows(
    files: InputFiles,
    found: Sequence[CorpusFile],
    reading: ReadingBlock | None,
    how: InputLayout[Input],
    *,
    window: int,
) -> Iterator[Window[Input]]:
    declared = reading.field_names if reading is not None else {}
    options = ReadOptions(
        format=files.format,
        encoding=files.encoding,
        fields={**declared, **files.fields},
        fields_required=bool(files.fields),
        quoting=reading.quoting if reading is not None else None,
        columns=(reading.columns or ()) if reading is not None else (),
        key="",
    )
    optional = set(how.optional) - set(files.fields)
    recognised = [
        one if files.format else how.corrected(one)
        for one in recognise(found, how.layout, options, optional=optional)
    ]
    total = sum(file.bytes for file in recognised)
    inputs: list[Input] = []
    characters = done = 0
    for index, file in enumerate(recognised):
        reader = CorpusReader(file, index=index, layout=how.layout, block_bytes=_BLOCK_BYTES)
        bytes_read = 0
        for block in reader.blocks():
            bytes_read = block.bytes_read
            for piece in pieces(block, how.layout):
                for one in how.inputs(piece, file):
                    inputs.append(one)
                    characters += one.characters
                    if len(inputs) >= window or characters >= _CHARACTERS:
                        yield Window(inputs, done + bytes_read, total)
                        inputs, characters = [], 0
        done += bytes_read
    if inputs:
        yield Window(inputs, done, total)
