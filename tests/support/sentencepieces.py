"""Small SentencePiece models: like XLM-RoBERTa's, or with other special tokens."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

CORPUS = Path(__file__).parents[2] / "recipes" / "quickstart" / "corpus"


def sentencepiece_model(path: Path, *, controls: tuple[str, ...] = ()) -> Path:
    """Train a SentencePiece model on the bundled corpus and write it to `path`.

    `controls`: further control symbols. Without them, the model begins with <unk>, <s> and </s> and
    has neither a padding nor a mask token, as fairseq expects before it renumbers the pieces.
    """
    files = (CORPUS / "english.txt", CORPUS / "chinese.txt")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines[::4]),
        model_writer=model,
        vocab_size=700,
        control_symbols=",".join(controls),
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return path
