"""What ptm removes: drawn trees with files of a user and links beside and inside its folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptm.checkpoint.writing import Retention, clear_leftovers, remove_old_checkpoints
from ptm.data.index_cache import build_lock, cached_arrays, remove_arrays
from ptm.errors import UserError
from ptm.files.kinds import (
    CHECKPOINT,
    INDEX,
    LAUNCH_FOLDER,
    MARKER,
    OFFLOAD,
    RANK_FILES,
    STORE,
    SWANLAB_RUN,
    UNFINISHED_STORE,
    WANDB_RUN,
    FolderKind,
)
from ptm.files.locks import open_lock
from ptm.files.ownership import (
    ForeignFileError,
    check_removable,
    mark_folder,
    read_marker,
    remove_files,
    remove_folder,
)
from ptm.files.writing import temporary_name, temporary_target
from ptm.interop.folders import new_folder
from ptm.store.staging import check_partial_folder, clear_on_user_error, publish, resume_or_clear
from ptm.train.rank_file import clear_rank_files

OWN: dict[str, tuple[FolderKind, tuple[str, ...]]] = {
    "store": (STORE, ("store.json", "shard-123456-1234567.bin", "index/0123456789abcdef-k/a.npy")),
    "unfinished store": (UNFINISHED_STORE, ("work.json", "lock", "shard-123456-1234567.tmp")),
    "checkpoint": (CHECKPOINT, ("manifest.json", "run.json", "rank00000.bin")),
    "index": (INDEX, ("ex_starts.npy", "index.json")),
    "offload": (OFFLOAD, ("zero_stage_3/optimizer/rank0/140.tensor.swp",)),
    "W&B run": (WANDB_RUN, ("run-abc.wandb", "files/config.yaml", "logs/debug.log")),
    "SwanLab run": (SWANLAB_RUN, ("run-abc.swanlab", "files/config.yaml", "debug/debug.log")),
    "launch": (LAUNCH_FOLDER, ("deepspeed_env",)),
}
USERS = st.sampled_from(
    ["notes.txt", "thesis/chapter.tex", "index/notes.txt", "files/mine.py", ".git/config",
     "rank00000.bin.bak", "zero_stage_3/mine.swp", "store.json.old"]
)  # fmt: skip
FORMS = st.sampled_from(["file", "link to file", "link to folder", "dangling link", "folder"])
KINDS = st.sampled_from(sorted(OWN))


def write_own(folder: Path, kind: str, *, marked: bool) -> Path:
    for name in OWN[kind][1]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("ptm")
    if marked:
        mark_folder(folder, OWN[kind][0])
    return folder


def plant(root: Path, at: Path, form: str) -> None:
    """Put something of a user's at a path."""
    at.parent.mkdir(parents=True, exist_ok=True)
    match form:
        case "file":
            at.write_text("precious")
        case "folder":
            at.mkdir()
        case "link to file":
            at.symlink_to(root / "outside" / "thesis.txt")
        case "link to folder":
            at.symlink_to(root / "outside")
        case "dangling link":
            at.symlink_to(root / "nowhere")


def snapshot(root: Path) -> dict[str, str]:
    """Every path under a folder, with the content of files and the target of links."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        else:
            found[name] = path.read_text() if path.is_file() else "folder"
    return found


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes a new folder for each drawn example, with a folder of the user's in it."""

    def make() -> Path:
        folder = tmp_path_factory.mktemp("drawn")
        (folder / "outside").mkdir()
        (folder / "outside" / "thesis.txt").write_text("precious")
        return folder

    return make


drawn = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@drawn
@given(kind=KINDS, marked=st.booleans())
def test_a_folder_with_nothing_but_known_names_is_removed(
    root: Callable[[], Path], kind: str, marked: bool
) -> None:
    base = root()
    folder = write_own(base / "own", kind, marked=marked)
    remove_folder(folder, OWN[kind][0])
    assert snapshot(base) == {"outside": "folder", "outside/thesis.txt": "precious"}


@drawn
@given(kind=KINDS, marked=st.booleans(), name=USERS, form=FORMS)
def test_a_folder_that_holds_something_of_a_user_stays_as_it_is(
    root: Callable[[], Path], kind: str, marked: bool, name: str, form: str
) -> None:
    base = root()
    folder = write_own(base / "own", kind, marked=marked)
    plant(base, folder / name, form)
    before = snapshot(base)
    with pytest.raises(ForeignFileError, match=r"own: the folder is not removed, because \""):
        remove_folder(folder, OWN[kind][0])
    assert snapshot(base) == before


