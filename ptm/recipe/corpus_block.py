"""The parts of the `data` block that name a corpus: its files, how they are read, its store."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import field_validator, model_validator

from ptm.component import Config, Listed, PositiveFloat
from ptm.text.corpus import Format, ReadOptions
from ptm.text.corpus.encodings import canonical_encoding

Paths = Annotated[tuple[str, ...], Listed]


class FieldsBlock(Config):
    """The fields of a record, by their role: keys of JSON lines, columns of a table."""

    text: str | None = None
    """The text, or the first text of a labelled pair; default: `text`, or `text_a`."""
    text_b: str | None = None
    """The second text of a labelled pair; default: `text_b`, if the records have it."""
    label: str | None = None
    """The label, with layout `labelled`, or the right choice, with `choices`: its number, counted
    from 0, its letter, or its text; default: `label`, with `choices` also `answer`, `answerKey`."""
    source: str | None = None
    """The source, with layout `pairs`; default: `source`, `src` or `anchor`."""
    target: str | None = None
    """The target, with layout `pairs`; default: `target`, `tgt` or `positive`."""
    anchor: str | None = None
    """The anchor, with layout `triplets`; default: `anchor`."""
    positive: str | None = None
    """The text that belongs to the anchor, with layout `triplets`; default: `positive`."""
    negative: str | None = None
    """A text that does not, or a list of them, with layout `triplets`; default: `negative`."""
    tokens: str | None = None
    """The words, with layout `tagged`: a list, or a text with spaces between words; default:
    `tokens`, `words`, `text_a` or `text`."""
    tags: str | None = None
    """The tags of the words, with layout `tagged`: a list of names or of positions in the list of
    tags, or a text with spaces; default: `tags`, `ner_tags`, `labels` or `label`."""

    id: str | None = None
    """The name of a question, with layout `questions`; default: `id`."""
    context: str | None = None
    """The text that has the answer, with layout `questions`, or that the question is about, with
    `choices`; default: `context`, with `choices` also `article`, `sent1` and the like."""
    question: str | None = None
    """The question, with layout `questions` or `choices`; default: `question`, with `choices` also
    `sent2`."""
    choices: str | None = None
    """The choices, with layout `choices`: a list of texts, or the name of numbered fields without
    their numbers (`ending` for `ending0`, `ending1`, …); default: `choices`, `options`, `endings`,
    `ending` and the like."""
    answers: str | None = None
    """The answers, with layout `questions`: an object of two lists, `text` and `answer_start`, or a
    list of objects with these keys; default: `answers`."""

    @property
    def named(self) -> dict[str, str]:
        """The declared fields by role."""
        return {role: name for role, name in self.model_dump().items() if name is not None}


class ReadingBlock(Config):
    """How the files of a corpus are read."""

    format: Format | None = None
    """The format of all files; default: recognised for each file, by its suffix and content. text:
    plain text, one line per document, sentence, pair, labelled text or tagged sentence, whatever
    the lines look like. csv_semicolon: CSV with semicolons instead of commas. conll: one line per
    word and tag, an empty line ends a sentence; with layout `tagged` only. squad: SQuAD's JSON, one
    value per file; with layout `questions` only. choices: JSON of questions with choices; with
    layout `choices` only."""
    encoding: str | None = None
    """The encoding of text, JSON lines, CSV and TSV; default: utf-8. E.g. gb18030, big5, shift_jis,
    utf-16, latin-1. detect: recognise UTF-8 and multibyte encodings, file by file."""
    text_field: str | None = None
    """The field (or column) with the text, short for `fields: {text: ...}`; default: `text`. A dot
    separates the keys of nested objects: `page.body`."""
    fields: FieldsBlock = FieldsBlock()
    """The fields (or columns) that the layout needs."""
    columns: Paths | None = None
    """The names of all columns of CSV and TSV files that have no header. A file whose first line
    names the column of the text has one all the same."""
    quoting: bool | None = None
    """Whether a field of CSV and TSV may be in double quotes, by the rules of Python's csv module;
    false: a quote is a character like any other. Default: true for CSV; of TSV false if the first
    records do not follow these rules."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        return None if value is None else canonical_encoding(value)

    @field_validator("columns")
    @classmethod
    def _distinct_columns(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (len(value) < 2 or len(set(value)) < len(value)):
            raise ValueError("give at least two names, each of them once")
        return value

    @model_validator(mode="after")
    def _one_text_field(self) -> Self:
        if self.text_field is not None and self.fields.text is not None:
            raise ValueError(
                f"text_field = {self.text_field} and fields.text = {self.fields.text} are the same "
                "setting. Remove one of them."
            )
        return self

    @property
    def field_names(self) -> dict[str, str]:
        """The declared fields by role, `text_field` included."""
        text = {"text": self.text_field} if self.text_field is not None else {}
        return {**self.fields.named, **text}

    def options(self, key: str, *, defaults: ReadingBlock | None = None) -> ReadOptions:
        """How the files are read. `key`: this block in the recipe. `defaults`: the block whose
        settings hold where this one has none."""
        blocks = [self] if defaults is None or defaults is self else [self, defaults]
        fields = next((block.field_names for block in blocks if block.field_names), {})
        quoting = next((block.quoting for block in blocks if block.quoting is not None), None)
        return ReadOptions(
            format=next((block.format for block in blocks if block.format), None),
            encoding=next((block.encoding for block in blocks if block.encoding), "utf-8"),
            fields=fields,
            quoting=quoting,
            columns=next((block.columns for block in blocks if block.columns), ()),
            fields_required=bool(self.field_names),
            key=key,
        )


class CorpusBlock(ReadingBlock):
    """A corpus and its token store."""

    corpus: str | Paths
    """A path, folder, glob or URL (`https://`, `hf://`, `s3://`, `gs://`), or a list of them: plain
    text, JSON lines, CSV, TSV, parquet or Arrow, also compressed as .gz, .bz2, .xz or .zst
    ([corpora.md](corpora.md))."""
    store: str
    """The folder that `ptm preprocess` writes. Training and evaluation read it."""


class EvaluationBlock(CorpusBlock):
    """A corpus to evaluate on."""

    during_training: bool = True
    """Whether the set is evaluated during training too, so that early stopping and
    `checkpoint.best` can use it. false, for a test set: by `ptm evaluate` only."""


class SourceBlock(ReadingBlock):
    """A source of a mixture: its files or its store, and its share of the rows.

    How the files are read is as in `data`, unless it is set here.
    """

    files: str | Paths | None = None
    """Paths, folders, globs or URLs, as in `data.corpus`. Without it, `store` exists already and
    `ptm preprocess` leaves it as it is."""
    weight: PositiveFloat
    """Share of the rows to train on, relative to the weights of the other sources."""
    store: str | None = None
    """The folder of the source's token store; default: a folder with its name in `data.store`."""

    @model_validator(mode="after")
    def _check_files(self) -> SourceBlock:
        if self.files is None and self.store is None:
            raise ValueError("has neither `files` nor `store`. Give one of them.")
        if self.files == ():
            raise ValueError("`files` is an empty list. Give at least one file.")
        return self
