"""Header lines of pairs and labelled texts under names that the layouts do not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.text.corpus import Layout, ReadOptions, find_corpus, recognise
from ptm.text.labels import LabelSet
from tests.support.corpora import documents, recognised

SENTIMENT = LabelSet(("0", "1"))
SENTENCES = "".join(f"A sentence of words {number}.\t第 {number} 句。\n" for number in range(30))
REVIEWS = "".join(f"{number % 2}\tA review of {number} words.\n" for number in range(30))


def write(tmp_path: Path, text: str, name: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["corpus.tsv", "corpus.txt"])
@pytest.mark.parametrize(
    ("layout", "header", "fields"),
    [
        ("pairs", "en\tzh", "{source: en, target: zh}"),
        ("pairs", "en_XX\tzh-CN", "{source: en_XX, target: zh-CN}"),
        ("pairs", "English\tChinese", "{source: English, target: Chinese}"),
        ("pairs", "Question\tAnswer", "{source: Question, target: Answer}"),
        ("pairs", "src\ttarget", "{source: src, target: target}"),
        ("labelled", "sentiment\treview", "{label: sentiment, text: review}"),
        ("pairs", "中文\t英文", "{source: 中文, target: 英文}"),
        ("labelled", "标签\t评论", "{label: 标签, text: 评论}"),
        ("labelled", "category\ttext", "{label: category, text: text}"),
    ],
)
def test_a_header_of_usual_names_is_an_error_with_the_key_that_reads_it(
    tmp_path: Path, name: str, layout: Layout, header: str, fields: str
) -> None:
    body = SENTENCES if layout == "pairs" else REVIEWS
    path = write(tmp_path, f"{header}\n{body}", name)
    with pytest.raises(UserError) as caught:
        recognised(path, layout)
    assert f"{name}:1: the line" in str(caught.value)
    assert f"Set data.fields: {fields}, or data.format: text" in str(caught.value)
    roles = dict(one.split(": ") for one in fields.strip("{}").split(", "))
    labels = SENTIMENT if layout == "labelled" else None
    found = documents(path, layout, labels=labels, fields=roles)
    assert len(found) == body.count("\n")
    assert len(documents(path, "pairs", format="text")) == 1 + body.count("\n")


def test_the_proposed_fields_leave_out_numbers_and_name_the_label(tmp_path: Path) -> None:
    pairs = write(tmp_path, "id\ten\tzh\n" + "1\ta\tb\n" * 9, "pairs.tsv")
    with pytest.raises(UserError, match=r"\{source: en, target: zh\}"):
        recognised(pairs, "pairs")
    labelled = write(tmp_path, "premise\thypothesis\tclass\n" + "a\tb\t0\n" * 9, "nli.tsv")
    with pytest.raises(UserError, match=r"\{label: class, text: premise, text_b: hypothesis\}"):
        recognised(labelled, "labelled")


@pytest.mark.parametrize(
    ("header", "warned"),
    [
        ("col_a\tcol_b", True),
        ("Hello\t你好", False),
        ("Hello there\tsomething", False),
        ("source\ttarget", False),
        ("A sentence of words.\t第一句。", False),
    ],
)
def test_other_names_above_sentences_are_warned_of(
    tmp_path: Path, header: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    recognised(write(tmp_path, f"{header}\n{SENTENCES}", "corpus.tsv"), "pairs")
    assert ("may be a header" in caplog.text) == warned
    if warned:
        assert "Set data.fields: {source: col_a, target: col_b}" in caplog.text


@pytest.mark.parametrize("text", ["chat\tcat\nchien\tdog\n" * 10, "Hello\tBonjour\n" * 3, "a\tb\n"])
def test_pairs_of_words_have_no_header(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    recognised(write(tmp_path, text, "words.tsv"), "pairs")
    assert not caplog.messages


@pytest.mark.parametrize("header", ["label\ttext_a", "text\tlabel", "id\tlabel\ttext_a\ttext_b"])
def test_headers_that_the_layout_knows_are_read(tmp_path: Path, header: str) -> None:
    columns = {"label": "1", "id": "7"}
    line = "\t".join(columns.get(name, "text") for name in header.split("\t"))
    path = write(tmp_path, f"{header}\n" + f"{line}\n" * 9, "corpus.tsv")
    assert recognised(path, "labelled").format == "text"
    assert len(documents(path, "labelled", labels=SENTIMENT)) == 9


def test_columns_of_languages_are_no_documents(tmp_path: Path) -> None:
    path = write(tmp_path, f"en\tzh\n{SENTENCES}", "corpus.txt")
    with pytest.raises(UserError, match=r"a table with the columns en, zh, .*data\.text_field: zh"):
        recognised(path, "documents")


def test_a_label_above_a_word_is_no_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "good\tGreat\n" + "bad\tNot a good one.\ngood\tRather a good one.\n" * 9
    recognised(write(tmp_path, text, "corpus.tsv"), "labelled")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("text_a\ttext_b", None),
        ("text\tlabel", None),
        ("sentence1\tsentence2", "--text-field sentence1 --text-b-field sentence2"),
        ("idx\tsentiment\treview", "--label-field sentiment --text-field review"),
    ],
)
def test_texts_to_predict_for_need_no_label(
    tmp_path: Path, header: str, options: str | None
) -> None:
    files = find_corpus([str(write(tmp_path, f"{header}\n" + "a b\tc d\n" * 9, "a.tsv"))])
    if options is None:
        recognise(files, "labelled", ReadOptions(key=""), optional={"label"})
        return
    with pytest.raises(UserError) as caught:
        recognise(files, "labelled", ReadOptions(key=""), optional={"label"})
    assert f"Set {options}, or --input-format text if the line is a text." in str(caught.value)
