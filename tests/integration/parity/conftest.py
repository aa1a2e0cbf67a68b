"""Models that are compared with transformers; each is built once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.integration.parity.cases.models import (
    Export,
    ExportedModel,
    Import,
    ImportedModel,
    SavedModel,
    export_model,
    import_model,
    save_model,
)

TEXTS = 8
"""Number of examples for encoders and causal models: Chinese and English, of several lengths."""
BuildExport = Callable[[Export], ExportedModel]
BuildSaved = Callable[[Import], SavedModel]
BuildImport = Callable[[Import], ImportedModel]


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory, small_vocab: Path, bundled_texts: list[str]
) -> BuildExport:
    """A case's random model and its export."""

    @cache
    def build(case: Export) -> ExportedModel:
        folder = tmp_path_factory.mktemp("export")
        return export_model(case, folder, vocab=small_vocab, texts=bundled_texts[:TEXTS])

    return build


@pytest.fixture(scope="session")
def saved(
    tmp_path_factory: pytest.TempPathFactory, small_vocab: Path, bundled_texts: list[str]
) -> BuildSaved:
    """A case's random model of transformers, saved."""

    @cache
    def build(case: Import) -> SavedModel:
        folder = tmp_path_factory.mktemp("saved")
        return save_model(case, folder, vocab=small_vocab, texts=bundled_texts[:TEXTS])

    return build


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, saved: BuildSaved) -> BuildImport:
    """A case's saved model, imported with `ptm import`."""

    @cache
    def build(case: Import) -> ImportedModel:
        return import_model(saved(case).folder, tmp_path_factory.mktemp("imported") / "model")

    return build


@pytest.fixture(scope="session")
def words(small_vocab: Path) -> int:
    """The size of the small vocabulary."""
    return len(small_vocab.read_text(encoding="utf-8").splitlines())
