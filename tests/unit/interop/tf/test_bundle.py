"""Tensor bundles, TensorFlow's checkpoint files, are read exactly, or refused in one sentence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ptm.errors import UserError
from ptm.interop.tf.bundle import TensorBundle
from ptm.interop.tf.crc32c import crc32c, masked_crc32c
from tests.support.tensor_bundles import Stored, masked, stored, table, write_bundle
from tests.support.tf1_weights import albert_variables, bert_variables

FIXTURES = Path(__file__).parents[3] / "fixtures" / "tf1"
BERT = FIXTURES / "bert" / "bert_model.ckpt"
ALBERT = FIXTURES / "albert" / "model.ckpt-best"


def read_all(prefix: Path) -> None:
    bundle = TensorBundle(prefix)
    for name in bundle.names:
        bundle.read(name)


def error_of(prefix: Path) -> str:
    """The message of a bundle that cannot be read whole."""
    with pytest.raises(UserError) as caught:
        read_all(prefix)
    text = str(caught.value)
    assert "\n" not in text
    assert str(prefix) in text
    return text


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A copy of the ALBERT that TensorFlow wrote, for a test to damage."""
    for file in ALBERT.parent.glob(f"{ALBERT.name}.*"):
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path / ALBERT.name


def test_the_values_that_tensorflow_wrote() -> None:
    variables = bert_variables()
    bundle = TensorBundle(BERT)
    slots = {f"{name}/{slot}" for name in variables for slot in ("adam_m", "adam_v")}
    assert set(bundle.names) == {*variables, *slots, "global_step"}
    for name, value in variables.items():
        assert torch.equal(bundle.read(name), torch.from_numpy(value)), name


def test_a_partitioned_variable_and_two_shards() -> None:
    bundle = TensorBundle(ALBERT)
    assert set(bundle.names) == set(albert_variables())
    for name, value in albert_variables().items():
        assert torch.equal(bundle.read(name), torch.from_numpy(value)), name


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1000, 16_383, 16_384, 16_385])
def test_checksum_equals_one_computed_bit_by_bit(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert masked_crc32c(data) == masked(data)


def test_checksum_of_the_standard() -> None:
    # RFC 3720, appendix B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64"])
def test_data_types(tmp_path: Path, dtype: str) -> None:
    value = np.arange(-3, 9).reshape(3, 4).astype(dtype)
    write_bundle(tmp_path / "m", {"x": stored(value)})
    assert torch.equal(TensorBundle(tmp_path / "m").read("x"), torch.from_numpy(value).float())


def test_bfloat16(tmp_path: Path) -> None:
    value = torch.tensor([1.5, -0.25, 3e5])
    data = value.bfloat16().view(torch.int16).numpy().tobytes()
    write_bundle(tmp_path / "m", {"x": Stored(data, 14, (3,))})
    assert torch.equal(TensorBundle(tmp_path / "m").read("x"), value.bfloat16().float())


def test_text_is_no_tensor(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"names": Stored(b"abc", 7, (3,))})
    assert "data type (number 7" in error_of(tmp_path / "m")


def test_scalars_empty_tensors_and_many_blocks(tmp_path: Path) -> None:
    values = {f"v{index}": np.full((), index, np.float32) for index in range(20)}
    values["empty"] = np.zeros((0, 4), np.float32)
    write_bundle(tmp_path / "m", {n: stored(v) for n, v in values.items()}, shards=3)
    bundle = TensorBundle(tmp_path / "m")
    for name, value in values.items():
        assert torch.equal(bundle.read(name), torch.from_numpy(value)), name


def test_big_endian_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"x": stored(np.ones(2, np.float32))}, big_endian=True)
    assert "big-endian" in error_of(tmp_path / "m")


def test_a_compressed_index_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"x": stored(np.ones(2, np.float32))}, compressed=True)
    assert "compressed" in error_of(tmp_path / "m")


def test_a_shape_larger_than_the_data_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    write_bundle(tmp_path / "m", {"x": Stored(b"1234", 1, (1 << 40, 1 << 20))})
    assert "4 bytes for the shape" in error_of(tmp_path / "m")


