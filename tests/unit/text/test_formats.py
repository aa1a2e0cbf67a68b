"""Corpora in JSON lines, CSV, TSV, parquet and Arrow files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.errors import UserError
from ptm.limits import LONGEST_LINE, LONGEST_RECORD
from ptm.text.corpus import CorpusReader, Layout, ReadOptions, find_corpus, recognise
from ptm.text.corpus.parse import parse
from ptm.text.labels import LabelSet
from tests.support.corpora import (
    COMPRESS,
    FORMATS,
    Records,
    delimited,
    documents,
    json_lines,
    parquet,
    recognised,
)

TEXTS = [f'text {number}, "quoted" 文本\nwith\ttwo\tTABs' for number in range(40)]
RECORDS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
SENTENCES = [text.split("\n") for text in TEXTS]
SENTIMENT = LabelSet(("negative", "positive"))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("layout", ["documents", "sentences"])
@pytest.mark.parametrize("block_bytes", [1, 300, 2**18])
def test_a_record_is_a_document(
    tmp_path: Path, suffix: str, layout: Layout, block_bytes: int
) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix](RECORDS))
    expected = [[text] for text in TEXTS] if layout == "documents" else SENTENCES
    assert documents(path, layout, block_bytes=block_bytes) == expected


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("compression", COMPRESS)
def test_every_format_may_be_compressed(tmp_path: Path, suffix: str, compression: str) -> None:
    path = tmp_path / f"corpus{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](FORMATS[suffix](RECORDS)))
    assert documents(path) == [[text] for text in TEXTS]


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_format_is_in_the_entry_of_the_manifest(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix](RECORDS))
    names = {".jsonl": "json_lines", ".feather": "arrow"}
    entry = recognised(path).entry()
    assert entry["format"] == names.get(suffix, suffix[1:])
    assert entry["fields"] == ["text"]
    assert json.loads(json.dumps(entry)) == entry


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet", ".feather"])
def test_content_without_a_suffix_is_recognised_if_a_field_is_declared(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / "corpus"
    path.write_bytes(FORMATS[suffix](RECORDS))
    assert documents(path, fields={"text": "text"}) == [[text] for text in TEXTS]


def test_a_folder_may_mix_formats(tmp_path: Path) -> None:
    for number, (suffix, write) in enumerate(FORMATS.items()):
        (tmp_path / f"{number}{suffix}").write_bytes(write(RECORDS[:2]))
    (tmp_path / "9.txt").write_text("plain\n", encoding="utf-8")
    files = recognise(find_corpus([str(tmp_path)]), "documents", ReadOptions())
    found = [file.format for file in files]
    assert found == ["json_lines", "csv", "tsv", "parquet", "arrow", "arrow", "text"]


def test_the_first_record_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    text = "x" * 2**20
    path.write_bytes(FORMATS[".jsonl"]([{"text": text}, {"text": "a"}]))
    assert documents(path) == [[text], ["a"]]


def test_a_declared_format_holds_whatever_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(FORMATS[".csv"](RECORDS))
    assert documents(path, format="csv") == [[text] for text in TEXTS]


# Fields


@pytest.mark.parametrize("name", ["page.body", "pages.1.body", "a.b"])
def test_a_dot_separates_the_keys_of_nested_objects(tmp_path: Path, name: str) -> None:
    records = [{"page": {"body": "x"}, "pages": [0, {"body": "x"}], "a.b": "x", "a": {"b": "y"}}]
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(FORMATS[".jsonl"](records))
    assert documents(path, fields={"text": name}) == [["x"]]


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_a_dot_separates_the_keys_of_nested_columns(tmp_path: Path, suffix: str) -> None:
    records = [{"translation": {"en": f"e{n}", "de": f"d{n}"}, "other": n} for n in range(20)]
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix](records))
    fields = {"source": "translation.en", "target": "translation.de"}
    expected = [[f"e{n}", f"d{n}"] for n in range(20)]
    assert documents(path, "pairs", fields=fields) == expected


@pytest.mark.parametrize("suffix", FORMATS)
def test_pairs_have_a_source_and_a_target(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix]([{"en": "a b", "zh": "甲"}, {"en": "c", "zh": ""}]))
    found = documents(path, "pairs", fields={"source": "zh", "target": "en"})
    assert found == [["甲", "a b"], ["", "c"]]


@pytest.mark.parametrize("suffix", FORMATS)
def test_labelled_records_have_a_label_and_one_or_two_texts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    records = [{"label": "positive", "text_a": "a", "text_b": "b"}] * 3
    path.write_bytes(FORMATS[suffix](records))
    options: dict[str, Any] = {"fields": {"label": "label", "text": "text_b"}}
    file = recognised(path, "labelled", **options)
    (block,) = CorpusReader(file, index=0, layout="labelled", block_bytes=2**18).blocks()
    # text_b is the second text by default, so that it is read twice here.
    parsed = parse(block, "labelled", SENTIMENT)
    assert (parsed.documents, parsed.labels) == ([["b", "b"]] * 3, [1, 1, 1])
    assert (
        documents(path, "labelled", labels=SENTIMENT, fields={"label": "label"}) == [["a", "b"]] * 3
    )


@pytest.mark.parametrize(("label", "index"), [(1, 1), ("1", 1), (0.0, 0), (True, None)])
def test_labels_may_be_numbers(tmp_path: Path, label: Any, index: int | None) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(FORMATS[".jsonl"]([{"label": label, "text": "a"}]))
    labels = LabelSet(("0", "1"), numbered=True)
    file = recognised(path, "labelled")
    (block,) = CorpusReader(file, index=0, layout="labelled", block_bytes=2**18).blocks()
    if index is None:
        with pytest.raises(UserError, match=r'corpus.jsonl:1: "true" is not a label'):
            parse(block, "labelled", labels)
    else:
        assert parse(block, "labelled", labels).labels == [index]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_missing_field_is_an_error_that_names_the_fields(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix]([{"id": 1, "body": "x"}]))
    with pytest.raises(UserError, match=r'no (field|column) "text".*Choose one of: body, id\.'):
        recognised(path)
    with pytest.raises(UserError, match=r'no (field|column) "bdoy"\. Did you mean "body"\?'):
        recognised(path, fields={"text": "bdoy"})


def test_a_column_that_is_no_text_is_an_error_that_names_its_type(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    path.write_bytes(parquet([{"text": 7, "body": "x"}]))
    with pytest.raises(UserError, match=r'"text" has the type int64.*body \(string\)'):
        recognised(path)


def test_a_column_that_is_needed_twice_in_the_header_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text("text,text\na,b\n", encoding="utf-8")
    with pytest.raises(UserError, match=r'corpus.csv:1: .*"text" twice'):
        recognised(path)


def test_a_table_without_a_header_is_an_error_that_says_how_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "corpus.tsv"
    path.write_text(f"1\t{'long ' * 100}\n0\tb\n", encoding="utf-8")
    with pytest.raises(UserError, match=r'no column "text".*data\.format: text') as caught:
        recognised(path)
    assert len(str(caught.value)) < 600
    assert len(documents(path, format="text")) == 2


def test_fields_that_no_file_can_have_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(UserError, match=r'data\.text_field: "body" is a field of JSON lines'):
        recognised(path, fields={"text": "body"})


# Damaged records


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "a"', "the line is not JSON"),
        ('{"text": "a"} {"text": "b"}', "the line is not one JSON object"),
        ('["text"]', "the line is not one JSON object"),
        ('{"body": "a"}', r'no field "text"'),
        ('{"text": null}', r'"text" is null'),
        ('{"text": 7}', r'"text" is a number'),
        ('{"text": ["a"]}', r'"text" is a list'),
        ('{"text": "\\ud800"}', r"no characters"),
        ('{"text": "a\\u0000"}', r"NUL character"),
        ("[" * 5000, "the line is not JSON"),
        ('{"text": "\udcff"}', ""),
    ],
)
def test_a_damaged_json_line_is_left_out_and_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "corpus.jsonl"
    text = f'{{"text": "first"}}\n\n{line}\n{{"text": "last"}}\n'
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    file = recognised(path)
    (block,) = CorpusReader(file, index=0, layout="documents", block_bytes=2**18).blocks()
    parsed = parse(block, "documents", None)
    assert parsed.documents == [["first"], ["last"]]
    assert (parsed.lines, parsed.blank, parsed.invalid, parsed.first_invalid) == (4, 1, 1, 2)
    assert problem in parsed.problem.replace("\\", "")
    assert bool(parsed.problem) == bool(problem)


@pytest.mark.parametrize(
    ("record", "problem", "lost"),
    [
        ("1", "has 1 columns, but the header has 2", 1),
        ("1,a,b", "has 3 columns, but the header has 2", 1),
        ('1,"a" b', "the record is damaged", 1),
        ('1,"a\nb" c', "the record is damaged", 2),
        ("1,\udcff", "no characters", 1),
    ],
)
def test_a_damaged_csv_record_is_left_out_and_named(
    tmp_path: Path, record: str, problem: str, lost: int
) -> None:
    path = tmp_path / "corpus.csv"
    text = f'id,text\n0,first\n{record}\n2,"la\nst"\n'
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    file = recognised(path)
    (block,) = CorpusReader(file, index=0, layout="documents", block_bytes=2**18).blocks()
    parsed = parse(block, "documents", None)
    assert parsed.documents == [["first"], ["la\nst"]]
    assert (parsed.invalid, parsed.first_invalid, block.first_line) == (lost, 2, 1)
    assert problem in parsed.problem


def test_a_row_without_a_text_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    path.write_bytes(parquet([{"text": "a"}, {"text": None}, {"text": " "}, {"text": "b"}]))
    (block,) = CorpusReader(
        recognised(path), index=0, layout="documents", block_bytes=2**18
    ).blocks()
    parsed = parse(block, "documents", None)
    assert parsed.documents == [["a"], ["b"]]
    assert (parsed.lines, parsed.blank, parsed.invalid, parsed.first_invalid) == (4, 1, 1, 1)
    assert parsed.problem == 'the field "text" is null, not a text'


def test_bytes_that_are_no_utf_8_are_left_out_of_a_table(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", "文".encode()])
    for type_ in (pa.binary(), pa.string()):
        path = tmp_path / "corpus.parquet"
        column = pa.Array.from_buffers(type_, 3, texts.buffers())
        pyarrow.parquet.write_table(pa.table({"text": column}), path)
        assert documents(path) == [["a"], ["文"]]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_column_may_be_a_dictionary(tmp_path: Path, suffix: str) -> None:
    texts = ["a", "b", "a", "c", "d", "c", "a"] * 3
    batches = [
        pa.record_batch({"text": pa.array(texts[at : at + 3]).dictionary_encode()})
        for at in range(0, len(texts), 3)
    ]
    path = tmp_path / f"corpus{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_batches(batches), path, row_group_size=3)
    else:
        with pa.ipc.new_stream(path, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    assert documents(path) == [[text] for text in texts]


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow"])
def test_a_damaged_table_is_an_error_that_names_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix](RECORDS)[:200])
    with pytest.raises(UserError, match=rf"corpus\{suffix}: the file is damaged, or is not"):
        documents(path)


def test_the_checksums_of_a_parquet_file_are_verified(tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    records = [{"text": f"document {number}"} for number in range(100)]
    data = bytearray(
        parquet(records, write_page_checksum=True, compression="none", use_dictionary=False)
    )
    path.write_bytes(data)
    assert len(documents(path)) == 100
    # One bit of a text: "document 50" becomes "document 51".
    data[data.index(b"document 50") + len("document 50") - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"corpus\.parquet: the file is damaged, .*checksum"):
        documents(path)


ARRAY = [{"text": f"a {number}", "label": {"name": "x"}} for number in range(30)]


@pytest.mark.parametrize("name", ["corpus.json", "corpus.jsonl.gz", "corpus.txt", "corpus"])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        (json.dumps(ARRAY), r"a JSON array, .* `jq -c '\.\[\]' FILE"),
        (json.dumps(ARRAY, indent=2), r"a JSON array, .* `jq -c '\.\[\]' FILE"),
        ("[\n" + ",\n".join(map(json.dumps, ARRAY)) + "\n]\n", r"a JSON array, "),
        (json.dumps(ARRAY[0], indent=1), r"JSON objects over several lines, .* `jq -c '\.' FILE"),
        (
            json.dumps({"version": 1, "data": ARRAY}, indent=1),
            r'a JSON object whose key "data" has a list of objects, .* `jq -c \'\.data\[\]\' FILE',
        ),
    ],
)
def test_json_that_is_not_one_object_per_line_is_an_error_with_the_command_that_converts_it(
    tmp_path: Path, name: str, text: str, what: str
) -> None:
    path = tmp_path / name
    path.write_bytes(COMPRESS[".gz"](text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(UserError, match=rf"{name}:1: the file is {what}"):
        recognised(path)
    with pytest.raises(UserError, match=rf"{name}:1: the file is {what}"):
        recognised(path, "pairs")


def test_json_lines_may_begin_with_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "cut o\n' + json_lines(ARRAY).decode(), encoding="utf-8")
    assert recognised(path).format == "json_lines"
    path = path.rename(tmp_path / "corpus.txt")
    with pytest.raises(UserError, match="the lines are JSON objects"):
        recognised(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (json.dumps(TEXTS), r"a JSON array of texts, .* `jq -c '\.\[\] \| \{text: \.\}' FILE"),
        (json.dumps(TEXTS, indent=1), r"a JSON array of texts, "),
        ("".join(f"{json.dumps(text)}\n" for text in TEXTS), r"JSON strings, .* '\{text: \.\}'"),
    ],
)
def test_json_texts_without_objects_are_an_error_with_the_command_that_converts_them(
    tmp_path: Path, text: str, what: str
) -> None:
    path = tmp_path / "corpus.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"json:1: the file is {what}"):
        recognised(path)


def test_a_declared_csv_file_with_semicolons_names_the_format(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    path.write_bytes(semicolons(RECORDS))
    with pytest.raises(UserError, match=r"csv:1: .*set data\.format: csv_semicolon"):
        recognised(path, format="csv")


def test_the_advice_names_deeply_nested_fields(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_bytes(json_lines([{"page": {"body": {"value": "a"}, "id": 1}}]))
    with pytest.raises(UserError, match=r"Choose one of: page\.body\.value, page\.id"):
        recognised(path)


def test_columns_separated_by_bars_are_an_error_with_the_command_that_converts_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text("id|text\n1|a\n", encoding="utf-8")
    with pytest.raises(UserError, match=r'csv:1: .* one column, "id\|text".*`tr'):
        recognised(path)


def test_a_first_line_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("plain text\nmore of it\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"jsonl:1: JSON lines .* the first line is not an object"):
        recognised(path)


# Text by declaration


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        ("documents", "id,text,lang\n" + "a,b,c\n" * 30),
        ("documents", "label\ttext\n0\ta\n1\tb\n"),
        ("documents", json_lines(RECORDS).decode()),
        ("documents", json.dumps(ARRAY, indent=1)),
        ("pairs", "en\tzh\n" + "a\tb\n" * 10),
    ],
)
@pytest.mark.parametrize("name", ["corpus.txt", "corpus.csv", "corpus.json"])
def test_a_declared_format_of_text_holds_whatever_the_content(
    tmp_path: Path, name: str, layout: Layout, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    expected = [
        line.strip().split("\t") if layout == "pairs" else [line.strip()]
        for line in text.splitlines()
    ]
    assert documents(path, layout, format="text") == expected
    assert not caplog.messages
    if name == "corpus.txt":
        with pytest.raises(UserError):
            recognised(path, layout)
    binary = tmp_path / "binary"
    binary.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(UserError, match="a binary file"):
        recognised(binary, format="text")


# CSV with semicolons


def semicolons(records: Records) -> bytes:
    return delimited(records, ";")


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 300, 2**18])
def test_csv_with_semicolons_is_recognised(tmp_path: Path, quoted: bool, block_bytes: int) -> None:
    path = tmp_path / "corpus.csv"
    texts = [f'{text}; it "ends"' if quoted else f"text {i}, 1,5" for i, text in enumerate(TEXTS)]
    path.write_bytes(semicolons([{"id": i, "text": text} for i, text in enumerate(texts)]))
    assert recognised(path).format == "csv_semicolon"
    assert documents(path, block_bytes=block_bytes) == [[text] for text in texts]
    path = path.rename(tmp_path / "corpus.dat")
    assert documents(path, fields={"text": "text"}) == [[text] for text in texts]
    assert documents(path, format="csv_semicolon") == [[text] for text in texts]


def test_a_csv_file_may_have_tabs(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    path.write_bytes(FORMATS[".tsv"](RECORDS))
    assert documents(path) == [[text] for text in TEXTS]


@pytest.mark.parametrize(
    "header", ["text", "id,text", "text,a;b", "id,a;b;c;d,text", '"a;b;c;d",text', "a;b;c,text"]
)
def test_semicolons_in_a_header_do_not_separate_columns_if_commas_do(
    tmp_path: Path, header: str
) -> None:
    path = tmp_path / "corpus.csv"
    columns = next(csv.reader([header]))
    row = ",".join("x; y" if column == "text" else "a;b" for column in columns)
    path.write_text(f"{header}\n{row}\n", encoding="utf-8")
    assert (recognised(path).format, documents(path)) == ("csv", [["x; y"]])


def test_a_table_with_semicolons_under_another_suffix_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("id;text;lang\n" + "1;a, b;x\n" * 20, encoding="utf-8")
    with pytest.raises(UserError, match=r"columns id, text, lang, .*data\.text_field: text"):
        recognised(path)


def test_the_note_of_the_delimiter_that_excel_writes_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text("sep=;\nid;text\n1;a\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"csv:1: the line is Excel's note of the delimiter"):
        recognised(path)


# Quotes


CELLS = st.lists(
    st.tuples(st.text('a",\n\r\t', max_size=5), st.text('"\n', max_size=3)), min_size=1, max_size=8
)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@given(rows=CELLS, size=st.integers(1, 20))
def test_blocks_are_cut_outside_of_quotes(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    rows: list[tuple[str, str]],
    size: int,
) -> None:
    path = tmp_path_factory.mktemp("quotes") / f"corpus{suffix}"
    records = [{"a": f"x{a}y", "b": f"x{b}y"} for a, b in rows]
    path.write_bytes(delimited(records, {".csv": ",", ".tsv": "\t"}[suffix]))
    found = documents(
        path,
        "pairs",
        block_bytes=size,
        fields={"source": "a", "target": "b"},
        quoting=True,
    )
    assert found == [[one["a"], one["b"]] for one in records]


def test_quotes_that_are_part_of_the_texts_join_no_records(tmp_path: Path) -> None:
    path = tmp_path / "corpus.tsv"
    text = 'label\ttext\n1\t"a" and b\n0\tc\n1\t"d\n0\te"\n'
    path.write_text(text, encoding="utf-8")
    expected = [['"a" and b'], ["c"], ['"d'], ['e"']]
    assert documents(path) == expected
    assert documents(path, quoting=False) == expected
    assert documents(path, quoting=True) == [["c"], ["d\n0\te"]]


def test_records_that_quotes_join_are_an_error_further_below(tmp_path: Path) -> None:
    path = tmp_path / "corpus.tsv"
    begin = "label\ttext\n" + "1\ta longer text\n" * 2**15
    path.write_text(f'{begin}1\t"d\n0\te"\n', encoding="utf-8")
    assert len(documents(path, quoting=False)) == 2**15 + 2
    assert len(documents(path, quoting=True)) == 2**15 + 1
    with pytest.raises(UserError, match=r"corpus.tsv:32770: a quote begins .*quoting: false"):
        documents(path)


# Headers of plain TSV


@pytest.mark.parametrize("suffix", [".txt", ".tsv"])
@pytest.mark.parametrize("names", [("source", "target"), ("Tgt", "Src")])
def test_a_header_of_pairs_is_no_pair(tmp_path: Path, suffix: str, names: tuple[str, str]) -> None:
    path = tmp_path / f"corpus{suffix}"
    first, second = names
    path.write_text(f"\n{first}\tid\t{second}\na\t1\tb\nc\t2\td\n", encoding="utf-8")
    pairs = [["a", "b"], ["c", "d"]]
    expected = pairs if first == "source" else [pair[::-1] for pair in pairs]
    assert documents(path, "pairs", block_bytes=3) == expected
    path.write_text(f"{first}\t{second}\na\tb\tc\n", encoding="utf-8")
    with pytest.raises(UserError, match=r":2: the line has 3 columns, but the header has 2"):
        documents(path, "pairs")


# Limits


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_text_over_the_limit_is_an_error_that_names_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    longest = [{"text": "a"}, {"text": "x" * LONGEST_LINE}]
    path.write_bytes(FORMATS[suffix](longest))
    assert len(documents(path)) == 2
    path.write_bytes(FORMATS[suffix]([*longest, {"text": "x" * (LONGEST_LINE + 1)}]))
    place = {".jsonl": ":3", ".csv": ":4", ".tsv": ":4"}.get(suffix, ", row 3")
    with pytest.raises(UserError, match=rf"corpus\{suffix}{place}: .* longer than 4 MB"):
        documents(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_first_record_over_the_limit_is_an_error_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(b'{"text": "' + b"x" * (LONGEST_RECORD + 2**20))
    with pytest.raises(UserError, match=r":1: the record is longer than 16 MB"):
        documents(path)


@pytest.mark.parametrize("compression", ["", ".gz"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_record_over_the_limit_is_an_error_that_names_it(
    tmp_path: Path, suffix: str, compression: str
) -> None:
    path = tmp_path / f"corpus{suffix}{compression}"
    first = {".jsonl": '{"text": "a"}\n', ".csv": "id,text\n0,a\n"}[suffix]
    record = {".jsonl": '{"text": "', ".csv": '1,"'}[suffix]
    data = f"{first}{record}{'x' * (LONGEST_RECORD + 2**20)}".encode()
    path.write_bytes(COMPRESS[compression](data) if compression else data)
    line = first.count("\n") + 1
    with pytest.raises(UserError, match=rf"{compression}:{line}: the record is longer than 16 MB"):
        documents(path)


# CSV under another suffix

ROWS = "".join(f'{number},"a, b\n{number}",x\n' for number in range(20))
PROSE = "".join(f"Sentence {number}, with a comma, or two.\n" for number in range(20))


@pytest.mark.parametrize("name", ["corpus.txt", "corpus", "corpus.dat.gz"])
@pytest.mark.parametrize("header", ["id,text,lang", "a,b,c", '"id","text","lang"'])
def test_csv_under_another_suffix_is_an_error_that_names_the_key(
    tmp_path: Path, name: str, header: str
) -> None:
    path = tmp_path / name
    data = f"{header}\n{ROWS}".encode()
    path.write_bytes(COMPRESS[".gz"](data) if name.endswith(".gz") else data)
    with pytest.raises(UserError, match=r":1: the file is a table .* data\.text_field: "):
        recognised(path)
    column = header.replace('"', "").split(",")[1]
    assert documents(path, fields={"text": column})[0] == ["a, b\n0"]


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        f"one,two,three\n{PROSE}x\n",
        f"One, two, three\n{PROSE}",
        f"id,text,lang\n{ROWS}".rsplit("19,", 1)[0],
        "id,text,lang\n" + "a,b,c\n" * 10 + "a,b\n" + "a,b,c\n" * 10,
        "1,2,3\n" + "a,b,c\n" * 30,
        "one,one,one\n" * 30,
        "one,two\n" * 30,
    ],
)
def test_text_with_commas_is_no_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text(text, encoding="utf-8")
    assert recognised(path).format == "text"
    assert documents(path) == [[line] for line in text.splitlines()]
