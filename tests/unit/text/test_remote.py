"""Corpora behind a URL, served by a local HTTP server."""

from __future__ import annotations

import logging
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, UserError
from ptm.text.corpus import (
    CorpusReader,
    ReadOptions,
    RemoteReadError,
    find_corpus,
    recognise,
    remote,
)
from tests.support.corpora import COMPRESS, FORMATS, documents, recognised
from tests.support.small_runs import QUICKSTART

TEXTS = [f"文本 {number}" for number in range(50)]
RECORDS = [{"text": text} for text in TEXTS]


class _Handler(SimpleHTTPRequestHandler):
    """Serves files, whole or with ranges; `/broken` ends early, `/unknown` gives no length."""

    ranges = False

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if "broken" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b'{"text": "a"}\n' * 30_000)
        elif "unknown" in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(Path(self.translate_path(self.path)).read_bytes())
        elif self.ranges and wanted:
            data = Path(self.translate_path(self.path)).read_bytes()
            begin, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end}/{len(data)}")
            self.send_header("Content-Length", str(end - begin + 1))
            self.end_headers()
            self.wfile.write(data[begin : end + 1])
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if "unknown" in self.path:
            self.send_response(200)
            self.end_headers()
        else:
            super().do_HEAD()

    def end_headers(self) -> None:
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


class _Ranges(_Handler):
    ranges = True


@pytest.fixture(params=[_Handler, _Ranges], ids=["whole files", "ranges"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Write a file and return its URL."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(request.param, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def write(name: str, data: bytes = b"") -> str:
            if data:
                (folder / name).write_bytes(data)
            return f"http://127.0.0.1:{server.server_address[1]}/{name}"

        yield write
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("compression", ["", ".gz"])
def test_a_url_has_the_documents_of_the_file(
    serve: Callable[..., str], suffix: str, compression: str
) -> None:
    data = FORMATS[suffix](RECORDS)
    url = serve(
        f"corpus{suffix}{compression}", COMPRESS[compression](data) if compression else data
    )
    assert documents(url, block_bytes=100) == [[text] for text in TEXTS]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_blocks_of_a_large_file_do_not_depend_on_the_network(
    serve: Callable[..., str], tmp_path: Path, suffix: str
) -> None:
    # More than is fetched at once. Random texts cannot be compressed.
    records = [{"text": random.Random(number).randbytes(2**19).hex()} for number in range(8)]
    data = FORMATS[suffix](records)
    assert len(data) > 5 * 2**20
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(data)
    sizes = [
        [
            len(block.data)
            for block in CorpusReader(
                recognised(one), index=0, layout="documents", block_bytes=2**21
            ).blocks()
        ]
        for one in (path, serve(path.name, data))
    ]
    assert len(sizes[0]) > 2
    assert sizes[0] == sizes[1]


def test_a_glob_finds_the_files_of_a_server(serve: Callable[..., str]) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.csv"):
        url = serve(name, FORMATS[f".{name.split('.')[1]}"](RECORDS))
    base = url.rsplit("/", 1)[0]
    found = find_corpus([f"{base}/*.jsonl"])
    assert [file.path for file in found] == [f"{base}/a.jsonl", f"{base}/b.jsonl"]
    assert all(file.bytes > 0 for file in found)
    assert len(find_corpus([f"{base}/"])) == 3


def test_a_missing_file_is_an_error_that_names_the_url(serve: Callable[..., str]) -> None:
    with pytest.raises(RemoteReadError, match=r'data\.corpus: "http://.*none\.jsonl".*404'):
        find_corpus([serve("none.jsonl")])


def test_a_connection_that_ends_early_is_an_error_that_may_be_tried_again(
    serve: Callable[..., str],
) -> None:
    with pytest.raises(RemoteReadError, match=r"broken\.jsonl"):
        documents(serve("broken.jsonl"))


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("same", ["size", "time"])
def test_a_remote_file_that_changes_while_it_is_read_is_an_error(
    serve: Callable[..., str], tmp_path: Path, suffix: str, same: str
) -> None:
    data = FORMATS[suffix](RECORDS)
    url = serve(f"corpus{suffix}", data)
    path = tmp_path / "served" / f"corpus{suffix}"
    status = path.stat()
    blocks = CorpusReader(recognised(url), index=0, layout="documents", block_bytes=2**9).blocks()
    next(blocks)
    if same == "size":
        # HTTP gives times in seconds.
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 2 * 10**9))
    else:
        path.write_bytes(data + FORMATS[".jsonl"](RECORDS))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match=rf"corpus\{suffix}: the file changed while it was read"):
        list(blocks)


def test_a_file_of_unknown_length_is_warned_of_once(
    serve: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert documents(serve("unknown.jsonl", FORMATS[".jsonl"](RECORDS))) == [
            [text] for text in TEXTS
        ]
    (message,) = caplog.messages
    assert "unknown.jsonl: its length is not known" in message
    caplog.clear()
    documents(serve("corpus.jsonl", FORMATS[".jsonl"](RECORDS)))
    documents(serve("unknown.jsonl.gz", COMPRESS[".gz"](FORMATS[".jsonl"](RECORDS))))
    assert not caplog.messages


def test_a_protocol_without_its_package_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"pip install -e '\.\[s3\]'"):
        find_corpus(["s3://bucket/corpus.jsonl"])


def test_an_unknown_protocol_is_an_error() -> None:
    with pytest.raises(UserError, match=r"the protocol is not known to fsspec"):
        find_corpus(["nothing://bucket/corpus.jsonl"])


def test_a_url_of_fsspec_may_name_local_files(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_bytes(FORMATS[".jsonl"](RECORDS))
    (file,) = recognise(find_corpus([f"file://{tmp_path}"]), "documents", ReadOptions())
    assert file.path == f"file://{tmp_path}/corpus.jsonl"
    assert file.modified_ns > 0


# Secrets


def test_a_store_and_a_saved_recipe_hide_the_secrets_of_urls(
    serve: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = serve("a.txt", b"one\n\ntwo\n")
    recipe = QUICKSTART / "roberta-tiny.yaml"
    settings = [f"data.store={tmp_path / 'store'}", f"runs_dir={tmp_path}", "data.held_out=0"]
    for token in ("secret1", "secret2"):
        # A new token makes no new store.
        arguments = [str(recipe), f"data.corpus={url}?token={token}", *settings]
        assert main(["preprocess", *arguments]) == EXIT_DONE
        assert main(["validate", "--print", *arguments]) == EXIT_DONE
    printed = capsys.readouterr()
    written = (tmp_path / "store" / "store.json").read_text()
    assert f"{url}?token=HIDDEN" in written
    assert f"{url}?token=HIDDEN" in printed.out
    assert "secret" not in written + printed.out + printed.err


# Servers that are slow, or do not answer


def test_a_server_that_does_not_answer_is_an_error_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 0.5)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/corpus.jsonl"
        with pytest.raises(RemoteReadError, match=r'"http.*" cannot be read: the server has not'):
            find_corpus([url])


def test_a_transfer_may_take_longer_than_the_default_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.client, "DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=1))
    line = b'{"text": "a"}\n'

    class Slow(_Handler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(12 * len(line)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            for _ in range(12):
                self.wfile.write(line)
                time.sleep(0.15)

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/corpus.jsonl"
        assert documents(url) == [["a"]] * 12
        server.shutdown()
