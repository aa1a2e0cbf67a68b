"""Files of weights that describe more than they contain, or contain something else."""

from __future__ import annotations

import os
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ptm.cli import main
from ptm.errors import UserError
from ptm.interop.weights_file import read_weights

HUGE = 2**31
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "expanded": (lambda: {"w": torch.zeros(1).expand(HUGE)}, r'"w" has 8,589,934,592 bytes'),
    "overlapping": (
        lambda: {"w": torch.zeros(200).as_strided((90, 90), (1, 1))},
        r'"w" has 32,400 bytes, but the file has only 800',
    ),
    "sparse": (
        lambda: {"w": torch.zeros(4, 4).to_sparse()},
        r'"w" is a sparse tensor',
    ),
    "meta": (lambda: {"w": torch.zeros(HUGE, device="meta")}, r'"w" is a meta tensor'),
    "integer key": (lambda: {0: torch.zeros(1)}, "the key 0 of a tensor is not a name"),
    "many views": (
        lambda: (lambda whole: {f"w{i}": whole[:] for i in range(500)})(torch.zeros(2**16)),
        "more than 64 times the size of the file",
    ),
    "list": (lambda: [torch.zeros(1)], "not a dictionary of tensors"),
}


@pytest.mark.parametrize("name", BAD)
def test_tensors_that_the_file_does_not_contain_are_rejected(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    path = tmp_path / "pytorch_model.bin"
    torch.save(make(), path)
    assert path.stat().st_size < 2**20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=message):
        read_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_compressed_records_are_rejected(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2**22)}, tmp_path / "plain.bin")
    packed = tmp_path / "packed.bin"
    with zipfile.ZipFile(tmp_path / "plain.bin") as plain, zipfile.ZipFile(packed, "w") as out:
        for record in plain.infolist():
            out.writestr(record.filename, plain.read(record), zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 2**20
    with pytest.raises(UserError, match=r"is compressed, which torch\.save never does"):
        read_weights(packed)


def test_tied_and_ordinary_tensors_are_read(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    saved = {"a": weight, "b": weight, "c": weight.T, "half": weight.half(), "step": 3}
    torch.save(saved, tmp_path / "w.bin")
    found = read_weights(tmp_path / "w.bin")
    assert found.keys() == {"a", "b", "c", "half"}
    for name, tensor in found.items():
        assert torch.equal(tensor, saved[name])  # type: ignore[arg-type]


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    torch.save({"w": torch.zeros(100)}, path)
    data = path.read_bytes()
    for damaged in (data[:50], data[:-60], b"\x80\x02" + os.urandom(50), b"PK" + bytes(100)):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"w\.bin: "):
            read_weights(path)


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("w.bin", "w.safetensors"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match=r"it is a FIFO\. Give a regular file"):
            read_weights(tmp_path / name)


def test_names_of_tensors_are_printed_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"\x1b[31mw\nptm: forged": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "\\u001b[31m\\nptm: forged"}')
    assert main(["import", "--from=hf", str(tmp_path), str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert "\\u001b[31m" in printed
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 1
