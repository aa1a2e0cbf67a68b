"""Small vocabularies of each kind, trained on the bundled corpus."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ptm.text.corpus import find_corpus
from ptm.text.tokenizers import TokenizerConfig
from ptm.text.tokenizers.bpe import Bpe
from ptm.text.tokenizers.sentencepiece import SentencePiece
from ptm.text.tokenizers.space import Space
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary_training import (
    TrainedVocabulary,
    TrainingText,
    VocabularyRequest,
    trainers,
)

KINDS: dict[str, type[TokenizerConfig]] = {
    "wordpiece": WordPiece,
    "space": Space,
    "bpe": Bpe,
    "unigram": SentencePiece,
}


def text_of(*paths: Path, limit: int = 10**9) -> TrainingText:
    corpus = find_corpus([str(path) for path in paths])
    return TrainingText(corpus=corpus, limit=limit, report=lambda _: None)


def request(
    size: int | None = None,
    *,
    min_count: int | None = None,
    lowercase: bool = False,
    extra: tuple[str, ...] = (),
) -> VocabularyRequest:
    return VocabularyRequest(size=size, min_count=min_count, lowercase=lowercase, extra=extra)


@cache
def bundled_files(kind: str) -> TrainedVocabulary:
    """A vocabulary trained on the bundled corpus, once for all tests."""
    corpus = Path(__file__).parents[2] / "recipes" / "quickstart" / "corpus"
    sizes = {"wordpiece": 2600, "space": None, "bpe": 800, "unigram": 3000}
    text = text_of(corpus / "english.txt", corpus / "chinese.txt")
    return trainers()[kind].train(text, request(sizes[kind]))


def config_of(trained: TrainedVocabulary, folder: Path, **options: object) -> TokenizerConfig:
    """Write the files of `trained` to `folder`; returns the config of the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    names = iter(trained.files)
    for name, content in trained.files.items():
        (folder / name).write_bytes(content)
    block = {
        key: str(folder / next(names)) if value is None else value
        for key, value in trained.block.items()
    }
    kind = "unigram" if block["type"] == "sentencepiece" else block["type"]
    return KINDS[kind].model_validate({**block, **options})


def bundled_config(kind: str, folder: Path, **options: object) -> TokenizerConfig:
    return config_of(bundled_files(kind), folder, **options)