@drawn
@given(kind=KINDS, own=st.data())
def test_a_link_in_the_place_of_a_known_name_is_foreign(
    root: Callable[[], Path], kind: str, own: st.DataObject
) -> None:
    base = root()
    folder = write_own(base / "own", kind, marked=True)
    path = folder / own.draw(st.sampled_from(OWN[kind][1]))
    path.unlink()
    path.symlink_to(base / "outside" / "thesis.txt")
    before = snapshot(base)
    with pytest.raises(ForeignFileError, match="is a symbolic link"):
        remove_folder(folder, OWN[kind][0])
    assert snapshot(base) == before


@pytest.mark.parametrize("kind", sorted(OWN))
def test_a_link_to_a_folder_of_ptm_is_not_removed(tmp_path: Path, kind: str) -> None:
    folder = write_own(tmp_path / "own", kind, marked=True)
    (tmp_path / "link").symlink_to(folder)
    before = snapshot(tmp_path)
    with pytest.raises(ForeignFileError, match="a symbolic link"):
        remove_folder(tmp_path / "link", OWN[kind][0])
    assert snapshot(tmp_path) == before


def test_a_folder_marked_as_another_kind_is_not_removed(tmp_path: Path) -> None:
    folder = write_own(tmp_path / "own", "checkpoint", marked=False)
    mark_folder(folder, STORE)
    with pytest.raises(ForeignFileError, match="marked as store, not as checkpoint"):
        check_removable(folder, CHECKPOINT)


def test_temporary_names_cannot_be_guessed_and_lead_back_to_their_target(tmp_path: Path) -> None:
    names = {temporary_name(tmp_path / "out") for _ in range(100)}
    assert len(names) == 100
    assert {temporary_target(name) for name in names} == {tmp_path / "out"}
    assert temporary_target(tmp_path / "out.partial") is None


def test_files_are_removed_by_their_whole_name_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    kept = ("rank-notes.txt", "rank00000.json.bak", "nccl_trace_rank_x")
    for name in (*kept, "rank00000.json", "rank00001.stacks", "nccl_trace_rank_12"):
        (ranks / name).write_text("")
    (ranks / "rank00002.json").symlink_to(tmp_path / "outside")
    (ranks / "rank00003.json").mkdir()
    clear_rank_files(tmp_path)
    left = {path.name for path in ranks.iterdir()}
    assert left == {*kept, "rank00002.json", "rank00003.json"}
    remove_files(tmp_path / "absent", RANK_FILES)


# Every command that removes, with something of a user's beside and inside each folder


@drawn
@given(form=FORMS, inside=st.booleans(), name=st.sampled_from(["notes.txt", "run.json.orig"]))
def test_pruning_and_clearing_checkpoints_keep_what_is_the_users(
    root: Callable[[], Path], form: str, inside: bool, name: str
) -> None:
    base = root()
    checkpoints = base / "checkpoints"
    beside = ("global_step2.partial", "mine.partial", "global_step8.before", "old.before")
    for step in (2, 4, 8, 9):
        write_own(checkpoints / f"global_step{step}", "checkpoint", marked=step > 2)
    for number, partial in enumerate(beside):
        if inside:
            write_own(checkpoints / partial, "checkpoint", marked=False)
            plant(base, checkpoints / partial / name, form)
        elif number % 2:
            plant(base, checkpoints / partial, form)
    plant(base, checkpoints / "global_step4" / name, form)
    before = snapshot(base)

    clear_leftovers(checkpoints)
    problems = remove_old_checkpoints(checkpoints, Retention(1))

    after = snapshot(base)
    assert set(problems) == {"global_step4"}
    gone = {"global_step2", "global_step8"}
    assert {path: before[path] for path in after} == after
    assert all(path.split("/")[1] in gone for path in before.keys() - after.keys())
    assert not any((checkpoints / name).exists() for name in gone)


