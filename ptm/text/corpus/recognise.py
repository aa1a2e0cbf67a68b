"""Recognises the format, the encoding and the fields of corpus files by suffix and content.

Only the first bytes of each file are read, and of an encoding that is detected a sample.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ptm.errors import UserError, nearest
from ptm.limits import LONGEST_RECORD
from ptm.text.corpus.checks import check_beginning
from ptm.text.corpus.choice_json import CHOICE_FIELDS, check_lines, choices_format, numbered
from ptm.text.corpus.columnar import check_columns, column_paths, columns_in
from ptm.text.corpus.delimited import quotes_fields, split_header
from ptm.text.corpus.encodings import DETECT, TextStream, detect_encoding
from ptm.text.corpus.files import COLUMNAR, SUFFIXES, CorpusFile, Format, Layout, suffix_of
from ptm.text.corpus.headers import header_finding
from ptm.text.corpus.json_documents import are_json_lines, json_document, json_texts
from ptm.text.corpus.json_lines import Field, objects_in, paths_of
from ptm.text.corpus.other_formats import (
    check_is_plain,
    check_is_text,
    first_lines,
    likely_text_field,
)
from ptm.text.corpus.records import FIELD_OPTIONS, ROLES, long_record
from ptm.text.corpus.squad_json import questions_format
from ptm.text.corpus.streams import open_stream
from ptm.text.corpus.suspicious_text import encoding_finding
from ptm.text.corpus.tagged_format import TAGGED_FIELDS, tagged_format

logger = logging.getLogger(__name__)

_BEGIN = 2**18
_CHARACTERS_SHOWN = 40
_FINDINGS_SHOWN = 3
_RECORDS = 20
"""Records of JSON lines that are looked at."""
_ALTERNATIVES: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "text_a"),
    "source": ("source", "src", "anchor"),
    "target": ("target", "tgt", "positive"),
    **TAGGED_FIELDS,
}
"""Role -> names that a field has without being declared; otherwise the name of the role."""
_DELIMITED: tuple[Format, ...] = ("csv", "tsv", "csv_semicolon")
_MAGIC: Mapping[bytes, Format] = {b"PAR1": "parquet", b"ARROW1": "arrow"}


@dataclass(frozen=True)
class ReadOptions:
    """What a recipe declares about the files of a corpus."""

    format: Format | None = None
    """None: recognised, file by file."""
    encoding: str = "utf-8"
    """A name of `canonical_encoding`, or `detect`."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Role (a name of `ptm.text.corpus.records.ROLES`) -> name of the field."""
    fields_required: bool = True
    """Whether it is an error that all files are plain text although `fields` are declared."""
    quoting: bool | None = None
    """None: true for CSV; recognised for TSV."""
    columns: tuple[str, ...] = ()
    """The columns of CSV and TSV files that have no header."""
    key: str = "data"
    """The block of the recipe, for messages; empty if options of a command declare it."""


def recognise(
    files: Sequence[CorpusFile],
    layout: Layout,
    options: ReadOptions,
    *,
    optional: Collection[str] = (),
) -> tuple[CorpusFile, ...]:
    """The files with their formats, encodings and fields.

    `optional`: roles of fields that a file may lack, although `options` declare them. Raises
    UserError if a file is of another format than declared, an encoding is not recognised, most of
    the first lines are not valid UTF-8, a field is in none of the first records, or fields are
    declared and all files are plain text. Logs a warning of text that was probably decoded by the
    wrong encoding, and of lines that may be headers.
    """
    recognisers = [_Recogniser(file, layout, options, optional) for file in files]
    found = tuple(one.file() for one in recognisers)
    _warn([finding for one in recognisers for finding in one.findings])
    if (
        options.fields
        and options.fields_required
        and all(file.format in ("text", "conll") for file in found)
    ):
        role, name = next(iter(options.fields.items()))
        key = _key(options, role) or f"field {role}"
        what, form = ("key", "data.format") if options.key else ("option", "--input-format")
        raise UserError(
            f'{key}: "{name}" is a field of JSON lines, CSV, TSV, parquet or '
            f"Arrow, but {found[0].path} is plain text whose first line names no such column. "
            f"Remove the {what}, or set {form} to the format of the file."
        )
    return found


def _warn(findings: Sequence[str]) -> None:
    for finding in findings[:_FINDINGS_SHOWN]:
        logger.warning("%s", finding)
    if len(findings) > _FINDINGS_SHOWN:
        logger.warning("%d more files have such findings.", len(findings) - _FINDINGS_SHOWN)


