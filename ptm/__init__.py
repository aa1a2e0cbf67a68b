"""ptm: pretraining language models with DeepSpeed from one YAML recipe."""

from ptm.version import __version__

__all__ = ["__version__"]
