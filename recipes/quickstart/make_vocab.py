"""Build the demonstration vocabulary from the demonstration corpus.

    python recipes/quickstart/make_vocab.py [--size 4000]

The result is a WordPiece vocabulary in the layout that BERT made common: special tokens, a few
unused places, single characters, then pieces in the order in which they were merged. Text is
normalised as ``BertNormalizer`` does it (lower case, every Chinese character a word of its own).
Merging is plain byte-pair counting with ties broken alphabetically, so that the file does not
depend on the machine, which the trainers of the ``tokenizers`` library do not promise.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

HERE = Path(__file__).resolve().parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNUSED = [f"[unused{number}]" for number in range(10)]
KEYBOARD = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
LEAST_COUNT = 2


def count_words(paths: Iterable[Path]) -> Counter[str]:
    """How often each word of the files occurs, after BERT's normalisation."""
    normalizer = BertNormalizer(lowercase=True, handle_chinese_chars=True)
    splitter = BertPreTokenizer()
    words: Counter[str] = Counter()
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            pieces = splitter.pre_tokenize_str(normalizer.normalize_str(line))
            words.update(piece for piece, _ in pieces)
    return words


def split_characters(word: str) -> list[str]:
    """The characters of a word, all but the first marked as continuations."""
    return [word[0], *(f"##{character}" for character in word[1:])]


def merge_pieces(words: Counter[str], tokens: list[str], size: int) -> None:
    """Append the most frequent pair of pieces to ``tokens`` until there are ``size`` tokens."""
    known = set(tokens)
    spellings = {word: split_characters(word) for word in words if len(word) > 1}
    pairs: Counter[tuple[str, str]] = Counter()
    homes: dict[tuple[str, str], set[str]] = {}
    for word, pieces in spellings.items():
        for pair in pairwise(pieces):
            pairs[pair] += words[word]
            homes.setdefault(pair, set()).add(word)
    while len(tokens) < size and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < LEAST_COUNT:
            break
        merged = best[0] + best[1].removeprefix("##")
        if merged not in known:
            known.add(merged)
            tokens.append(merged)
        for word in homes[best]:
            old = spellings[word]
            new: list[str] = []
            for piece in old:
                if new and (new[-1], piece) == best:
                    new[-1] = merged
                else:
                    new.append(piece)
            spellings[word] = new
            for pair in pairwise(old):
                pairs[pair] -= words[word]
            for pair in pairwise(new):
                pairs[pair] += words[word]
                homes.setdefault(pair, set()).add(word)
        del pairs[best]


def build(paths: Iterable[Path], size: int) -> list[str]:
    """The vocabulary of the files, with at most ``size`` tokens."""
    words = count_words(paths)
    singles = {piece for word in words for piece in split_characters(word)}
    singles.update(KEYBOARD)
    singles.update(f"##{character}" for character in KEYBOARD if character.isalnum())
    first = sorted(piece for piece in singles if not piece.startswith("##") or len(piece) < 3)
    further = sorted(singles.difference(first))
    tokens = SPECIAL + UNUSED + first + further
    merge_pieces(words, tokens, size)
    return tokens


def main() -> None:
    """Write ``vocab.txt``, one token a line."""
    parser = argparse.ArgumentParser(description="Build the demonstration vocabulary.")
    parser.add_argument("--corpus", type=Path, default=HERE / "corpus", help="directory of texts")
    parser.add_argument("--output", type=Path, default=HERE / "vocab.txt", help="target file")
    parser.add_argument("--size", type=int, default=4000, help="largest number of tokens")
    arguments = parser.parse_args()
    tokens = build(sorted(arguments.corpus.glob("*.txt")), arguments.size)
    arguments.output.write_text("\n".join(tokens) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