@drawn
@given(form=FORMS, place=st.sampled_from(["store", "partial", "beside"]), name=USERS)
def test_a_store_that_is_replaced_takes_nothing_with_it(
    root: Callable[[], Path], form: str, place: str, name: str
) -> None:
    base = root()
    store, partial = base / "store", base / "store.partial"
    write_own(store, "store", marked=True)
    write_own(partial, "unfinished store", marked=True)
    (partial / "store.json").write_text("{}")
    plant(base, {"store": store, "partial": partial, "beside": base / "x"}[place] / name, form)
    before = snapshot(base)

    class Info:
        shards = ()

    try:
        publish(partial, store, Info())  # type: ignore[arg-type]
    except ForeignFileError:
        assert place != "beside"
        assert snapshot(base) == before
    else:
        assert place == "beside"
        assert (store / "store.json").read_text() == "{}"
        assert {key: value for key, value in before.items() if key.startswith("x")} == {
            key: value for key, value in snapshot(base).items() if key.startswith("x")
        }


@drawn
@given(form=FORMS, name=USERS, fresh=st.booleans())
def test_a_stopped_preprocessing_that_starts_again_or_fails_keeps_what_is_the_users(
    root: Callable[[], Path], form: str, name: str, fresh: bool
) -> None:
    base = root()
    partial = write_own(base / "store.partial", "unfinished store", marked=True)
    plant(base, partial / name, form)
    before = snapshot(base)
    with pytest.raises(ForeignFileError):
        resume_or_clear(partial, {"tokenizer": "x"}, fresh=fresh)
    with pytest.raises(UserError, match="the corpus is empty"), clear_on_user_error(partial):
        raise UserError("the corpus is empty")
    assert snapshot(base) == before


@drawn
@given(form=FORMS, fails=st.booleans())
def test_a_new_folder_leaves_what_has_its_former_temporary_name(
    root: Callable[[], Path], form: str, fails: bool
) -> None:
    base = root()
    plant(base, base / "out.partial", form)
    before = snapshot(base)
    try:
        with new_folder(base / "out") as aside:
            (aside / "config.json").write_text("{}")
            if fails:
                raise OSError(28, "No space left on device")
    except UserError:
        assert fails
        assert snapshot(base) == before
    else:
        assert snapshot(base) == {**before, "out": "folder", "out/config.json": "{}"}


@drawn
@given(form=FORMS, name=USERS)
def test_an_index_that_holds_something_of_a_user_stays(
    root: Callable[[], Path], form: str, name: str
) -> None:
    base = root()
    write_own(base, "store", marked=True)
    cached_arrays(base, "f" * 32, "key", dict)
    folder = base / "index" / f"{'f' * 16}-key"
    plant(base, folder / name, form)
    before = snapshot(base)
    remove_arrays(base, "f" * 32, "key")
    assert snapshot(base) == before


def test_a_full_disk_leaves_no_marker_and_an_empty_one_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_own(tmp_path / "global_step4.0123abcd.partial", "checkpoint", marked=False)

    def replace(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="No space left"):
        mark_folder(folder, CHECKPOINT)
    monkeypatch.undo()
    assert MARKER not in {path.name for path in folder.iterdir()}

    (folder / MARKER).touch()
    (folder / f"{MARKER}.0123abcd.partial").touch()
    assert read_marker(folder) is None
    clear_leftovers(tmp_path)
    assert not folder.exists()


def test_an_unfinished_store_with_an_empty_marker_is_resumed(tmp_path: Path) -> None:
    partial = tmp_path / "store.partial"
    partial.mkdir()
    (partial / "lock").touch()
    (partial / MARKER).touch()
    check_partial_folder(partial)
    resume_or_clear(partial, {"tokenizer": "x"}, fresh=False)
    assert read_marker(partial) is not None


def test_a_lock_is_opened_as_it_is_and_never_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "thesis.txt")
    os.mkfifo(tmp_path / "fifo")
    with open_lock(tmp_path / "thesis.txt") as lock:
        assert lock.read() == "precious"
    with pytest.raises(UserError, match="link: the lock file is a symbolic link"):
        open_lock(tmp_path / "link")
    with pytest.raises(UserError, match="fifo: the lock file is not a regular file"):
        open_lock(tmp_path / "fifo")
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_the_lock_of_an_index_is_not_a_link(tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "thesis.txt").write_text("precious")
    (tmp_path / "index" / f"{'f' * 16}-key.lock").symlink_to(tmp_path / "thesis.txt")
    with (
        pytest.raises(UserError, match="is a symbolic link"),
        build_lock(tmp_path, "f" * 32, "key"),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "precious"
