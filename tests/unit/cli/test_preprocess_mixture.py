"""`ptm preprocess` of a mixture: one store per source, each made again only if it has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.store.reader import TokenStore
from tests.support.mixtures import mixed, preprocess_mixture, write_mixture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_mixture(tmp_path)
    return tmp_path


def made_at(folder: Path) -> dict[str, int]:
    """Inode of the manifest of each store, which differs after it was made again."""
    return {
        path.parent.name: path.stat().st_ino for path in (folder / "stores").glob("*/store.json")
    }


def changed(before: dict[str, int], folder: Path) -> set[str]:
    after = made_at(folder)
    assert after.keys() == before.keys() == {"english", "chinese"}
    return {name for name, inode in after.items() if inode != before[name]}


def flip_a_byte(store: Path) -> None:
    shard = next(store.glob("shard-*.bin"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def test_a_second_preprocessing_changes_nothing(folder: Path) -> None:
    before = made_at(folder)
    assert preprocess_mixture(folder, *mixed(folder)) == EXIT_DONE
    assert changed(before, folder) == set()


def test_only_the_store_of_a_changed_source_is_made_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = made_at(folder)
    with (folder / "chinese.txt").open("a", encoding="utf-8") as corpus:
        corpus.write("新的一行。\n")
    assert preprocess_mixture(folder, *mixed(folder)) == EXIT_USER
    assert 'stores/chinese" was made with another corpus' in capsys.readouterr().err
    assert changed(before, folder) == set()
    assert preprocess_mixture(folder, *mixed(folder), fresh=True) == EXIT_DONE
    assert changed(before, folder) == {"chinese"}


def test_a_damaged_store_is_made_again(folder: Path) -> None:
    before = made_at(folder)
    flip_a_byte(folder / "stores" / "english")
    assert preprocess_mixture(folder, *mixed(folder), fresh=True) == EXIT_DONE
    assert changed(before, folder) == {"english"}
    TokenStore.open(folder / "stores" / "english").verify()


def test_a_weight_changes_no_store(folder: Path) -> None:
    before = made_at(folder)
    assert preprocess_mixture(folder, *mixed(folder, weights=(1, 5))) == EXIT_DONE
    assert changed(before, folder) == set()


def test_a_store_that_a_source_names_without_files_is_left_alone(folder: Path) -> None:
    before = made_at(folder)
    (folder / "english.txt").unlink()
    corpus = f"data.corpus.english={{store: {folder}/stores/english, weight: 1}}"
    assert preprocess_mixture(folder, *mixed(folder), corpus) == EXIT_DONE
    assert changed(before, folder) == set()


def test_a_store_without_files_that_is_missing_is_an_error_with_the_command_that_makes_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder / "stores")
    store = folder / "other"
    sources = mixed(folder, f"data.corpus.english={{store: {store}, weight: 1}}")
    assert preprocess_mixture(folder, *sources) == EXIT_USER
    error = capsys.readouterr().err
    assert f'data.corpus.english.store: "{store}" does not exist' in error
    assert "the source english has no `files`" in error
    assert f"`ptm preprocess RECIPE data.corpus=FILES data.store={store}`" in error
    assert not (folder / "stores").exists()
    one = (f"data.corpus={folder / 'english.txt'}", f"data.store={store}")
    assert preprocess_mixture(folder, *mixed(folder), *one) == EXIT_DONE
    assert preprocess_mixture(folder, *sources) == EXIT_DONE
    assert (folder / "stores" / "chinese" / "store.json").exists()


def test_a_store_without_files_that_is_another_recipes_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = f"data.corpus.english={{store: {folder}/stores/english, weight: 1}}"
    sources = mixed(folder, corpus, "data.layout=sentences", "data.sentence_splitting=false")
    assert preprocess_mixture(folder, *sources, f"data.store={folder}/new") == EXIT_USER
    error = capsys.readouterr().err
    assert "data.corpus.english.store: " in error
    assert "has layout documents, but the recipe has data.layout: sentences" in error
    assert not (folder / "new").exists()


def test_the_store_of_one_corpus_is_not_taken_for_the_folder_of_a_mixture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = f"data.store={folder}/stores/english"
    assert preprocess_mixture(folder, *mixed(folder), store) == EXIT_USER
    assert "is the store of one corpus, but data.corpus has named sources" in (
        capsys.readouterr().err
    )
    assert not (folder / "stores" / "english" / "chinese").exists()


def test_verify_checks_every_store_of_a_mixture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["verify", str(folder / "stores")]) == EXIT_DONE
    assert capsys.readouterr().out.splitlines() == ["chinese  complete", "english  complete"]
    flip_a_byte(folder / "stores" / "english")
    assert main(["verify", str(folder / "stores")]) == EXIT_USER
    first, second = capsys.readouterr().out.splitlines()
    assert first == "chinese  complete"
    assert "english/shard-" in second
