"""Parses the blocks of any format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ptm.text.choices import choice_lines, choice_records, parse_choices
from ptm.text.corpus.blocks import Block, ParsedBlock, RecordFormat
from ptm.text.corpus.columnar import columnar_rows, row_count
from ptm.text.corpus.delimited import delimited_rows
from ptm.text.corpus.files import COLUMNAR, Layout
from ptm.text.corpus.json_lines import json_rows
from ptm.text.corpus.lines import parse_lines
from ptm.text.corpus.records import Row, documents_of
from ptm.text.labelled_lines import parse_labelled
from ptm.text.labels import LabelSet
from ptm.text.pair_lines import parse_pairs, parse_triplets
from ptm.text.questions import parse_squad, question_records
from ptm.text.tagged_sentences import parse_tagged, tagged_records
from ptm.text.tags import TagSet


def record_rows(block: Block, records: RecordFormat) -> Iterator[Row]:
    """The rows of a block of records, blank and damaged ones included."""
    if records.format in COLUMNAR:
        return columnar_rows(block, records)
    read = json_rows if records.format == "json_lines" else delimited_rows
    return read(block, records)


def parse(
    block: Block, layout: Layout, labels: LabelSet | None, *, to_predict: bool = False
) -> ParsedBlock:
    """Parse a block. `labels`: those of layout `labelled`, a TagSet with `tagged`, else None.

    Damaged lines and records are left out and counted. `to_predict`: with layouts `questions` and
    `choices` every record has a question, also one that is damaged or blank.

    Raises UserError, naming file and line, if a line of plain text does not have the columns of its
    layout, or a label is unknown.
    """
    records = block.records
    if records is not None and records.format == "squad":
        return parse_squad(block)
    if records is not None and records.format == "choices":
        return parse_choices(block, to_predict=to_predict)
    if isinstance(labels, TagSet) and (records is None or records.format == "conll"):
        return parse_tagged(block, labels)
    if records is None:
        if labels is not None:
            return parse_labelled(block, labels)
        if layout == "triplets":
            return parse_triplets(block)
        return parse_pairs(block) if layout == "pairs" else parse_lines(block.data, layout)
    if records.format in COLUMNAR:
        lines = row_count(block)
    else:
        lines = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    if layout == "choices" and records.format == "json_lines":
        return replace(choice_lines(block, to_predict=to_predict), lines=lines)
    rows = record_rows(block, records)
    if isinstance(labels, TagSet):
        found = tagged_records(rows, labels, fields=records.fields, place=block.place)
    elif layout == "questions":
        found = question_records(rows, block, records.roles, to_predict=to_predict)
    elif layout == "choices":
        found = choice_records(rows, block, to_predict=to_predict)
    else:
        found = documents_of(rows, layout, fields=records.fields, labels=labels, place=block.place)
    return replace(found, lines=lines)
