"""Files of weights: .safetensors, and .bin as torch.save writes them. No code of a file is run.

A few bytes of a .bin file can describe tensors of any size: views of one small storage, sparse
tensors, and compressed records of the zip archive. All of them are rejected before anything is made
of them, so that reading takes as much memory as the file has bytes.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ptm.console.phases import begin_phase, tracked
from ptm.errors import UserError
from ptm.files.user_files import open_file

_ALIGNMENT = 8
_TYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}
_MOST_SHARING = 64
"""Times that the tensors may exceed the file together; tied weights and shared layers do."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors or .bin file.

    Raises UserError if the file is damaged, is not a file of tensors, contains code, or describes
    tensors that it does not contain.
    """
    with open_file(path) as file:
        begin = file.read(2)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                names = list(tensors.keys())
                read = tracked(names, "reading the weights", total=len(names), unit="tensors")
                return {name: tensors.get_tensor(name) for name in read}
        if begin not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04"):
            raise UserError(
                f"{path}: the file does not contain weights. If it is a Git LFS pointer, run `git "
                "lfs pull`."
            )
        if begin == b"PK":
            _check_not_compressed(path)
        begin_phase("reading the weights")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: the weights cannot be read ({error}).") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: loading this file would run code, which is not allowed. Give a file that "
            "contains only tensors."
        ) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        # A damaged pickle ends in any of these.
        raise UserError(
            f"{path}: the file is damaged ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path}: the file is not a dictionary of tensors.")
    return _checked_tensors(path, loaded)


def _check_not_compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            if record.compress_type != zipfile.ZIP_STORED:
                raise UserError(
                    f"{path}: {record.filename} is compressed, which torch.save never does. Save "
                    "the weights again with torch.save."
                )


def _checked_tensors(path: Path, loaded: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a loaded dictionary. Raises UserError unless the file contains all of them."""
    tensors: dict[str, Tensor] = {}
    total = 0
    for name, value in loaded.items():
        if not isinstance(value, Tensor):
            continue
        if not isinstance(name, str):
            raise UserError(
                f"{path}: the key {name!r} of a tensor is not a name. Save a state_dict."
            )
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            kind = "meta" if value.is_meta else "quantized" if value.is_quantized else "sparse"
            raise UserError(
                f'{path}: "{name}" is a {kind} tensor. Save the weights as ordinary tensors.'
            )
        size = value.numel() * value.element_size()
        if size > value.untyped_storage().nbytes():
            raise UserError(
                f'{path}: "{name}" has {size:,} bytes, but the file has only '
                f"{value.untyped_storage().nbytes():,} of it (an expanded tensor). Save its "
                ".contiguous() instead."
            )
        total += size
        tensors[name] = value
    if total > _MOST_SHARING * path.stat().st_size:
        raise UserError(
            f"{path}: its tensors have {total:,} bytes together, more than {_MOST_SHARING} times "
            "the size of the file. Save each tensor once."
        )
    return tensors


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a new .safetensors file, one tensor after the other.

    The library's own writer would need a contiguous copy of all tensors at once. Tensors that share
    memory, such as tied matrices, are written one by one.
    """
    # Wide types first, as the library does, so that each tensor is aligned.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": _TYPE_NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in tracked(names, "writing the weights", total=len(names), unit="tensors"):
            values = tensors[name].detach().contiguous().reshape(-1)
            file.write(values.view(torch.uint8).numpy().data)


def write_bin(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a new .bin file.

    Views are copied first, because torch.save would write all of the tensor that they view.
    """
    begin_phase("writing the weights")
    whole = {}
    for name, tensor in tensors.items():
        kept = tensor.contiguous()
        part = kept.untyped_storage().nbytes() != kept.nbytes
        whole[name] = kept.clone() if part else kept
    with path.open("xb") as file:
        torch.save(whole, file)
