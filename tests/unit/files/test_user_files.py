"""Files that a user names: bounded, regular, UTF-8 with or without a byte-order mark."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptm.components.objectives.masking.lexicon import read_lexicon
from ptm.engines.ds_config import known_keys
from ptm.errors import UserError
from ptm.files.user_files import parse_json, read_bytes, read_json, read_lines, read_text
from ptm.launch.hosts import read_hostfile
from ptm.recipe import load_recipe
from ptm.text.segmenters.jieba import Jieba
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import read_vocabulary
from tests.support.small_runs import QUICKSTART

BOM = "\ufeff"


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(f"{BOM}[1]\r\n{BOM}two\n\n", encoding="utf-8", newline="")
    assert read_text(path) == f"[1]\r\n{BOM}two\n\n"
    assert read_lines(path) == ["[1]", f"{BOM}two", ""]
    path.write_text(f'{BOM}{{"a": 1}}', encoding="utf-8")
    assert read_json(path) == {"a": 1}
    path.write_bytes(b"")
    assert read_lines(path) == []


def test_side_files_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    def written(name: str, text: str) -> str:
        (tmp_path / name).write_text(BOM + text, encoding="utf-8")
        return str(tmp_path / name)

    vocab = written("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n中\n文\n字\n")
    assert read_vocabulary(vocab)[0] == "[PAD]"
    tokenizer = WordPiece(type="wordpiece", vocab=vocab).load()
    assert len(read_lexicon(written("lexicon", "中文\n"), tokenizer).phrases.fingerprint) > 0
    assert read_hostfile(Path(written("hosts", "node-1 slots=2\n"))) == {"node-1": [0, 1]}
    cut = Jieba(type="jieba", dictionary=written("words", "石墨烯纳米带\n")).load()
    assert "石墨烯纳米带" in list(cut("研究石墨烯纳米带的人"))
    recipe = (QUICKSTART / "roberta-tiny.yaml").read_text(encoding="utf-8")
    assert load_recipe(written("recipe.yaml", recipe)).name == "quickstart"


READERS: dict[str, Callable[[Path], Any]] = {
    "text": read_text,
    "recipe": lambda path: load_recipe(str(path)),
    "vocabulary": lambda path: read_vocabulary(str(path)),
    "hostfile": read_hostfile,
}


@pytest.mark.parametrize("reader", READERS)
def test_only_regular_files_are_opened(tmp_path: Path, reader: str) -> None:
    read = READERS[reader]
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(
        UserError, match=r"fifo: cannot be read: it is a FIFO\. Give a regular file"
    ):
        read(tmp_path / "fifo")
    with pytest.raises(
        UserError, match=r"/dev/zero: cannot be read: it is a device\. Give a regular file"
    ):
        read(Path("/dev/zero"))
    with pytest.raises(UserError, match=r"cannot be read: it is a folder"):
        read(tmp_path)
    for name in ("a\0b", "a\ud800b"):
        with pytest.raises(UserError, match="no file can have this name"):
            read(Path(name))
    (tmp_path / "binary").write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"binary: the file is not valid UTF-8 at byte 2"):
        read(tmp_path / "binary")


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert read_text(tmp_path / "link") == "text"


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="has 1,099,511,627,776 bytes, and at most 10 are read"):
        read_bytes(path, most=10)
    with pytest.raises(UserError, match="at most 4,194,304 are read"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 65 + "]" * 65, "nested more than 64 deep"),
        ("[" * 3000 + "]" * 3000, "nested more than 64 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested more than 64 deep"),
        ("9" * 5000, "not valid JSON"),
        ("[1,\n2", r"x:2: the file is not valid JSON"),
        ("", r"x:1: the file is not valid JSON"),
    ],
)
def test_hostile_json_is_rejected(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_json(text, name="x")


def test_json_as_deep_as_the_limit_is_read() -> None:
    assert parse_json("[" * 64 + "1" + "]" * 64, name="x")
    assert parse_json("1", name="x") == 1
    assert known_keys()


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIASES, r"recipe\.yaml:\d+: the recipe has more than 64 aliases"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested more than 32 deep"),
        ("a:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 200)) + "- b", r"recipe\.yaml"),
        ("seed: " + "9" * 5000, r"recipe\.yaml:1: .*cannot be read as a value"),
        ("seed: 9223372036854775808", r"recipe\.yaml:1: seed: the number is larger than"),
        ('name: "a\\0b"', r"recipe\.yaml:1: name: the text contains a NUL or a lone surrogate"),
        ('name: "a\\ud800b"', r"recipe\.yaml:1: name: the text contains a NUL or a lone"),
        ('"na\\0me": 1', r"recipe\.yaml:1: a key contains a NUL"),
    ],
)
def test_hostile_yaml_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("model.encoder.layers", 1024),
        ("model.encoder.hidden_size", 2**20),
        ("model.encoder.heads", 2**20),
        ("model.embedding.positions", 2**20),
        ("data.sequence_length", 2**20),
        ("data.workers", 1024),
        ("engine.pipeline_stages", 256),
        ("train.steps", 2**31),
    ],
)
def test_numbers_of_a_recipe_have_limits(key: str, most: int) -> None:
    recipe = str(QUICKSTART / "roberta-tiny.yaml")
    for value in (most + 1, 10**9 if most < 10**9 else 10**18):
        with pytest.raises(UserError, match=rf"{key}: {value}: must be (less than|at most) "):
            load_recipe(recipe, [f"{key}={value}"])


@pytest.mark.parametrize("slots", ["999999999999", "4097", "0", "-1", "²", "9" * 5000])
def test_slots_have_limits(tmp_path: Path, slots: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(f"node-1 slots={slots}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"hosts:1: slots=.* is not a positive number of ranks"):
        read_hostfile(path)
    path.write_text("".join(f"node-{n} slots=4096\n" for n in range(33)), encoding="utf-8")
    with pytest.raises(UserError, match="more than 131,072 slots together"):
        read_hostfile(path)


@pytest.mark.parametrize(
    "name", ["a;b", "$(x)", "a[1-3]", "^file", "a:b", "a,b", "-x", "a'b", "中", "a@b@c", "%h"]
)
def test_a_host_name_that_a_program_would_interpret_is_rejected(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(f"{name} slots=1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"hosts:1: .* is not a valid host name"):
        read_hostfile(path)


def test_ordinary_host_names_are_accepted(tmp_path: Path) -> None:
    names = ["node-1", "n_2.example.org", "10.0.0.1", "fd00::1", "me@node-3", "3com"]
    path = tmp_path / "hosts"
    path.write_text("".join(f"{name} slots=1\n" for name in names), encoding="utf-8")
    assert list(read_hostfile(path)) == names
