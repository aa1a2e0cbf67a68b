"""Large blocks are parsed and tokenised in pieces, without an effect on the result."""

from __future__ import annotations

from pathlib import Path

import pytest

from ptm.errors import UserError
from ptm.store.encode import BlockTokenizer
from ptm.text.corpus import Block, Layout
from ptm.text.corpus.lines import parse_lines
from ptm.text.tokenizers.wordpiece import WordPiece

MEGABYTE = 2**20
LINE = b"a b c " * 300


def block_of(data: bytes) -> Block:
    return Block(file=0, number=0, data=data, bytes_read=len(data), path="corpus.txt", first_line=1)


def encoder(vocab: Path, layout: Layout) -> BlockTokenizer:
    config = WordPiece(type="wordpiece", vocab=str(vocab))
    return BlockTokenizer(config, None, layout, sentence_splitting=False)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("layout", ["documents", "sentences"])
def test_a_large_block_has_the_documents_of_the_text(
    layout: Layout, end: bytes, tiny_vocab: Path
) -> None:
    # Short documents, one larger than a piece, blank lines of other white space, no last newline.
    document = end.join([LINE, b"b"] * 5) + end + end
    long = end.join([LINE] * (5 * MEGABYTE // len(LINE))) + end
    data = document * 300 + "\u3000".encode() + end + long + end + document * 200 + b"c"
    arrays, counts = encoder(tiny_vocab, layout)(block_of(data))
    expected = parse_lines(data, layout)
    texts = [text for document in expected.documents for text in document]
    assert arrays["document_lengths"].tolist() == [len(one) for one in expected.documents]
    assert arrays["sentence_lengths"].tolist() == [len(text.split()) for text in texts]
    assert (counts.lines, counts.blank) == (expected.lines, expected.blank)


def test_the_first_invalid_line_is_counted_from_the_start_of_the_block(tiny_vocab: Path) -> None:
    lines = [LINE] * (9 * MEGABYTE // len(LINE))
    lines[4_000] = lines[4_500] = b"\xff"
    _, counts = encoder(tiny_vocab, "documents")(block_of(b"\n".join(lines) + b"\n"))
    assert (counts.invalid, counts.first_invalid, counts.lines) == (2, 4_000, len(lines))


def test_a_line_that_is_no_pair_is_named_by_its_number_in_the_file(tiny_vocab: Path) -> None:
    lines = [LINE + b"\tb"] * (5 * MEGABYTE // len(LINE))
    lines[-2] = b"a"
    with pytest.raises(UserError, match=rf'corpus\.txt:{len(lines) - 1}: "a" is not a pair'):
        encoder(tiny_vocab, "pairs")(block_of(b"\n".join(lines)))
