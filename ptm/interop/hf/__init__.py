"""Hugging Face families: one file each, found by scanning this package."""

from ptm.interop.hf.contract import Family, families
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.hf.folder import HuggingFaceFolder

__all__ = ["Family", "HuggingFaceFolder", "export_to_huggingface", "families"]
