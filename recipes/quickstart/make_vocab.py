"""Write the bundled vocabulary: frequent words and all characters of the bundled corpus.

python recipes/quickstart/make_vocab.py
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

HERE = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"[unused{i}]" for i in range(1, 11))]
COMMON = 2
"""Minimum count of a word that is a token."""


def main() -> None:
    """Write `vocab.txt`: special tokens, characters, pieces that continue a word, words."""
    normalize = normalizers.BertNormalizer(lowercase=True).normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    words: Counter[str] = Counter()
    for path in sorted((HERE / "corpus").glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            words.update(word for word, _ in split(normalize(line)))
    # Latin letters and digits, so that any English word can be tokenised.
    spelling = set("abcdefghijklmnopqrstuvwxyz0123456789")
    characters = spelling | {character for word in words for character in word}
    whole = {word for word, count in words.items() if count >= COMMON and len(word) > 1}
    pieces = {f"##{character}" for character in spelling}
    tokens = [*SPECIAL, *sorted(characters), *sorted(pieces), *sorted(whole)]
    (HERE / "vocab.txt").write_text("".join(f"{t}\n" for t in tokens), encoding="utf-8")


if __name__ == "__main__":
    main()
