"""Set-up of pytest, and fixtures for all tests: bundled texts and stores, and larger texts."""

from __future__ import annotations

import logging
import math
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from ptm.store.preprocess import Preprocessing, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import Layout, find_corpus
from ptm.text.segmenters import Segmenter
from ptm.text.segmenters.rjieba import RJieba
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.wordpiece import WordPiece

# In the background of a script, this process ignores SIGINT, and its children would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Set before torch is imported: workers and ranks that each use all cores slow each other down.
os.environ["OMP_NUM_THREADS"] = "1"
# On a disk, trainings wait at every checkpoint. In memory they do not; a test run takes 2 GB.
_MEMORY_DISK, _ENOUGH = Path("/dev/shm"), 8 << 30
_HAS_MEMORY = psutil.virtual_memory().available > _ENOUGH
if _MEMORY_DISK.is_dir() and _HAS_MEMORY and shutil.disk_usage(_MEMORY_DISK).free > _ENOUGH:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))

settings.register_profile("ptm", deadline=None, derandomize=True)
settings.load_profile("ptm")

TESTS = Path(__file__).parent
PROJECT = TESTS.parent

pytest_plugins = [
    "tests.support.small_models",
    "tests.support.small_recipes",
    "tests.support.small_runs",
    "tests.support.texts",
    "tests.support.two_hosts",
]

RANKS = ("engines", "hosts", "launch", "storm")
"""Folders of `tests/integration` whose tests start ranks."""


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Runs each test file in one worker, so that its fixtures are built once.

    All tests that start ranks are one group, so that no two of them run at the same time: the ranks
    of one would keep both cores busy while the other waits for a deadline.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "ranks" if _place(PROJECT / path) == 0 else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Replace the scheduler of `--dist`."""
    return Groups(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reverse-files", action="store_true", help="run the test files backwards")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that no worker starts one at the end."""
    items.sort(key=lambda item: _place(item.path))
    if config.getoption("--reverse-files"):
        files = list(dict.fromkeys(item.path for item in items))
        items.sort(key=lambda item: -files.index(item.path))


def _place(path: Path) -> int:
    """Sort key of a test file: 0 if its tests start ranks, 1 for other integration tests, or 2."""
    parts = path.relative_to(TESTS).parts
    if parts[0] != "integration":
        return 2
    return 0 if parts[1] in RANKS else 1


@dataclass(frozen=True)
class Bundled:
    """The quickstart's folder and files."""

    folder: Path
    vocab: Path
    english: Path
    chinese: Path

    @property
    def corpus(self) -> tuple[Path, ...]:
        return (self.english, self.chinese)


@dataclass(frozen=True)
class RealText:
    """Realistic documents with their vocabulary and tokenizer."""

    name: str
    vocab: Path
    documents: tuple[str, ...]
    tokenizer: Tokenizer = field(compare=False)

    def as_layout(self, layout: Layout) -> str:
        """The documents as the text of a corpus file."""
        return corpus_text(self.documents, layout)


def corpus_text(documents: Sequence[str], layout: Layout) -> str:
    """`documents` as the text of a corpus file, with one document or one sentence per line."""
    if layout == "documents":
        return "\n".join(documents) + "\n"
    return "\n\n".join("\n".join(sentences_of(text)) for text in documents) + "\n"


def sentences_of(document: str) -> list[str]:
    """Split a document into sentences, crudely; the sentences, joined, are the document."""
    marked = document
    for stop in "。！？.!?":
        marked = marked.replace(stop, f"{stop}\n")
    return [sentence for sentence in marked.split("\n") if sentence.strip()]


