"""The same texts as corpus files of every format and compression."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import zstandard

from ptm.text.corpus import CorpusFile, CorpusReader, Layout, ReadOptions, find_corpus, recognise
from ptm.text.corpus.parse import parse
from ptm.text.labels import LabelSet

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}

Records = Sequence[Mapping[str, Any]]


def json_lines(records: Records) -> bytes:
    return "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in records).encode()


def delimited(records: Records, delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(records[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def parquet(records: Records, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(records)), sink, **options)
    return sink.getvalue().to_pybytes()


def feather(records: Records) -> bytes:
    sink = pa.BufferOutputStream()
    pyarrow.feather.write_feather(pa.Table.from_pylist(list(records)), sink)
    return sink.getvalue().to_pybytes()


def arrow_stream(records: Records) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(list(records))
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return sink.getvalue().to_pybytes()


FORMATS: dict[str, Callable[[Records], bytes]] = {
    ".jsonl": json_lines,
    ".csv": delimited,
    ".tsv": lambda records: delimited(records, "\t"),
    ".parquet": lambda records: parquet(records, row_group_size=5),
    ".feather": feather,
    ".arrow": arrow_stream,
}
"""Suffix -> writer of records."""


def recognised(path: Path | str, layout: Layout = "documents", **options: Any) -> CorpusFile:
    (file,) = recognise(find_corpus([str(path)]), layout, ReadOptions(**options))
    return file


def documents(
    path: Path | str,
    layout: Layout = "documents",
    *,
    block_bytes: int = 2**18,
    labels: LabelSet | None = None,
    **options: Any,
) -> list[list[str]]:
    """The documents of a file, read in blocks of `block_bytes`."""
    reader = CorpusReader(
        recognised(path, layout, **options), index=0, layout=layout, block_bytes=block_bytes
    )
    return [one for block in reader.blocks() for one in parse(block, layout, labels).documents]
