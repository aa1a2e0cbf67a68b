"""Files of weights that imports and exports write: content, permissions, memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from ptm.interop.weights_file import read_weights, write_bin, write_safetensors

WRITERS: Mapping[str, Callable[[Path, Mapping[str, Tensor]], None]] = {
    "weights.safetensors": write_safetensors,
    "weights.bin": write_bin,
}


def tensors() -> dict[str, Tensor]:
    """Tensors of several types, some of them views of others."""
    torch.manual_seed(0)
    whole = torch.randn(6, 4)
    return {
        "whole": whole,
        "transposed": whole.t(),
        "part": whole[2:3],
        "tied": whole,
        "half": torch.randn(3).to(torch.bfloat16),
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 2),
        "名字": torch.ones(2, dtype=torch.float16),
    }


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    expected = tensors()
    WRITERS[name](tmp_path / name, expected)
    found = read_weights(tmp_path / name)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor), key


def test_a_safetensors_file_is_that_of_the_library_byte_for_byte(tmp_path: Path) -> None:
    expected = {name: t.clone().contiguous() for name, t in tensors().items()}
    save_file(expected, tmp_path / "theirs", metadata={"format": "pt"})
    write_safetensors(tmp_path / "ours", tensors(), metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert load_file(tmp_path / "ours").keys() == expected.keys()


def test_a_part_of_a_tensor_does_not_bring_the_rest_of_it(tmp_path: Path) -> None:
    large = torch.zeros(10**6)
    write_bin(tmp_path / "weights.bin", {"part": large[:10]})
    assert (tmp_path / "weights.bin").stat().st_size < 10**4


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_of_weights_follow_the_umask(
    tmp_path: Path, name: str, umask: int, mode: int
) -> None:
    former = os.umask(umask)
    try:
        WRITERS[name](tmp_path / name, tensors())
    finally:
        os.umask(former)
    assert (tmp_path / name).stat().st_mode & 0o777 == mode


SCRIPT = """
import re, sys
from pathlib import Path
from ptm.cli import main
import ptm.interop.import_model, ptm.interop.hf.io.export

def peak():
    # The peak of getrusage is that of the parent process if it is larger.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

before = peak()
assert main(sys.argv[1:]) == 0
print(peak() - before)
"""


TOKENIZER_BYTES = 2**25
"""Memory for comparing the tokenizer of an import with the original, whatever the weights."""


def test_imports_and_exports_take_less_memory_than_twice_the_weights(
    tmp_path: Path, small_vocab: Path
) -> None:
    words = small_vocab.read_text(encoding="utf-8").splitlines()
    config = BertConfig(
        vocab_size=20_000,
        hidden_size=384,
        num_hidden_layers=8,
        num_attention_heads=6,
        intermediate_size=1536,
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "theirs")
    unused = [f"[unused{index}]" for index in range(20_000 - len(words))]
    text = "\n".join((*words, *unused)) + "\n"
    (tmp_path / "theirs" / "vocab.txt").write_text(text, encoding="utf-8")
    weights = (tmp_path / "theirs" / "model.safetensors").stat().st_size
    ours = str(tmp_path / "ours")
    for arguments in (
        ("import", str(tmp_path / "theirs"), ours, "--from", "hf"),
        ("export", ours, str(tmp_path / "back"), "--to", "hf"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
        )
        tokenizer = TOKENIZER_BYTES if arguments[0] == "import" else 0
        assert int(done.stdout.split()[-1]) < 2 * weights + tokenizer, arguments
