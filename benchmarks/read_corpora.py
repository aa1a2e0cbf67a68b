"""CPU time of reading and parsing a corpus in every format, without tokenising it.

`python benchmarks/read_corpora.py TEXT FOLDER`: TEXT has one sentence per line, and an empty line
after each document. Its documents are written into FOLDER in all formats, and each file is read.
"cut" is the time in which the ranges of a file are found, of which workers read one each.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

from ptm.text.corpus import CorpusReader, ReadOptions, find_corpus, recognise
from ptm.text.corpus.parse import parse

_BLOCK = 2**20


def write_all(text: Path, folder: Path) -> int:
    """Write the documents in every format; return the bytes of their texts."""
    documents = [part.strip() for part in text.read_text("utf-8").split("\n\n") if part.strip()]
    (folder / "corpus.txt").write_text("\n\n".join(documents), encoding="utf-8")
    (folder / "corpus-gb18030.txt").write_text("\n\n".join(documents), encoding="gb18030")
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number, document in enumerate(documents):
            file.write(json.dumps({"id": number, "text": document}, ensure_ascii=False) + "\n")
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        path = folder / f"corpus{suffix}"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(("id", "text"))
            writer.writerows(enumerate(documents))
    table = pa.table({"id": list(range(len(documents))), "text": documents})
    pyarrow.parquet.write_table(table, folder / "corpus.parquet")
    pyarrow.feather.write_feather(table, folder / "corpus.feather")
    return sum(len(document.encode()) for document in documents)


def measure(path: Path) -> tuple[int, float | None, float, float]:
    """Documents, and CPU seconds of finding ranges (None without), of reading and of parsing."""
    options = ReadOptions(encoding="gb18030" if "gb18030" in path.name else "utf-8")
    (file,) = recognise(find_corpus([str(path)]), "sentences", options)
    reader = CorpusReader(file, index=0, layout="sentences", block_bytes=_BLOCK)
    documents, reading, parsing = 0, 0.0, 0.0
    began = time.process_time()
    ranges = reader.ranges()
    found = len(list(ranges)) if ranges is not None else None
    cutting = time.process_time() - began if found else None
    began = time.process_time()
    for block in reader.blocks():
        read = time.process_time()
        documents += len(parse(block, "sentences", None).documents)
        parsed = time.process_time()
        reading, parsing, began = reading + read - began, parsing + parsed - read, parsed
    return documents, cutting, reading, parsing


def main(text: str, folder: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    size = write_all(Path(text), Path(folder))
    print(f"{'file':20} documents   cut ns/B  read ns/B  parse ns/B")
    for path in sorted(Path(folder).glob("corpus*")):
        documents, cutting, reading, parsing = measure(path)
        cut = " " * 10 if cutting is None else f"{cutting / size * 1e9:10.3f}"
        times = f"{cut} {reading / size * 1e9:10.1f} {parsing / size * 1e9:11.1f}"
        print(f"{path.name:20} {documents:9,} {times}")


if __name__ == "__main__":
    main(*sys.argv[1:])
