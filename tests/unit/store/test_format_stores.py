"""Stores of corpora in every format: equal to that of plain text, resumed, and compared."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptm.errors import UserError
from ptm.files.kinds import MARKER
from ptm.store.format import MANIFEST, StoreInfo
from ptm.store.preprocess import Preprocessing, PreprocessingProgress, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import Layout, ReadOptions, RemoteReadError, find_corpus, recognise
from ptm.text.labels import LabelSet
from ptm.text.segmenters import Segmenter
from ptm.text.segmenters.rjieba import RJieba
from ptm.text.segmenters.space import Space
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.conftest import Bundled
from tests.support.corpora import FORMATS, parquet


def make(
    store: Path,
    corpus: Path,
    vocab: Path,
    layout: Layout = "documents",
    *,
    workers: int = 1,
    labels: LabelSet | None = None,
    segmenter: Segmenter | None = None,
    report: Callable[[PreprocessingProgress], None] = lambda _: None,
    **options: Any,
) -> StoreInfo:
    work = Preprocessing(
        corpus=recognise(find_corpus([str(corpus)]), layout, ReadOptions(**options)),
        layout=layout,
        tokenizer=WordPiece(type="wordpiece", vocab=str(vocab)),
        segmenter=segmenter,
        labels=labels,
    )
    return preprocess(work, store, workers=workers, fresh=False, report=report)


def arrays(folder: Path) -> list[list[int]]:
    """Tokens; lengths of documents and sentences; sentences per document, of a whole store."""
    store = TokenStore.open(folder)
    starts, lengths = store.document_ranges
    _, sentence_lengths, sentences = store.sentence_ranges
    found = (store.tokens(starts, lengths), lengths, sentence_lengths, sentences)
    return [part.tolist() for part in found]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def texts(bundled: Bundled) -> list[str]:
    """Documents of several lines."""
    lines = [line for path in bundled.corpus for line in path.read_text("utf-8").splitlines()]
    return ["\n".join(lines[at : at + 3]) for at in range(0, len(lines), 3)]


@pytest.fixture(scope="module")
def records(texts: list[str]) -> list[dict[str, Any]]:
    return [{"id": number, "text": text} for number, text in enumerate(texts)]


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], bundled: Bundled
) -> list[list[int]]:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "corpus.txt").write_text("\n\n".join(texts), encoding="utf-8")
    make(folder / "store", folder / "corpus.txt", bundled.vocab, "sentences")
    return arrays(folder / "store")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_store_has_the_ids_of_plain_text_in_every_format(
    tmp_path: Path,
    suffix: str,
    records: list[dict[str, Any]],
    plain: list[list[int]],
    bundled: Bundled,
) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(FORMATS[suffix](records))
    info = make(tmp_path / "store", path, bundled.vocab, "sentences")
    assert arrays(tmp_path / "store") == plain
    assert info.corpus[0]["format"] == recognise_format(path)
    assert TokenStore.open(tmp_path / "store").info.corpus[0]["fields"] == ["text"]


def recognise_format(path: Path) -> str:
    (file,) = recognise(find_corpus([str(path)]), "documents", ReadOptions())
    return file.format


@pytest.mark.parametrize("segmenter", [None, Space(type="space"), RJieba(type="rjieba")])
def test_a_line_end_in_a_document_is_white_space(
    tmp_path: Path, segmenter: Segmenter | None, texts: list[str], bundled: Bundled
) -> None:
    found = []
    for name, text in (("lines", "\n".join(texts)), ("spaces", " ".join(texts))):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(FORMATS[".jsonl"]([{"text": text}]))
        make(tmp_path / name, path, bundled.vocab, segmenter=segmenter)
        store = TokenStore.open(tmp_path / name)
        found.append([shard.blake2b for shard in store.info.shards])
    assert found[0] == found[1]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_a_store_has_the_ids_of_utf_8_in_every_encoding(
    tmp_path: Path, encoding: str, texts: list[str], plain: list[list[int]], bundled: Bundled
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("\r\n\u3000\r\n".join(texts).replace("\n", "\r").encode(encoding))
    info = make(tmp_path / "store", path, bundled.vocab, "sentences", encoding=encoding)
    assert arrays(tmp_path / "store") == plain
    assert info.corpus[0]["encoding"] == encoding


LONG_RECORDS: list[dict[str, Any]] = [
    # Several blocks. White space costs the tokenizer nothing.
    {"id": number, "text": f"{number} a{' ' * 400}\nb"}
    for number in range(2000)
]
LONG: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "corpus.jsonl.gz": lambda records: gzip.compress(FORMATS[".jsonl"](records), 1),
    "corpus.csv": FORMATS[".csv"],
    "corpus.parquet": lambda records: parquet(records, row_group_size=900),
}


@pytest.mark.parametrize(("name", "workers"), [*zip(LONG, (2, 4, 2), strict=True)])
def test_several_workers_write_the_bytes_of_one(
    tmp_path: Path,
    name: str,
    workers: int,
    bundled: Bundled,
) -> None:
    path = tmp_path / name
    path.write_bytes(LONG[name](LONG_RECORDS))
    one = make(tmp_path / "one", path, bundled.vocab)
    make(tmp_path / "several", path, bundled.vocab, workers=workers)
    assert len(one.shards) > 1
    assert contents(tmp_path / "one") == contents(tmp_path / "several")


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("error", [KeyboardInterrupt, RemoteReadError])
def test_a_stopped_run_is_resumed_to_the_same_store(
    tmp_path: Path,
    name: str,
    error: type[BaseException],
    bundled: Bundled,
) -> None:
    path = tmp_path / name
    path.write_bytes(LONG[name](LONG_RECORDS))
    make(tmp_path / "whole", path, bundled.vocab)

    def stop(_: PreprocessingProgress) -> None:
        if len(list((tmp_path / "store.partial").glob("shard-*.json"))) == 2:
            raise error

    with pytest.raises(error):
        make(tmp_path / "store", path, bundled.vocab, report=stop)
    finished = {
        one.name: one.stat().st_mtime_ns for one in (tmp_path / "store.partial").glob("*.bin")
    }
    assert len(finished) == 2
    make(tmp_path / "store", path, bundled.vocab)
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
    kept = {one: (tmp_path / "store" / one).stat().st_mtime_ns for one in finished}
    assert kept == finished, "finished shards were encoded again"


# Labels and pairs


@pytest.mark.parametrize("suffix", FORMATS)
def test_labels_and_pairs_are_read_from_fields(
    tmp_path: Path, suffix: str, tiny_vocab: Path
) -> None:
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(
        FORMATS[suffix]([{"y": "yes", "s": "a b", "t": "c"}, {"y": "no", "s": "d", "t": "e"}])
    )
    labels = LabelSet(("no", "yes"))
    fields = {"label": "y", "text": "s", "text_b": "t"}
    info = make(tmp_path / "labelled", path, tiny_vocab, "labelled", labels=labels, fields=fields)
    assert info.labels == {"no": 1, "yes": 1}
    assert sum(shard.sentences for shard in info.shards) == 4
    fields = {"source": "t", "target": "s"}
    info = make(tmp_path / "pairs", path, tiny_vocab, "pairs", fields=fields)
    assert (info.report["source_tokens"], info.report["target_tokens"]) == (2, 3)


def test_labelled_files_with_one_and_two_texts_are_an_error(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    one, two = {"label": "yes", "text": "a"}, {"label": "no", "text_a": "a", "text_b": "b"}
    (folder / "a.jsonl").write_bytes(FORMATS[".jsonl"]([one]))
    (folder / "b.jsonl").write_bytes(FORMATS[".jsonl"]([two]))
    with pytest.raises(UserError, match=r"b\.jsonl: the file has pairs .*a\.jsonl has single"):
        make(tmp_path / "s", folder, tiny_vocab, "labelled", labels=LabelSet(("no", "yes")))


# What is compared with a finished store


@pytest.mark.parametrize("change", ["field", "encoding", "quoting", "format"])
def test_a_store_that_was_read_otherwise_is_an_error(
    tmp_path: Path, tiny_vocab: Path, change: str
) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text("text,other\na,b\n", encoding="utf-8")
    before: dict[str, Any] = {"fields": {"text": "text"}}
    after: dict[str, Any] = {
        "field": {"fields": {"text": "other"}},
        "encoding": {**before, "encoding": "gb18030"},
        "quoting": {**before, "quoting": False},
        "format": {"format": "text"},
    }[change]
    make(tmp_path / "store", path, tiny_vocab, **before)
    make(tmp_path / "store", path, tiny_vocab, **before)
    with pytest.raises(UserError, match=r"another corpus .*formats, encodings and fields"):
        make(tmp_path / "store", path, tiny_vocab, **after)


def test_a_store_of_an_earlier_version_is_of_utf_8_text(tmp_path: Path, tiny_vocab: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a\nb\n", encoding="utf-8")
    make(tmp_path / "store", path, tiny_vocab)
    manifest = tmp_path / "store" / MANIFEST
    data = json.loads(manifest.read_text("utf-8"))
    for file in data["corpus"]:
        assert (file.pop("format"), file.pop("encoding")) == ("text", "utf-8")
    manifest.write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "store" / MARKER).unlink()
    assert make(tmp_path / "store", path, tiny_vocab).documents == 2
    with pytest.raises(UserError, match="another corpus"):
        make(tmp_path / "store", path, tiny_vocab, encoding="gb18030")


# Lines that are left out


def test_lines_that_are_left_out_are_named(
    tmp_path: Path, tiny_vocab: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = "a b\n" * 50
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text(f"{good}c\0d\n{good}", encoding="utf-8")
    lines = '{"text": "a"}\n' * 150
    (corpus / "b.jsonl").write_text(f'{lines}{{"txt": "a"}}\n{lines}', encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        info = make(tmp_path / "store", corpus, tiny_vocab)
    assert (info.documents, info.report["invalid_lines"]) == (400, 2)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith("a.txt:51: the line contains a NUL byte")
    assert "1 of 101 lines were left out" in first
    assert second.endswith('b.jsonl:151: the record has no field "text". Did you mean "txt"?')


def test_more_than_one_line_in_a_hundred_is_an_error_that_names_the_field(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "a"}\n' * 50 + '{"body": "a", "id": 1}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r':51: .* no field "text"\. Choose one of: body, id\. \(i'):
        make(tmp_path / "store", path, tiny_vocab)
    path = tmp_path / "corpus.parquet"
    path.write_bytes(parquet([{"text": None}, {"text": "a"}]))
    with pytest.raises(UserError, match=r"parquet, row 1: .* is null.*invalid rows: 1 of 2"):
        make(tmp_path / "store", path, tiny_vocab)


def test_the_line_of_a_damaged_record_counts_header_and_earlier_blocks(
    tmp_path: Path, tiny_vocab: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "corpus.csv"
    rows = f'x,"a{" " * 99}\nb"\n' * 4000
    path.write_text(f"id,text\n{rows}damaged\n{rows}", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        info = make(tmp_path / "store", path, tiny_vocab)
    assert len(info.shards) > 2
    (record,) = caplog.records
    assert "corpus.csv:8002: the record has 1 columns" in record.getMessage()


# A wrong layout


def test_a_blank_line_of_wide_spaces_ends_a_document_at_any_size(
    tmp_path: Path, tiny_vocab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptm.text.corpus.sizes.LARGEST_DOCUMENT", 1000)
    path = tmp_path / "corpus.txt"
    path.write_text(f"a{' ' * 99}\nb\n\u3000\n" * 6000, encoding="utf-8")
    info = make(tmp_path / "store", path, tiny_vocab, "sentences")
    assert (info.documents, len(info.shards) > 2) == (6000, True)


def test_one_document_of_many_lines_is_an_error_that_names_the_layout(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a b\n" * 999, encoding="utf-8")
    assert make(tmp_path / "store", path, tiny_vocab, "sentences").documents == 1
    path.write_text("a b\n" * 1000, encoding="utf-8")
    with pytest.raises(UserError, match=r"1,000 lines .* one document.*layout: documents"):
        make(tmp_path / "other", path, tiny_vocab, "sentences")


def test_no_store_is_made_of_a_file_that_changes_while_it_is_read(
    tmp_path: Path, small_vocab: Path
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("a document of some words\n" * 40_000, encoding="utf-8")

    def append(_: PreprocessingProgress) -> None:
        with path.open("a") as file:
            file.write("more\n")

    with pytest.raises(UserError, match=r"corpus\.txt: the file changed while it was read"):
        make(tmp_path / "store", path, small_vocab, report=append)
    assert [one.name for one in tmp_path.iterdir()] == ["corpus.txt"]
    make(tmp_path / "store", path, small_vocab)
