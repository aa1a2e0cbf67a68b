"""The report on a corpus as lines for the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from unicodedata import category

from ptm.counted import counted, singular
from ptm.runs.corpus.counts import StoreCounts, lengths_of
from ptm.runs.corpus.lengths import LengthHistogram
from ptm.runs.corpus.report import CorpusReport, ExampleCounts, StoreReport
from ptm.runs.corpus.unknown_strings import UnknownStrings
from ptm.store.reader import TokenStore

_BAR = 40
_STRINGS = 12
_CHARACTERS = 300
NOUNS = {
    "pairs": "pairs",
    "triplets": "triplets",
    "labelled": "labelled texts",
    "tagged": "sentences",
    "questions": "paragraphs with questions",
    "choices": "questions",
}
"""What the documents of a layout are called."""
_NOT_COUNTED = "not counted (the store is of an earlier version)"


def report_lines(report: CorpusReport) -> Iterator[str]:
    """Yield the whole report."""
    if report.objective is not None:
        yield (
            f"{report.title}: objective {report.objective}, "
            f"{report.rows_per_epoch:,} rows per epoch"
        )
    for store in report.stores:
        name = "" if store.name == store.folder else f"{store.name}: "
        yield f"{name}{store.folder} ({store.layout}, corpus files: {store.files:,})"
        for line in _store_lines(store):
            yield f"  {line}"


def _store_lines(store: StoreReport) -> Iterator[str]:
    counts = store.counts
    rates = text_and_unknown(counts.tokens, counts.text_bytes, counts.unknown_tokens)
    yield f"{documents_and_tokens(store)}, {rates}"
    if store.labels is not None:
        yield ("tags: " if store.layout == "tagged" else "labels: ") + ", ".join(
            f"{name} {count:,}" for name, count in store.labels.items()
        )
    used = counts.tokens_used
    if used is not None:
        yield f"vocabulary: {used:,} of {counts.vocabulary_size:,} tokens occur"
    yield left_out(counts)
    yield duplicates(counts)
    for repeated, text in store.repeated:
        yield f"  {repeated.count:,} x {shown(text) or f'{repeated.length:,} tokens'}"
    yield quantiles(counts.lengths)
    yield from _histogram(counts.lengths)
    yield from _fills(store)
    for examples in store.examples:
        yield example_counts(examples)
    if store.unknown_strings is not None:
        yield from _strings(store.unknown_strings, counts)
    elif counts.unknown_tokens:
        yield f"strings that became the unknown token: {store.no_unknown_strings}"
    for line in store.sample:
        yield line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS]} …"


def documents_and_tokens(store: StoreReport) -> str:
    """`1,234 documents, 2,345 sentences, 45,678 tokens`."""
    counts, tokens = store.counts, counted(store.counts.tokens, "token")
    if store.layout in NOUNS:
        noun = NOUNS[store.layout]
        return f"{counted(counts.documents, singular(noun), noun)}, {tokens}"
    sentences = f"{counts.sentences:,} sentences, " if counts.sentences > counts.documents else ""
    return f"{counted(counts.documents, 'document')}, {sentences}{tokens}"


def summary_lines(store: TokenStore) -> Iterator[str]:
    """Yield the first numbers of a store, which `ptm preprocess` prints."""
    report = store.info.report
    yield text_and_unknown(
        store.info.tokens, report.get("text_bytes"), report.get("unknown_tokens")
    )
    yield quantiles(lengths_of(store))


def text_and_unknown(tokens: int, text_bytes: int | None, unknown: int | None) -> str:
    """`3.95 bytes of text per token, 0.012 % unknown tokens (12)`; None: not counted."""
    text = f"bytes of text per token {_NOT_COUNTED}"
    if text_bytes is not None:
        text = f"{text_bytes / tokens:.2f} bytes of text per token"
    if unknown is None:
        return f"{text}, unknown tokens {_NOT_COUNTED}"
    return f"{text}, {percent(unknown / tokens)} unknown tokens ({unknown:,})"


def percent(share: float) -> str:
    """A share in percent: `3.10 %`; small ones with four digits: `0.0012 %`."""
    number = 100 * share
    if 0 < number < 0.0001:
        return "< 0.0001 %"
    return f"{number:.4f} %" if 0 < number < 0.01 else f"{number:.2f} %"


def left_out(counts: StoreCounts) -> str:
    """The lines and documents that were left out, by reason."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.left_out.items())
    total = "" if counts.lines is None else f" of {counted(counts.lines, 'line')}"
    return f"left out{total}: {reasons or 'nothing'}"