def test_every_byte_of_the_index_is_checked(prefix: Path) -> None:
    index = prefix.with_name(f"{prefix.name}.index")
    whole = index.read_bytes()
    ignored = 0
    for place in range(0, len(whole), 7):
        index.write_bytes(whole[:place] + bytes((whole[place] ^ 0x10,)) + whole[place + 1 :])
        try:
            error_of(prefix)
        except pytest.fail.Exception:
            ignored += 1
    # Only the empty metadata block and the footer's padding are not read.
    assert ignored < 10


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("ending", ["index", "data-00000-of-00002", "data-00001-of-00002"])
def test_truncated_files(prefix: Path, ending: str, share: float) -> None:
    path = prefix.with_name(f"{prefix.name}.{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged" in error_of(prefix)


def test_a_flipped_bit_of_the_data(prefix: Path) -> None:
    path = prefix.with_name(f"{prefix.name}.data-00001-of-00002")
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    assert f"the checksum of its bytes in {path.name} is wrong" in error_of(prefix)


def test_a_missing_data_file(prefix: Path) -> None:
    path = prefix.with_name(f"{prefix.name}.data-00000-of-00002")
    path.unlink()
    assert f"{path} does not exist" in error_of(prefix)


def test_a_missing_index(prefix: Path) -> None:
    prefix.with_name(f"{prefix.name}.index").unlink()
    assert "format V1" in error_of(prefix)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00002"])
def test_a_pipe_is_not_opened(prefix: Path, ending: str) -> None:
    path = prefix.with_name(f"{prefix.name}.{ending}")
    path.unlink()
    os.mkfifo(path)
    assert "not a file" in error_of(prefix)


def entry(*, shape: tuple[int, ...] = (2, 2), slices: bytes = b"", shard: int = 0) -> bytes:
    """The entry of a float32 tensor of 16 bytes at the start of a data file of zeros."""
    dims = b"".join(bytes((0x12, 2, 0x08, size)) for size in shape)
    place = bytes((0x18, shard, 0x28, 4 * int(np.prod(shape))))
    checksum = b"\x35" + masked(bytes(4 * int(np.prod(shape)))).to_bytes(4, "little")
    return b"\x08\x01" + bytes((0x12, len(dims))) + dims + place + checksum + slices


def part(start: int, length: int) -> bytes:
    """A slice of `length` rows from row `start` of a matrix, in field 7 of an entry."""
    rows = bytes((0x08, start, 0x10, length))
    extents = bytes((0x0A, len(rows))) + rows + bytes((0x0A, 0))
    return bytes((0x3A, len(extents))) + extents


def part_key(start: int, length: int) -> bytes:
    """The key of that slice of "x"; small numbers are one byte, moved by 128."""
    return b"\x00x\x00\x01\x01\x02" + bytes((128 + start, 128 + length, 128, 127))


HEADER = b"\x08\x01"
CRAFTED = {
    "no header": ({b"x": entry()}, "no header"),
    "no data files": ({b"": b"\x08\x00"}, "no data files"),
    "a cut entry": ({b"": HEADER, b"x": entry()[:-2]}, "cut off"),
    "a number for a shape": ({b"": HEADER, b"x": b"\x10\x05"}, "fields of other types"),
    "a name that is no text": ({b"": HEADER, b"\xff\xfe": entry()}, "name is no text"),
    "a data file beyond the last": ({b"": HEADER, b"x": entry(shard=3)}, "data file 3 of 1"),
    "a missing slice": ({b"": HEADER, b"x": entry(slices=part(0, 2))}, "slice is missing"),
    "a slice of another shape": (
        {b"": HEADER, b"x": entry(slices=part(0, 2)), part_key(0, 2): entry(shape=(1, 2))},
        "another shape",
    ),
    "a slice beyond the tensor": (
        {b"": HEADER, b"x": entry(slices=part(1, 2)), part_key(1, 2): entry()},
        "beyond the tensor",
    ),
    "overlapping slices": (
        {
            b"": HEADER,
            b"x": entry(shape=(3, 2), slices=part(0, 2) + part(1, 1)),
            part_key(0, 2): entry(),
            part_key(1, 1): entry(shape=(1, 2)),
        },
        "overlap",
    ),
    "too few slices": (
        {b"": HEADER, b"x": entry(shape=(3, 2), slices=part(0, 2)), part_key(0, 2): entry()},
        "not the whole tensor",
    ),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_a_well_formed_index_with_impossible_content(tmp_path: Path, case: str) -> None:
    entries, expected = CRAFTED[case]
    (tmp_path / "m.index").write_bytes(table(entries))
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(64))
    assert expected in error_of(tmp_path / "m")


def test_slices_of_a_crafted_index(tmp_path: Path) -> None:
    # The cases above differ from this one, which is read, in one thing each.
    entries = {
        b"": HEADER,
        b"x": entry(shape=(3, 2), slices=part(0, 2) + part(2, 1)),
        part_key(0, 2): entry(),
        part_key(2, 1): entry(shape=(1, 2)),
    }
    (tmp_path / "m.index").write_bytes(table(entries))
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(64))
    assert torch.equal(TensorBundle(tmp_path / "m").read("x"), torch.zeros(3, 2))
