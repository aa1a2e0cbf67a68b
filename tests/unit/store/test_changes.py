"""A store that is replaced, changed or cut short while it is read; what `--fresh` may replace."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.files.kinds import MARKER, STORE, FolderKind
from ptm.files.ownership import mark_folder
from ptm.store.format import MANIFEST
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.tokenizers.wordpiece import WordPiece

Make = Callable[..., None]


@pytest.fixture
def make(tmp_path: Path, tiny_vocab: Path) -> Make:
    """Preprocess a text into the store `tmp_path/store`."""

    def run(text: str = "a b c\n", *, fresh: bool = True, store: Path | None = None) -> None:
        corpus = tmp_path / "corpus.txt"
        if not corpus.exists() or corpus.read_text() != text:
            corpus.write_text(text)
        work = Preprocessing(
            corpus=find_corpus([str(corpus)]),
            layout="documents",
            tokenizer=WordPiece(type="wordpiece", vocab=str(tiny_vocab)),
            segmenter=None,
        )
        target = store or tmp_path / "store"
        preprocess(work, target, workers=1, fresh=fresh, report=lambda progress: None)

    return run


@pytest.fixture
def store(make: Make, tmp_path: Path) -> TokenStore:
    make("a b c\nd\n", fresh=False)
    return TokenStore.open(tmp_path / "store")


def tokens_of(store: TokenStore) -> list[int]:
    return store.tokens(*store.document_ranges).tolist()


def flip(path: Path, *, at: int = 0) -> None:
    """Change a byte of a file in place, and leave its time of modification as it was."""
    times = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


# Replaced


def test_a_store_in_use_is_not_replaced(store: TokenStore, make: Make) -> None:
    store.hold()
    with pytest.raises(UserError, match="is in use by a training or another command"):
        make("x y\n")


def test_a_store_whose_reader_has_ended_is_replaced(make: Make, tmp_path: Path) -> None:
    make("a b c\n", fresh=False)
    reader = TokenStore.open(tmp_path / "store")
    reader.hold()
    del reader
    make("c c c c\n")
    assert len(tokens_of(TokenStore.open(tmp_path / "store"))) == 4
    assert sorted(path.name for path in tmp_path.glob("store*")) == ["store"]


def test_a_store_that_was_moved_away_is_read_as_it_was_opened(
    store: TokenStore, make: Make
) -> None:
    before = tokens_of(TokenStore.open(store.folder))
    store.hold()
    store.folder.rename(store.folder.with_name("moved"))
    make("c c c c\n")
    assert tokens_of(store) == before


def test_a_store_that_a_training_opens_at_the_last_moment_stays_beside_the_new_one(
    make: Make, store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tokens_of(TokenStore.open(store.folder))
    answers = iter([False, True])
    monkeypatch.setattr("ptm.store.staging.is_in_use", lambda folder: next(answers))
    make("c c c c\n")
    (old,) = tmp_path.glob("store.*.replaced")
    assert tokens_of(TokenStore.open(old)) == before
    monkeypatch.undo()
    make("c c c\n")
    assert not old.exists()


def test_a_store_on_a_read_only_filesystem_is_held(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("ptm.store.reader.fcntl.flock", no_locks)
    store.hold()
    assert tokens_of(store)


# Changed in place


def test_a_shard_that_is_cut_short_while_it_is_read_is_named_and_ends_no_process(
    store: TokenStore,
) -> None:
    store.hold()
    ranges = store.document_ranges
    shard = store.folder / store.info.shards[0].file
    os.truncate(shard, 0)
    with pytest.raises(UserError, match=rf"{shard.name}: the shard has 0 bytes .*in use"):
        store.tokens(*ranges)


def test_a_shard_that_is_written_to_while_it_is_read_is_noticed(store: TokenStore) -> None:
    store.hold()
    ranges = store.document_ranges
    shard = store.folder / store.info.shards[0].file
    before = store.tokens(*ranges).tolist()
    os.utime(shard, ns=(1, 1))
    assert store.tokens(*ranges).tolist() == before
    flip(shard)
    os.utime(shard, ns=(2, 2))
    with pytest.raises(UserError, match="the checksum differs from the manifest"):
        store.tokens(*ranges)


def test_large_stores_are_verified_in_part_and_whole_ones_find_every_change(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ptm.store.preprocess._SMALLEST_BLOCK", 16)
    make("a b c d e f g\n" * 40, fresh=False)
    store = TokenStore.open(tmp_path / "store")
    assert len(store.info.shards) > 4
    flip(store.folder / store.info.shards[2].file)
    with pytest.raises(UserError, match="the checksum differs"):
        TokenStore.open(store.folder).verify()
    largest = max(shard.bytes for shard in store.info.shards)
    dice = random.Random(0)
    monkeypatch.setattr("ptm.store.reader.random.SystemRandom", lambda: dice)
    found = 0
    for _ in range(200):
        try:
            TokenStore.open(store.folder).verify(limit=2 * largest)
        except UserError:
            found += 1
    # Each start draws other shards: the change is found at some starts, and not at all of them.
    assert 0 < found < 200
    parts = len(store.info.shards)
    for part in range(parts):
        if part != 2:
            store.verify(part=part, parts=parts)
    with pytest.raises(UserError, match="the checksum differs"):
        store.verify(part=2, parts=parts)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("dtype", "<u4", "tokens has the type <u4 instead of <u2"),
        ("count", 3, "tokens has 3 items"),
        ("offset", 8, "tokens starts at byte 8"),
        ("name", "word_starts", "its sections are word_starts"),
        ("dtype", "O", "has the type O"),
    ],
)
def test_a_section_that_the_store_cannot_have_is_rejected(
    store: TokenStore, key: str, value: object, problem: str
) -> None:
    manifest = store.folder / MANIFEST
    data = json.loads(manifest.read_text())
    data["shards"][0]["sections"][0][key] = value
    manifest.write_text(json.dumps(data))
    with pytest.raises(UserError, match=rf"store\.json: the file is damaged \(.*{problem}"):
        TokenStore.open(store.folder)


def test_a_shard_outside_the_store_is_rejected(store: TokenStore) -> None:
    manifest = store.folder / MANIFEST
    data = json.loads(manifest.read_text())
    data["shards"][0]["file"] = "../shard-00000-000000.bin"
    manifest.write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"it names the file"):
        TokenStore.open(store.folder)


def test_a_manifest_that_was_edited_is_noticed(store: TokenStore, make: Make) -> None:
    manifest = store.folder / MANIFEST
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, "report": {**data["report"], "lines": 9}}))
    with pytest.raises(UserError, match=r"its checksum differs from that in \.ptm-folder"):
        TokenStore.open(store.folder).verify()


# What `--fresh` may replace


def test_a_project_with_a_file_called_store_json_is_not_replaced(
    make: Make, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / MANIFEST).write_text('{"products": []}')
    (project / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r'because "thesis\.txt" in it was not written by ptm'):
        make(store=project)
    (project / "thesis.txt").unlink()
    with pytest.raises(UserError, match=r"not a store of ptm: .* Set another path\.$"):
        make(store=project)
    with pytest.raises(UserError, match=r"damaged .* otherwise set another path\.$"):
        make(store=project, fresh=False)
    assert (project / MANIFEST).read_text() == '{"products": []}'


def test_a_store_of_an_earlier_version_without_a_marker_is_replaced(
    make: Make, store: TokenStore
) -> None:
    (store.folder / MARKER).unlink()
    make("c c c c\n")
    assert len(tokens_of(TokenStore.open(store.folder))) == 4


def test_a_store_without_a_marker_that_has_other_shards_is_not_replaced(
    make: Make, store: TokenStore
) -> None:
    (store.folder / MARKER).unlink()
    shard = store.folder / store.info.shards[0].file
    with shard.open("ab") as file:
        file.write(b"precious")
    with pytest.raises(UserError, match=r"not a store of ptm: its shards are not those"):
        make("c c c c\n")
    shard.rename(shard.with_name("shard-00007-000007.bin"))
    with pytest.raises(UserError, match=r"not a store of ptm: its shards are not those"):
        make("c c c c\n")
    assert shard.with_name("shard-00007-000007.bin").read_bytes().endswith(b"precious")


@pytest.mark.parametrize(
    "files",
    [
        {"lock": "my own lock"},
        {"work.json": '{"tokenizer": 1}', "store.json": "{}"},
        {"work.json": '{"tokenizer": "t", "layout": "l", "corpus": [], "mine": 1}'},
        {"shard-00000-000000.bin": "precious"},
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_the_users_in_the_place_of_the_unfinished_store_is_rejected(
    make: Make, tmp_path: Path, files: dict[str, str], fresh: bool
) -> None:
    partial = tmp_path / "store.partial"
    partial.mkdir()
    for name, content in files.items():
        (partial / name).write_text(content)
    with pytest.raises(UserError, match="is not empty and is not an unfinished store"):
        make(fresh=fresh)
    assert {path.name: path.read_text() for path in partial.iterdir()} == files


@pytest.mark.parametrize("marker", ["absent", "empty"])
def test_an_unfinished_store_without_a_whole_marker_is_finished(
    make: Make, tmp_path: Path, marker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ptm.store.preprocess.write_manifest", full)
    with pytest.raises(UserError, match="Finished shards are kept"):
        make()
    monkeypatch.undo()
    partial = tmp_path / "store.partial"
    (partial / MARKER).unlink()
    if marker == "empty":
        (partial / MARKER).touch()
        (partial / "work.json").unlink()
    make()
    assert tokens_of(TokenStore.open(tmp_path / "store"))


def test_a_preprocessing_killed_before_its_store_has_its_name_is_finished(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark_and_die(folder: Path, kind: FolderKind, *, identity: str | None = None) -> None:
        mark_folder(folder, kind, identity=identity)
        if kind is STORE:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ptm.store.staging.mark_folder", mark_and_die)
        with pytest.raises(KeyboardInterrupt):
            make("a b c\nd\n", fresh=False)
    partial = tmp_path / "store.partial"
    (shard,) = partial.glob("shard-*.bin")
    written = shard.stat().st_mtime_ns
    make("a b c\nd\n", fresh=False)
    assert not partial.exists()
    assert (tmp_path / "store" / shard.name).stat().st_mtime_ns == written
    assert _names(tmp_path / "store") == {MANIFEST, MARKER, shard.name}
    TokenStore.open(tmp_path / "store").verify()


def test_a_preprocessing_killed_after_its_store_has_its_name_leaves_a_whole_store(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ptm.store.staging.sync_folder", _killed)
        with pytest.raises(KeyboardInterrupt):
            make("a b c\nd\n", fresh=False)
    store = tmp_path / "store"
    TokenStore.open(store).verify()
    make("a b c\nd\n", fresh=False)
    make("e\n", fresh=True)
    assert _names(store) == {MANIFEST, MARKER, "shard-00000-000000.bin"}


def test_a_store_that_is_named_as_an_unfinished_one_is_not_taken(
    make: Make, tmp_path: Path
) -> None:
    make(store=tmp_path / "store.partial")
    before = _names(tmp_path / "store.partial")
    with pytest.raises(UserError, match="marked as store, not as unfinished store"):
        make(fresh=True)
    assert _names(tmp_path / "store.partial") == before


def _killed(*words: object) -> None:
    raise KeyboardInterrupt


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_link_is_read_but_not_replaced(make: Make, store: TokenStore, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(store.folder)
    assert tokens_of(TokenStore.open(link)) == tokens_of(store)
    with pytest.raises(UserError, match="is a symbolic link"):
        make(store=link)
    assert TokenStore.open(link).info == store.info


def test_a_link_in_the_place_of_the_unfinished_store_is_rejected(
    make: Make, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "work.json").write_text("{}")
    (tmp_path / "store.partial").symlink_to(outside)
    with pytest.raises(UserError, match=r'"\S+store\.partial", where the store is written first'):
        make()
    assert [path.name for path in outside.iterdir()] == ["work.json"]


def test_a_copied_store_keeps_its_marker(store: TokenStore, tmp_path: Path) -> None:
    shutil.copytree(store.folder, tmp_path / "copy")
    TokenStore.open(tmp_path / "copy").verify()


def test_stores_are_equal_bytes_with_their_markers(
    make: Make, store: TokenStore, tmp_path: Path
) -> None:
    make("a b c\nd\n", store=tmp_path / "again")
    names = {path.name for path in store.folder.iterdir() if path.is_file()}
    assert MARKER in names
    for name in names - {MANIFEST, MARKER}:
        assert (tmp_path / "again" / name).read_bytes() == (store.folder / name).read_bytes()


# Limits of open files

OPENING = """
import resource, sys
from ptm.errors import UserError
from ptm.store.reader import TokenStore
resource.setrlimit(resource.RLIMIT_NOFILE, (80, int(sys.argv[2])))
store = TokenStore.open(sys.argv[1])
try:
    store.verify()
    print("verified")
    store.hold()
    print(len(store.document_ranges[0]))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("hard", [400, 200])
