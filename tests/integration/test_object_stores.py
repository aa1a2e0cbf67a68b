"""Corpora of S3, Google Cloud Storage and the Hugging Face Hub, served by local stand-ins.

The libraries read their addresses from the environment when they are imported, hence the processes.
Those of S3 need s3fs and moto (`pip install -e '.[s3]' 'moto[server]'`), those of Google Cloud
Storage gcsfs (`'.[gs]'`).
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.store.reader import TokenStore
from tests.support.corpora import json_lines, parquet
from tests.support.fake_stores import cloud_storage, hub, s3
from tests.support.small_runs import QUICKSTART, small_overrides

RECORDS = [{"text": f"文本 {number} of a corpus"} for number in range(40)]
OBJECTS = {
    "a/one.txt": "".join(f"{one['text']}\n" for one in RECORDS).encode(),
    "a/two.jsonl.gz": gzip.compress(json_lines(RECORDS)),
    "a/b/three.parquet": parquet(RECORDS, row_group_size=5),
    "a/left-out.bin": bytes(range(256)),
}
SERVERS = {"s3": s3, "gs": cloud_storage, "hf": hub}
FOLDERS = {"s3": "s3://corpora/a", "gs": "gs://corpora/a", "hf": "hf://datasets/team/corpora/a"}
PACKAGES = {"s3": ("s3fs", "moto"), "gs": ("gcsfs",), "hf": ("huggingface_hub",)}
RECIPE = str(QUICKSTART / "roberta-tiny.yaml")
UNREACHABLE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Served:
    protocol: str
    folder: str
    environment: dict[str, str]


def served(protocol: str) -> Iterator[Served]:
    absent = [name for name in PACKAGES[protocol] if importlib.util.find_spec(name) is None]
    if absent:
        pytest.skip(f"needs {' and '.join(absent)}")
    with SERVERS[protocol](OBJECTS) as environment:
        yield Served(protocol, FOLDERS[protocol], environment)


@pytest.fixture(scope="module")
def hub_store() -> Iterator[Served]:
    yield from served("hf")


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket(request: pytest.FixtureRequest) -> Iterator[Served]:
    yield from served(request.param)


def preprocess(
    tmp_path: Path, corpus: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    overrides = small_overrides(tmp_path / "store", tmp_path, "remote", f"data.corpus={corpus}")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "HF_"))}
    return subprocess.run(
        [sys.executable, "-m", "ptm", "preprocess", RECIPE, *overrides],
        env={**clean, "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def check_documents(tmp_path: Path, store: Served, pattern: str, documents: int) -> None:
    done = preprocess(tmp_path, f"{store.folder}{pattern}", store.environment)
    assert (done.returncode, done.stderr.count("Traceback")) == (EXIT_DONE, 0), done.stderr
    assert TokenStore.open(tmp_path / "store").info.documents == documents


def check_error(tmp_path: Path, corpus: str, environment: dict[str, str], message: str) -> None:
    done = preprocess(tmp_path, corpus, environment)
    assert done.returncode == EXIT_USER, done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("ptm: ")]
    assert f'"{corpus}"' in line
    assert message in line
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


def test_the_hub_is_read_and_its_errors_are_sentences(hub_store: Served, tmp_path: Path) -> None:
    check_documents(tmp_path / "folder", hub_store, "", 120)
    check_error(tmp_path, f"{hub_store.folder}/none.txt", hub_store.environment, "does not exist")


@pytest.mark.slow
@pytest.mark.parametrize(("pattern", "documents"), [("/*.jsonl.gz", 40), ("/b/three.parquet", 40)])
def test_the_hub_has_globs_and_tables(
    hub_store: Served, tmp_path: Path, pattern: str, documents: int
) -> None:
    check_documents(tmp_path, hub_store, pattern, documents)


@pytest.mark.slow
def test_errors_of_the_hub(hub_store: Served, tmp_path: Path) -> None:
    other = "hf://datasets/team/other/x.txt"
    check_error(tmp_path, other, hub_store.environment, "Repository Not Found")
    unreachable = {**hub_store.environment, "HF_ENDPOINT": UNREACHABLE}
    check_error(tmp_path, f"{hub_store.folder}/one.txt", unreachable, "Connection refused")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "documents"),
    [("/one.txt", 40), ("", 120), ("/*.jsonl.gz", 40), ("/b/three.parquet", 40)],
)
def test_buckets_are_read(bucket: Served, tmp_path: Path, pattern: str, documents: int) -> None:
    check_documents(tmp_path, bucket, pattern, documents)


@pytest.mark.slow
def test_what_a_bucket_lacks_is_named(bucket: Served, tmp_path: Path) -> None:
    for name in ("none.txt", "b/none.parquet"):
        check_error(tmp_path, f"{bucket.folder}/{name}", bucket.environment, "does not exist")
    check_error(tmp_path, f"{bucket.protocol}://other/x.txt", bucket.environment, "does not exist")


@pytest.mark.slow
def test_a_server_that_cannot_be_reached_is_an_error(bucket: Served, tmp_path: Path) -> None:
    names = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}
    environment = {**bucket.environment, names[bucket.protocol]: UNREACHABLE}
    check_error(tmp_path, f"{bucket.folder}/one.txt", environment, "onnect")


@pytest.mark.slow
def test_without_credentials_the_error_says_how_to_read_public_files(tmp_path: Path) -> None:
    for store in served("s3"):
        url = {"AWS_ENDPOINT_URL": store.environment["AWS_ENDPOINT_URL"]}
        corpus = f"{store.folder}/one.txt"
        check_error(tmp_path, corpus, url, "Set credentials in the environment, or FSSPEC_S3=")
        done = preprocess(tmp_path, corpus, {**url, "FSSPEC_S3": '{"anon": true}'})
        assert done.returncode == EXIT_DONE, done.stderr
