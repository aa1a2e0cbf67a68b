"""Small SentencePiece models: as XLM-RoBERTa's, or with special tokens of their own."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

CORPUS = Path(__file__).parents[2] / "recipes" / "quickstart" / "corpus"


def sentencepiece_model(path: Path, *, controls: tuple[str, ...] = ()) -> Path:
    """Trained on the bundled corpus and written to `path`.

    Without `controls` it has <unk>, <s>, </s> first and neither padding nor mask, as fairseq
    renumbers it.
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