def _key(options: ReadOptions, role: str) -> str | None:
    """The recipe key (or option) that declares the field of a role; None: no option does."""
    if not options.key:
        return FIELD_OPTIONS.get(role)
    return f"{options.key}.text_field" if role == "text" else f"{options.key}.fields.{role}"


class _Recogniser:
    """Recognises one file."""

    def __init__(
        self,
        file: CorpusFile,
        layout: Layout,
        options: ReadOptions,
        optional: Collection[str],
    ) -> None:
        self._file = file
        self._layout = layout
        self._options = options
        self._optional = optional
        self.findings: list[str] = []
        """What is suspicious about the file, one sentence each."""

    def file(self) -> CorpusFile:
        with open_stream(self._file) as stream:
            magic = stream.read(8)
        if not magic:
            raise UserError(f"{self._file.path}: the corpus file is empty.")
        binary = next((_MAGIC[one] for one in _MAGIC if magic.startswith(one)), None)
        suffix = SUFFIXES.get(suffix_of(self._file.path))
        name = self._options.format or binary or (suffix if suffix in COLUMNAR else None)
        if name in COLUMNAR and name is not None:
            return self._columnar(replace(self._file, format=name))
        encoding = self._options.encoding
        if encoding == DETECT:
            encoding = detect_encoding(self._file)
        file = replace(self._file, encoding=encoding)
        with open_stream(file) as stream:
            text = TextStream(stream, file)
            begin = text.read(_BEGIN)
            # A record may be long: one line is needed in any case.
            while b"\n" not in begin and len(begin) <= LONGEST_RECORD:
                more = text.read(_BEGIN)
                begin += more
                if not more:
                    break
        name = self._options.format or self._text_format(suffix, begin)
        self._check_questions(name)
        if self._layout == "choices" and name in ("json_lines", "choices"):
            return self._choices_json(file, name, begin)
        if name == "conll" and self._layout != "tagged":
            raise UserError(
                f"{self._file.path}: the format conll is read with data.layout: tagged only, but "
                f"data.layout is {self._layout}. Set data.format to the format of the file."
            )
        file = replace(file, format=name)
        check_is_text(file, begin)
        check_beginning(file, begin, key=self._encoding_key)
        if name == "text" and self._options.format is None:
            check_is_plain(file, begin, self._layout)
            self._note(self._header_finding(file, begin))
        self._note(encoding_finding(file, begin, key=self._encoding_key))
        if name not in ("text", "squad") and b"\n" not in begin and len(begin) > LONGEST_RECORD:
            raise long_record(f"{file.path}:1")
        if name == "json_lines":
            return self._json(file, begin)
        return file if name in ("text", "conll", "squad") else self._delimited(file, begin)

    def _choices_json(self, file: CorpusFile, name: Format, begin: bytes) -> CorpusFile:
        """A file of JSON with layout `choices`; one value is checked when it is read, whole."""
        lines = first_lines(begin, _RECORDS)
        if name == "choices":
            name = choices_format(lines)
        check_is_text(file, begin)
        objects = [one for line in lines for one in objects_in([line]) or []]
        declared = dict(self._options.fields)
        optional: tuple[str, ...] = ()
        if name == "json_lines":
            absent = [role for role in declared if role in self._optional]
            for role in absent:
                if not any(Field(declared[role]).is_in(one) for one in objects):
                    del declared[role]
            check_lines(file.path, objects, declared)
        else:
            optional = tuple(declared[role] for role in declared if role in self._optional)
        return replace(
            file,
            format=name,
            roles=tuple(declared),
            fields=tuple(declared.values()),
            optional=optional,
        )

    def _check_questions(self, name: Format) -> None:
        """Raise UserError if layout `questions` has another format than it may have."""
        has_questions = self._layout == "questions"
        if has_questions and name not in ("squad", "json_lines"):
            raise UserError(
                f"{self._file.path}: the layout questions is read from SQuAD's JSON, JSON lines, "
                f"parquet or Arrow, but {self._format_key} is {name}. Remove the key, or convert "
                "the file."
            )
        has_choices = self._layout == "choices"
        if has_choices and name in ("text", "conll", "squad"):
            raise UserError(
                f"{self._file.path}: the layout choices is read from JSON, CSV, TSV, parquet or "
                f"Arrow, but {self._format_key} is {name}. Remove the key, or convert the file."
            )
        if name == "choices" and not has_choices:
            raise UserError(
                f"{self._file.path}: the format choices is read with data.layout: choices only, "
                f"but data.layout is {self._layout}. Set {self._format_key} to the format of the "
                "file."
            )
        if name == "squad" and not has_questions:
            raise UserError(
                f"{self._file.path}: the format squad is read with data.layout: questions only, "
                f"but data.layout is {self._layout}. Set {self._format_key} to the format of the "
                "file."
            )

    def _text_format(self, suffix: Format | None, begin: bytes) -> Format:
        if self._layout == "questions":
            return questions_format(begin)
        if self._layout == "choices":
            if suffix == "csv":
                return self._delimiter_format(begin)
            return "tsv" if suffix == "tsv" else "choices"
        declared = self._options.fields
        named = declared or self._options.columns
        if suffix == "tsv" and self._layout in ("pairs", "triplets", "labelled") and not named:
            # Lines with TABs, with or without a header, as in a file with another suffix.
            return "text"
        if self._layout == "tagged" and suffix in (None, "text", "tsv") and not named:
            return tagged_format(begin)
        if suffix == "csv":
            return self._delimiter_format(begin)
        if suffix not in (None, "text"):
            return suffix
        if self._options.columns:
            return "tsv"
        lines = first_lines(begin, _RECORDS)
        if not declared or not lines:
            return "text"
        if objects_in(lines[:1]) is not None:
            return "json_lines"
        needed = {name for role, name in declared.items() if role not in self._optional}
        for name, columns in self._columns(begin).items():
            if len(columns) > 1 and needed and needed <= set(columns):
                return name
        return "text"

    @property
    def _encoding_key(self) -> str:
        return f"{self._options.key}.encoding" if self._options.key else "--encoding"

    def _header_finding(self, file: CorpusFile, begin: bytes) -> str | None:
        return header_finding(
            file.path,
            first_lines(begin, _RECORDS),
            self._layout,
            optional=self._optional,
            by_options=not self._options.key,
        )

    def _note(self, finding: str | None) -> None:
        self.findings += [] if finding is None else [finding]

    def _delimiter_format(self, begin: bytes) -> Format:
        """The format of a `.csv` file: that by which its header has the fields, or most columns.

        Without a header: that by which its first line has as many columns as are declared.
        """
        columns = self._columns(begin)
        declared = len(self._options.columns)

        def fitness(name: Format) -> tuple[bool, bool, int]:
            names = columns[name]
            fields = self._with_fields(self._file, names).fields
            return set(fields) <= set(names), len(names) == declared, len(names)

        return max(columns, key=fitness)

    def _columns(self, begin: bytes) -> dict[Format, tuple[str, ...]]:
        """The names in the first line by each format with delimiters, if it can be a header."""
        return {name: _columns(replace(self._file, format=name), begin) for name in _DELIMITED}

    def _columnar(self, file: CorpusFile) -> CorpusFile:
        schema = columns_in(file)
        found = self._with_fields(file, column_paths(schema))
        check_columns(found, schema)
        return found

    def _delimited(self, file: CorpusFile, begin: bytes) -> CorpusFile:
        declared = self._options.quoting
        if declared is None and self._layout == "tagged" and file.format == "tsv":
            # A quotation mark is a word.
            declared = False
        if declared is None and not quotes_fields(file, begin):
            declared = False
        file = replace(file, quoting=declared)
        header = split_header(file, bytearray(begin), ended=len(begin) < _BEGIN)
        if header is None:
            raise UserError(f"{file.path}: the file has no header line that names its columns.")
        if header.columns[0].startswith("sep="):
            raise UserError(
                f"{file.path}:{header.lines}: the line is Excel's note of the delimiter, not the "
                "header. Remove it, e.g. with `tail -n +2`."
            )
        found = self._with_fields(file, header.columns)
        if self._options.columns and not self._names_text(found, header.columns):
            return self._without_header(file)
        only = header.columns[0] if len(header.columns) == 1 else ""
        if file.format == "csv" and ";" in only and self._options.format:
            raise UserError(
                f'{file.path}:{header.lines}: the header has one column, "{only}". If semicolons '
                f"separate its columns, set {self._format_key}: csv_semicolon."
            )
        if "|" in only:
            raise UserError(
                f'{file.path}:{header.lines}: the header has one column, "{only}". '
                'Columns separated by "|" are not read: convert them, e.g. with '
                "`tr '|' '\\t' < FILE > FILE.tsv`."
            )
        for role, name in zip(found.roles, found.fields, strict=True):
            if name not in header.columns:
                # Without a header, the first line may be a long text.
                names = [column[:_CHARACTERS_SHOWN] for column in header.columns[:_RECORDS]]
                otherwise = (
                    ""
                    if self._layout == "choices"
                    else f" A file without a header line is read as it is with {self._format_key}: "
                    "text."
                )
                raise UserError(
                    f'{file.path}:{header.lines}: the header has no column "{name}".'
                    f"{nearest(name, names)}{self._advice(role, names)}{otherwise}"
                )
            if header.columns.count(name) > 1:
                raise UserError(
                    f'{file.path}:{header.lines}: the header names the column "{name}" twice. '
                    "Rename one of them."
                )
        return found

    def _names_text(self, file: CorpusFile, columns: Sequence[str]) -> bool:
        """Whether the first record has the name of the column of the (first) text."""
        texts = (
            name for role, name in zip(file.roles, file.fields, strict=True) if role != "label"
        )
        return next(texts) in columns

    def _without_header(self, file: CorpusFile) -> CorpusFile:
        """A table whose columns the recipe names. Raises UserError if a field is none of them."""
        columns = self._options.columns
        found = self._with_fields(replace(file, columns=columns), columns)
        for role, name in zip(found.roles, found.fields, strict=True):
            if name not in columns:
                raise UserError(
                    f'{self._options.key or "data"}.columns has no column "{name}" for the field '
                    f"{role}.{nearest(name, columns)}"
                )
        return found

    def _json(self, file: CorpusFile, begin: bytes) -> CorpusFile:
        lines = first_lines(begin, _RECORDS)
        objects = [one for line in lines for one in objects_in([line]) or []]
        document = None if are_json_lines(lines, share=0.5) else json_document(begin)
        if document is not None or not objects:
            what = document or json_texts(begin)
            what = what or (
                "JSON lines have one object per line, but the first line is not an object."
            )
            raise UserError(f"{file.path}:1: {what}")
        names = list(dict.fromkeys(path for one in objects for path in paths_of(one)))
        found = self._with_fields(file, names)
        for role, name in zip(found.roles, found.fields, strict=True):
            if not any(Field(name).is_in(one) for one in objects):
                absence = Field(name).absence(objects[0])
                raise UserError(f"{file.path}:1: {absence}{self._advice(role, names)}")
        return found

    def _with_fields(self, file: CorpusFile, names: Sequence[str]) -> CorpusFile:
        """`file` with the field of each role: the declared one, or the one of a usual name."""
        if self._layout == "choices":
            return self._with_choices(file, names)
        found: dict[str, str] = {}
        for role in ROLES[self._layout]:
            usual = _ALTERNATIVES.get(role, (role,))
            name = self._options.fields.get(role)
            name = name or next((one for one in usual if one in names), None)
            absent_by_default = role in ("text_b", "answers") or role in self._optional
            if role == "answers" and name is None and _has_field("answers", names):
                name = "answers"
            if name is None and absent_by_default:
                continue
            if role in self._optional and name not in names:
                continue
            found[role] = name or role
        optional = tuple(
            name for role, name in found.items() if role in self._optional or role == "answers"
        )
        return replace(file, roles=tuple(found), fields=tuple(found.values()), optional=optional)

    def _with_choices(self, file: CorpusFile, names: Sequence[str]) -> CorpusFile:
        """`file` with its fields of questions; numbered choices have the role `choice` each."""
        roles: list[tuple[str, str]] = []
        for role, known in CHOICE_FIELDS.items():
            declared = self._options.fields.get(role)
            if role in self._optional and declared not in names:
                declared = None
            for name in known if declared is None else (declared,):
                several = numbered(names, name) if role == "choices" else []
                if name in names or declared is not None or several:
                    whole = name in names or not several
                    roles += [(role, name)] if whole else [("choice", one) for one in several]
                    break
        if not {"choice", "choices"} & {role for role, _ in roles}:
            roles.append(("choices", "choices"))
        given, fields = zip(*roles, strict=True)
        return replace(file, roles=tuple(given), fields=tuple(fields))

    @property
    def _format_key(self) -> str:
        """The recipe key (or option) that declares the format."""
        return "data.format" if self._options.key else "--input-format"

    def _advice(self, role: str, names: Sequence[str]) -> str:
        if role in self._options.fields:
            return ""
        name = likely_text_field(list(names)) if role == "text" else "NAME"
        key = _key(self._options, role)
        if key is None:
            return (
                f" Rename the field that has it to {role}: this command has no option for it. (In "
                f"the recipe of `ptm preprocess`, data.fields.{role} names it.)"
            )
        return f" Set {key} to the field that has it, e.g. {name}."


def _has_field(name: str, names: Sequence[str]) -> bool:
    """Whether a field is one of `names`, or holds some of them."""
    return any(one == name or one.startswith(f"{name}.") for one in names)


def _columns(file: CorpusFile, begin: bytes) -> tuple[str, ...]:
    """The names in the first line of a file, if it can be a header."""
    try:
        header = split_header(file, bytearray(begin), ended=True)
    except UserError:
        return ()
    return header.columns if header else ()
