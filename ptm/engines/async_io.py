"""Check whether this machine can build DeepSpeed's async_io op, which NVMe offload needs."""

from __future__ import annotations

from ptm.engines import accelerator  # noqa: F401

# isort: split

import os
import shutil
import sys

import torch
from deepspeed.git_version_info import installed_ops
from deepspeed.ops.op_builder import AsyncIOBuilder
from torch.utils.cpp_extension import CUDA_HOME, is_ninja_available


def missing_for_async_io() -> str:
    """Return the missing build requirement of async_io as a noun phrase, or "" if none is missing.

    Builds nothing.
    """
    if installed_ops.get("async_io"):
        return ""
    if shutil.which(os.environ.get("CXX", "c++")) is None or shutil.which("cc") is None:
        return "a C++ compiler (the package g++ or gcc-c++)"
    if not is_ninja_available():
        return f"ninja ({sys.executable} -m pip install ninja)"
    if not AsyncIOBuilder().is_compatible(verbose=False):
        return "the libaio headers (the package libaio-dev or libaio-devel)"
    if torch.version.cuda and torch.cuda.is_available() and not CUDA_HOME:
        return f"the CUDA toolkit {torch.version.cuda} with nvcc, and CUDA_HOME set to it"
    return ""