@pytest.fixture(scope="session", autouse=True)
def _keep_process_group() -> Iterator[None]:
    """Keep the process group of a worker: DeepSpeed cannot create a second one in a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ptm.engines.ranks.destroy_process_group", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _no_console_left_over() -> Iterator[None]:
    """Remove log handlers of the command line, whose console is closed at the end of the test."""
    yield
    logger = logging.getLogger("ptm")
    for handler in [one for one in logger.handlers if type(one) is logging.StreamHandler]:
        logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def _linear_of_torch() -> Iterator[None]:
    """Undo what DeepSpeed does to torch at ZeRO 3, after tests that never close their engine."""
    yield
    if "ptm.engines.deepspeed" in sys.modules:
        sys.modules["ptm.engines.deepspeed"].restore_linear()


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def bundled(project: Path) -> Bundled:
    """The quickstart's vocabulary and corpus, which are part of the checkout."""
    folder = project / "recipes" / "quickstart"
    return Bundled(
        folder=folder,
        vocab=folder / "vocab.txt",
        english=folder / "corpus" / "english.txt",
        chinese=folder / "corpus" / "chinese.txt",
    )


@pytest.fixture(scope="session")
def shared_data(project: Path) -> Path:
    """The folder of larger real texts beside the checkout; skips the test if it is absent."""
    folder = project.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder}, the folder of larger texts, does not exist")
    return folder


def _documents(path: Path, count: int) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()][:count]


@pytest.fixture(scope="session", params=["bundled", "shared"])
def real_text(request: pytest.FixtureRequest) -> RealText:
    """Chinese and English documents, short and long, in random order."""
    if request.param == "bundled":
        bundled: Bundled = request.getfixturevalue("bundled")
        vocab = bundled.vocab
        documents = _documents(bundled.chinese, 400) + _documents(bundled.english, 400)
        documents += [" ".join(documents[i::40]) for i in range(20)]
    else:
        shared: Path = request.getfixturevalue("shared_data")
        vocab = shared / "vocab" / "google_zh_vocab.txt"
        documents = _documents(shared / "book_review.txt", 1200)
        documents += _documents(shared / "CLUECorpusSmall_sampled.txt", 150)
    random.Random(0).shuffle(documents)
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab)).load()
    return RealText(request.param, vocab, tuple(documents), tokenizer)


BuildStore = Callable[..., TokenStore]


@pytest.fixture(scope="session")
def build_store() -> BuildStore:
    """A function that preprocesses some text in this process and opens the token store."""

    def build(
        folder: Path,
        text: str,
        *,
        vocab: Path,
        layout: Layout = "documents",
        segmenter: Segmenter | None = None,
        sentence_splitting: bool = False,
        target_vocab: Path | None = None,
    ) -> TokenStore:
        folder.mkdir(parents=True, exist_ok=True)
        corpus = folder / "corpus.txt"
        corpus.write_text(text, encoding="utf-8", newline="\n")
        work = Preprocessing(
            corpus=find_corpus([str(corpus)]),
            layout=layout,
            tokenizer=WordPiece(type="wordpiece", vocab=str(vocab)),
            segmenter=segmenter,
            sentence_splitting=sentence_splitting,
            target_tokenizer=WordPiece(type="wordpiece", vocab=str(target_vocab))
            if target_vocab
            else None,
        )
        preprocess(work, folder / "store", workers=1, fresh=False, report=lambda _: None)
        return TokenStore.open(folder / "store")

    return build


@pytest.fixture(scope="session")
def real_store(
    real_text: RealText, build_store: BuildStore, tmp_path_factory: pytest.TempPathFactory
) -> TokenStore:
    """A store of `real_text` with word starts."""
    return build_store(
        tmp_path_factory.mktemp(real_text.name),
        real_text.as_layout("documents"),
        vocab=real_text.vocab,
        segmenter=RJieba(type="rjieba"),
    )


@pytest.fixture
def tiny_vocab(tmp_path: Path) -> Path:
    """Special tokens, two unused ones, letters and digits, their continuations, some hanzi."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
    tokens += [*letters, *(f"##{letter}" for letter in letters), *"我们在北京天安门看书[]"]
    path = tmp_path / "tiny_vocab.txt"
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_progress_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave standard error to messages in this process, whatever time a command takes.

    integration/console/ tests the lines.
    """
    monkeypatch.setattr("ptm.cli.progress.SECONDS_BEFORE_LINES", math.inf)
