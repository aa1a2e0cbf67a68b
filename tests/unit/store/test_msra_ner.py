"""The samples of MSRA NER: every gold entity survives tokenisation and windows, word by word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import get_entities

from ptm.arrays import exclusive_cumsum
from ptm.data.documents import Documents
from ptm.data.tagged import BEGINS, tagged_windows
from ptm.inference.predict.base import InputFiles
from ptm.inference.predict.tagged_files import InputSentence, SentenceReader
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import ReadOptions, find_corpus, recognise
from ptm.text.tags import TagSet, tags_of_entities
from ptm.text.tokenizers.wordpiece import WordPiece

ENTITIES = {"train": 1670, "dev": 97, "test": 42}
TAGS = TagSet(tags_of_entities(("LOC", "PER", "ORG"), "bio"), scheme="bio")


@pytest.mark.parametrize("split", ENTITIES)
def test_no_gold_entity_is_lost(tmp_path: Path, shared_data: Path, split: str) -> None:
    path = shared_data / "msra_ner" / f"{split}.tsv"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    config = WordPiece(type="wordpiece", vocab=str(shared_data / "vocab" / "google_zh_vocab.txt"))
    work = Preprocessing(
        corpus=recognise(find_corpus([str(path)]), "tagged", ReadOptions()),
        layout="tagged",
        tokenizer=config,
        segmenter=None,
        labels=TAGS,
    )
    info = preprocess(work, tmp_path / "s", workers=1, fresh=False, report=lambda _: None)
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    words = [word for text, _ in rows for word in text.split(" ")]
    gold = get_entities([tags.split(" ") for _, tags in rows])
    assert len(gold) == ENTITIES[split]
    assert info.report["words"] == len(words)
    assert info.report["words_without_tokens"] == info.report["repaired_tags"] == 0

    store = TokenStore.open(tmp_path / "s")
    first_tokens = [ids[0] for ids in config.load().encode(words)]
    for longest in (14, 126):
        found = tagged_windows(Documents(store), longest, tags=len(TAGS.names))
        texts = found.texts(store, np.arange(found.lengths.size))
        assert found.left_out == {}
        assert texts.tags is not None
        # The token of a word is that of the same character of the file.
        firsts = texts.tags > 0
        assert texts.tokens[firsts].tolist() == first_tokens
        begins = np.zeros(len(words), dtype=bool)
        begins[exclusive_cumsum(found.words)[(found.labels & BEGINS) > 0]] = True
        entities = TAGS.entities(texts.tags[firsts] - 1, begins)
        sentence = np.cumsum(begins) - 1
        kinds = ("LOC", "PER", "ORG")
        # get_entities counts one word between sentences.
        ours = [
            (kinds[kind], first + int(sentence[first]), last + int(sentence[last]))
            for first, last, kind in zip(*entities.columns, strict=True)
        ]
        assert ours == gold


@pytest.mark.parametrize("split", ENTITIES)
def test_gold_entities_are_at_their_offsets_in_plain_text(
    tmp_path: Path, shared_data: Path, split: str
) -> None:
    path = shared_data / "msra_ner" / f"{split}.tsv"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    reader = SentenceReader(TAGS, "characters")

    def sentences(file: Path) -> list[InputSentence]:
        windows = reader.windows(InputFiles((str(file),)), None, window=100)
        return [one for window in windows for one in window.inputs]

    given = sentences(path)
    plain = tmp_path / "plain.txt"
    plain.write_text("".join(f"{one.text}\n" for one in given), encoding="utf-8")
    found = 0
    for one, same in zip(given, sentences(plain), strict=True):
        assert (same.text, same.spans) == (one.text, one.spans)
        assert one.tags is not None
        gold = get_entities([str(tag) for tag in one.tags])
        for _, first, last in gold:
            begin, end = one.spans[first][0], one.spans[last][1]
            assert same.text[begin:end] == "".join(one.words[first : last + 1])
        found += len(gold)
    assert found == ENTITIES[split]