def duplicates(counts: StoreCounts) -> str:
    """How many documents repeat earlier ones."""
    found = counts.duplicates
    if not found.copies:
        return "duplicates: none"
    return (
        f"duplicates: {counted(found.copies, 'document')} "
        f"({percent(found.copies / counts.documents)}) "
        f"{'repeats' if found.copies == 1 else 'repeat'} {counted(found.repeated, 'other')} exactly"
    )


def quantiles(lengths: LengthHistogram) -> str:
    """Quantiles of the documents' lengths."""
    low, median, high, most = (lengths.quantile(share) for share in (0.05, 0.5, 0.95, 0.99))
    return (
        f"tokens per document: {lengths.shortest:,} to {lengths.longest:,}, mean "
        f"{lengths.tokens / lengths.documents:.1f}, median {median:,}; 5 %: at most {low:,}, "
        f"95 %: at most {high:,}, 99 %: at most {most:,}"
    )


def _histogram(lengths: LengthHistogram) -> Iterator[str]:
    buckets = list(lengths.buckets())
    most = max(bucket.documents for bucket in buckets)
    for bucket in buckets:
        bar = "#" * round(_BAR * bucket.documents / most)
        yield (
            f"  {bucket.range:>17} {bucket.documents:>12,} "
            f"{percent(bucket.documents / lengths.documents):>10}  {bar}"
        )


def _fills(store: StoreReport) -> Iterator[str]:
    yield f"rows of documents without special tokens; {treatment(store)}"
    header = ("row length", "filled", "packed", "tokens cut off", "", "")
    cells = [header] + [
        (
            f"{fill.row_length:,}",
            percent(fill.fill),
            percent(fill.packed_fill),
            f"{fill.tokens_cut_off:,}",
            percent(fill.tokens_cut_off / store.counts.tokens),
            "data.sequence_length" if fill.row_length == store.own_length else "",
        )
        for fill in store.fills
    ]
    yield from _table(cells)


def treatment(store: StoreReport) -> str:
    """How documents that are longer than a row are counted."""
    if store.layout == "pairs":
        return "both texts of a pair are in one row, and the ends of longer pairs are cut off"
    if store.layout == "triplets":
        return "all texts of a triplet are in one row, and the ends of longer ones are cut off"
    if not store.continues:
        return "the ends of longer documents are cut off"
    return (
        "longer documents continue in further rows, and the tokens cut off are those after the "
        "first row"
    )


def _table(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  " + "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)).rstrip()


def example_counts(examples: ExampleCounts) -> str:
    """The examples of one split."""
    kept = (
        f"{examples.split}: {counted(examples.examples, 'example')} per epoch in "
        f"{counted(examples.rows, 'row')}, "
        f"{percent(examples.fill)} of the cells filled"
    )
    if examples.changes:
        kept += "; they change every epoch"
    missing = ", ".join(f"{count:,} {what}" for what, count in examples.left_out.items())
    return f"{kept}; left out: {missing}" if missing else kept


def _strings(found: UnknownStrings, counts: StoreCounts) -> Iterator[str]:
    yield sampled(found, counts)
    for text, count in found.most_frequent[:_STRINGS]:
        yield f"  {count:>9,}  {shown(text)}  {code_points(text)}"


def sampled(found: UnknownStrings, counts: StoreCounts) -> str:
    """How much text was sampled and how much of it was unknown."""
    total = "" if counts.text_bytes is None else f" of {counts.text_bytes / 1e6:.1f}"
    part = "" if found.text_bytes == counts.text_bytes else ", the first part of each file"
    return (
        f"strings that became the unknown token in {found.text_bytes / 1e6:.1f}{total} MB of text "
        f"({found.documents:,} documents{part}): {found.distinct:,} different, "
        f"{found.tokens:,} in all"
    )


def shown(text: str) -> str:
    """A text in which characters that print nothing are visible."""
    return "".join(
        one if category(one)[0] not in "CZ" or one == " " else f"<U+{ord(one):04X}>" for one in text
    )


def code_points(text: str) -> str:
    """The code points of a short string, such as `U+9F98`; "" for a longer one."""
    return " ".join(f"U+{ord(one):04X}" for one in text) if len(text) <= 2 else ""
