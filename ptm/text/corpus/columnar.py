"""Parquet and Arrow files: blocks of rows, as streams of Arrow batches with the needed columns.

The reader only passes on the bytes of the columns. The process that parses a block makes texts of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from ptm.errors import UserError, nearest
from ptm.text.corpus.blocks import Block, RecordFormat
from ptm.text.corpus.files import CorpusFile
from ptm.text.corpus.records import Row
from ptm.text.corpus.streams import open_seekable

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 2**13
_BYTES_AT_ONCE = 2**22
"""The most rows, and about the most bytes of them, that are decoded at once."""
_READ_AHEAD = 2**20
_ARROW_FILE = b"ARROW1"


@dataclass(frozen=True)
class _Part:
    """Consecutive rows of a file, with the share of the file that was read up to their end."""

    batch: pa.RecordBatch
    share: float


def columnar_blocks(
    file: CorpusFile, *, index: int, bytes_of: Callable[[int], int]
) -> Iterator[Block]:
    """Yield the blocks of a file. `bytes_of(number)`: bytes of the columns in block `number`.

    Raises UserError if the file is damaged or has changed since it was found, or if a needed column
    is absent or no text.
    """
    records = RecordFormat(file.format, file.fields, roles=file.roles)
    parts: list[_Part] = []
    number, row = 0, 1

    def block() -> Block:
        share = parts[-1].share
        return Block(
            index,
            number,
            _as_stream([part.batch for part in parts]),
            int(share * file.bytes),
            file.path,
            row,
            records=records,
        )

    with open_seekable(file, whole=True) as stream, _explained(file):
        table = _open(file, stream)
        check_columns(file, table.schema)
        for part in table.parts(file.fields, min(_BYTES_AT_ONCE, bytes_of(0))):
            parts.append(part)
            if sum(one.batch.nbytes for one in parts) >= bytes_of(number):
                yield block()
                number, row = number + 1, row + sum(one.batch.num_rows for one in parts)
                parts.clear()
        if parts:
            yield block()


def columnar_rows(block: Block, records: RecordFormat) -> Iterator[Row]:
    """The rows of a block."""
    import pyarrow as pa

    index = 0
    for batch in pa.ipc.open_stream(block.data):
        for values in zip(*map(_values, batch.columns), strict=True):
            yield index, values, ""
            index += 1


def row_count(block: Block) -> int:
    """The number of rows of a block."""
    import pyarrow as pa

    return sum(batch.num_rows for batch in pa.ipc.open_stream(block.data))


def columns_in(file: CorpusFile) -> pa.Schema:
    """The schema of a file. Raises UserError if it is damaged."""
    with open_seekable(file) as stream, _explained(file):
        return _open(file, stream).schema


def column_paths(schema: pa.Schema) -> list[str]:
    """The dotted paths of all columns."""
    import pyarrow as pa

    found = []
    for field in schema:
        if pa.types.is_struct(field.type):
            found += [
                f"{field.name}.{field.type.field(i).name}" for i in range(field.type.num_fields)
            ]
        else:
            found.append(field.name)
    return found


def check_columns(file: CorpusFile, schema: pa.Schema) -> None:
    """Raise UserError unless the columns `file.fields` exist and have the types of their roles."""
    for role, name in zip(file.roles, file.fields, strict=True):
        found = _type_of(schema, name)
        if found is None:
            raise UserError(
                f'{file.path}: the file has no column "{name}".'
                f"{nearest(name, column_paths(schema))}"
            )
        fits = _is_text(found) or (role == "label" and _is_label(found))
        if role == "choices":
            fits = fits or _is_list(found, labels=False) or _has_keys(found, {"text", "label"})
        # Of a text with several labels; for an objective with one label, each row is an error.
        if role in ("tokens", "tags", "negative", "label"):
            fits = fits or _is_list(found, labels=role in ("tags", "label"))
        if role in ("id", "answers"):
            fits = fits or (_is_label if role == "id" else _has_answers)(found)
        if not fits:
            kinds = {"label": "a label", "tokens": "words", "tags": "tags"}
            kinds |= {"answers": "answers", "choices": "a list of choices"}
            what = kinds.get(role, "text")
            raise UserError(
                f'{file.path}: the column "{name}" has the type {found}, which is not {what}. '
                f"Columns: {', '.join(f'{field.name} ({field.type})' for field in schema)}."
            )


def _type_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    import pyarrow as pa

    if name in schema.names:
        return schema.field(name).type
    first, *rest = name.split(".")
    found = schema.field(first).type if first in schema.names else None
    for key in rest:
        if found is None or not pa.types.is_struct(found) or found.get_field_index(key) < 0:
            return None
        found = found.field(key).type
    return found


def _is_text(found: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        return _is_text(found.value_type)
    kinds = (
        *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
    )
    return any(kind(found) for kind in kinds)


def _is_label(found: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(found):
        return _is_label(found.value_type)
    kinds = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_floating)
    return any(kind(found) for kind in kinds)


def _is_list(found: pa.DataType, *, labels: bool) -> bool:
    """Whether a column has lists of texts, or with `labels` of whole numbers."""
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(kind(found) for kind in kinds):
        return False
    return _is_text(found.value_type) or (labels and pa.types.is_integer(found.value_type))


def _has_answers(found: pa.DataType) -> bool:
    """Whether a column has answers: objects with `text` and `answer_start`, or lists of them."""
    import pyarrow as pa

    if pa.types.is_list(found) or pa.types.is_large_list(found):
        found = found.value_type
    return _has_keys(found, {"text", "answer_start"})


def _has_keys(found: pa.DataType, keys: set[str]) -> bool:
    """Whether a column has objects with these keys."""
    import pyarrow as pa

    if not pa.types.is_struct(found):
        return False
    return keys <= {found.field(at).name for at in range(found.num_fields)}


class _Parquet:
    """A parquet file. `parts` yields its rows in pieces of about `size` bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        from pyarrow.parquet import ParquetFile

        # Buffers instead of whole column chunks bound the memory.
        self._file = ParquetFile(
            stream,
            buffer_size=_READ_AHEAD,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        self.schema = self._file.schema_arrow

    def parts(self, fields: tuple[str, ...], size: int) -> Iterator[_Part]:
        total = max(1, self._file.metadata.num_rows)
        done = 0
        batches = self._file.iter_batches(
            self._rows_at_once(fields, size), columns=list(fields), use_threads=False
        )
        for batch in batches:
            done += batch.num_rows
            yield _Part(_chosen(batch, fields), done / total)

    def _rows_at_once(self, fields: tuple[str, ...], size: int) -> int:
        """About how many rows of the row group with the longest rows have `size` bytes."""
        longest = 1
        metadata = self._file.metadata
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            columns = (group.column(at) for at in range(group.num_columns))
            taken = sum(
                one.total_uncompressed_size
                for one in columns
                # The values of a list have a longer path than its column.
                if f"{one.path_in_schema}.".startswith(tuple(f"{field}." for field in fields))
            )
            longest = max(longest, taken // max(1, group.num_rows))
        return max(1, min(_MOST_ROWS, size // longest))


class _Arrow:
    """An Arrow file (feather), or a stream of Arrow batches; `parts` as for parquet."""

    def __init__(self, stream: BinaryIO) -> None:
        import pyarrow as pa

        self._is_file = stream.read(len(_ARROW_FILE)) == _ARROW_FILE
        self._size = max(1, stream.seek(0, 2))
        stream.seek(0)
        self._stream = stream
        self._reader: Any = (pa.ipc.open_file if self._is_file else pa.ipc.open_stream)(stream)
        self.schema = self._reader.schema

    def parts(self, fields: tuple[str, ...], size: int) -> Iterator[_Part]:
        for batch, share in self._batches():
            chosen = _chosen(batch, fields)
            fitting = chosen.num_rows * size // max(1, chosen.nbytes)
            rows = max(1, min(_MOST_ROWS, fitting))
            for begin in range(0, chosen.num_rows, rows):
                yield _Part(chosen.slice(begin, rows), share)

    def _batches(self) -> Iterator[tuple[pa.RecordBatch, float]]:
        if not self._is_file:
            for batch in self._reader:
                yield batch, min(1.0, self._stream.tell() / self._size)
            return
        count = self._reader.num_record_batches
        for index in range(count):
            yield self._reader.get_batch(index), (index + 1) / count


def _open(file: CorpusFile, stream: BinaryIO) -> _Parquet | _Arrow:
    return _Parquet(stream) if file.format == "parquet" else _Arrow(stream)


def _chosen(batch: pa.RecordBatch, fields: tuple[str, ...]) -> pa.RecordBatch:
    """The columns `fields` of a batch, as plain arrays."""
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays = []
    for name in fields:
        if name in batch.schema.names:
            array = batch.column(name)
        else:
            first, *rest = name.split(".")
            array = pc.struct_field(batch.column(first), rest)
        # A dictionary would be part of every block.
        arrays.append(array.dictionary_decode() if pa.types.is_dictionary(array.type) else array)
    return pa.RecordBatch.from_arrays(arrays, names=list(fields))


def _as_stream(batches: list[pa.RecordBatch]) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def _values(column: pa.Array) -> list[Any]:
    """The values of a column; bytes that are not UTF-8 become surrogates."""
    import pyarrow as pa

    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = column.cast(pa.large_binary()).to_pylist()
    return [
        value.decode("utf-8", errors="surrogateescape") if type(value) is bytes else value
        for value in values
    ]


@contextmanager
def _explained(file: CorpusFile) -> Iterator[None]:
    """Raise what pyarrow raises about a damaged file as UserError."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise UserError(
            f"{file.path}: reading {file.format} needs pyarrow. Install it: `pip install pyarrow`."
        ) from error
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{file.path}: the file is damaged, or is not {file.format} ({_first_line(error)})."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