def test_a_store_with_many_shards_raises_the_limit_of_open_files(
    tmp_path: Path, tiny_vocab: Path, hard: int
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number in range(100):
        (corpus / f"{number:03}.txt").write_text("a b c\n")
    work = Preprocessing(
        corpus=find_corpus([str(corpus)]),
        layout="documents",
        tokenizer=WordPiece(type="wordpiece", vocab=str(tiny_vocab)),
        segmenter=None,
    )
    folder = tmp_path / "store"
    preprocess(work, folder, workers=1, fresh=False, report=lambda progress: None)
    command = [sys.executable, "-c", OPENING, str(folder), str(hard)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    verified, rest = found.split("\n", 1)
    assert verified == "verified"
    if hard == 400:
        assert rest == "100\n"
    else:
        # The shards and their memory maps alone are 200 files.
        assert "the 100 shards of the store need two open files each" in rest
        assert "the limit of open files is 200" in rest
        assert "`ulimit -n " in rest
        assert "damaged" not in rest


def test_a_store_below_its_corpus_folder_is_not_read_as_corpus(
    tmp_path: Path, tiny_vocab: Path
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text("a b c\n")
    for _ in range(2):
        work = Preprocessing(
            corpus=find_corpus([str(corpus)]),
            layout="documents",
            tokenizer=WordPiece(type="wordpiece", vocab=str(tiny_vocab)),
            segmenter=None,
        )
        info = preprocess(
            work, corpus / "store", workers=1, fresh=False, report=lambda progress: None
        )
        assert [Path(file["path"]).name for file in info.corpus] == ["a.txt"]
