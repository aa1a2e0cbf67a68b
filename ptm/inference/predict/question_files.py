"""Files of questions to answer, with or without gold answers, in any form of the layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ptm.inference.predict.base import InputFiles, Window
from ptm.inference.predict.text_files import STDIN_NAME, found_files
from ptm.recipe.corpus_block import ReadingBlock
from ptm.text.corpus import CorpusFile, CorpusReader, ReadOptions, recognise
from ptm.text.corpus.parse import parse
from ptm.text.corpus.pieces import pieces

_BLOCK_BYTES = 2**18
_CHARACTERS = 2**22
"""Characters after which a window ends, so that its memory is bounded whatever the texts are."""


@dataclass(frozen=True)
class InputQuestion:
    """A question and its context. `answers`: gold ones; None if the file has none."""

    place: str
    id: str
    question: str
    context: str
    answers: tuple[str, ...] | None


@dataclass
class Damaged:
    """Records that could not be read: their number, and the first one."""

    count: int = 0
    first: str = ""


def question_inputs(
    files: InputFiles, reading: ReadingBlock | None, *, window: int, damaged: Damaged
) -> Iterator[Window[InputQuestion]]:
    """Yield the questions of all files in order, at most `window` at a time.

    `reading`: how the recipe reads its corpus; its fields are defaults. `damaged` counts the
    records that are left out. Raises UserError if a file cannot be read, or is of another form.
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
        recognised = recognise(found, "questions", options)
        total = sum(file.bytes for file in recognised)
        for one in _windows(recognised, total, window=window, damaged=damaged):
            yield one if copy is None else _renamed(one, copy)


def _renamed(window: Window[InputQuestion], copy: Path) -> Window[InputQuestion]:
    """`window` with places that name standard input, and not the copy of it."""
    inputs = [replace(one, place=one.place.replace(str(copy), STDIN_NAME)) for one in window.inputs]
    return replace(window, inputs=inputs)


def _windows(
    files: tuple[CorpusFile, ...], total: int, *, window: int, damaged: Damaged
) -> Iterator[Window[InputQuestion]]:
    inputs: list[InputQuestion] = []
    characters = done = 0
    for index, file in enumerate(files):
        reader = CorpusReader(file, index=index, layout="questions", block_bytes=_BLOCK_BYTES)
        bytes_read = 0
        for block in reader.blocks():
            bytes_read = block.bytes_read
            for piece in pieces(block, "questions"):
                parsed = parse(piece, "questions", None)
                if parsed.first_invalid is not None and not damaged.count:
                    problem = parsed.problem or "the line is not valid UTF-8"
                    damaged.first = f"{piece.place(parsed.first_invalid)}: {problem}"
                damaged.count += parsed.invalid
                for texts, questions in zip(parsed.documents, parsed.questions or [], strict=True):
                    characters += len(texts[0])
                    for text, one in zip(texts[1:], questions, strict=True):
                        gold = one.answers
                        answers = None if gold is None else tuple(answer.text for answer in gold)
                        inputs.append(InputQuestion(one.place, one.id, text, texts[0], answers))
                        characters += len(text)
                        if len(inputs) >= window or characters >= _CHARACTERS:
                            yield Window(inputs, done + bytes_read, total)
                            inputs, characters = [], 0
        done += bytes_read
    if inputs:
        yield Window(inputs, done, total)
