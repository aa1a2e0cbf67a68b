from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptm.text.sentences import split_sentences

PIECES = [
    "他说",
    "“好。”",
    "走了！",
    "3.5",
    "Mr.",
    " ",
    "\t",
    "a",
    "B",
    ".",
    "...",
    "?!",
    '"',
    "；",
    "（",
    "）",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_concatenated_sentences_are_the_text_and_none_is_blank(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join(sentences) == text
    assert len(sentences) <= 1 or all(sentence.strip() for sentence in sentences)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("天冷。下雪！走吗？走；好", ["天冷。", "下雪！", "走吗？", "走；", "好"]),
        ("他说：“好。”然后走了。", ["他说：“好。”", "然后走了。"]),
        ("（真的吗？！）是的……我们走", ["（真的吗？！）", "是的……", "我们走"]),
        ("我喜欢.你呢?好", ["我喜欢.", "你呢?", "好"]),
        (
            "It rained. We left! Why?  Who knows",
            ["It rained.", " We left!", " Why?", "  Who knows"],
        ),
        ('"Go." He went. (Yes.) "No."', ['"Go."', " He went.", " (Yes.)", ' "No."']),
        ("Plan b. Then go", ["Plan b.", " Then go"]),
        ("It cost $3. 5 people paid.", ["It cost $3.", " 5 people paid."]),
        ("他走了。 Then it ended. 完了", ["他走了。", " Then it ended.", " 完了"]),
    ],
)
def test_text_is_split_at_the_ends_of_its_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "It is 3.5 or 1,000.75 or v2.0.1 at example.com",
        "Mr. Smith met Dr. J. R. Brown of the U.S. Army",
        "see e.g. Paris, i.e. France, in Fig. 3 or No. 5",
        '"Really?" he wondered... and left',
        "版本3.5和4.0",
        "Acme Inc. Tokyo",
        "no marks at all",
    ],
)
def test_periods_inside_a_sentence_do_not_split_it(text: str) -> None:
    assert split_sentences(text) == [text]


def test_no_is_an_abbreviation_only_before_a_number() -> None:
    assert split_sentences("She answered no. Then she left.") == [
        "She answered no.",
        " Then she left.",
    ]


def test_white_space_at_the_end_belongs_to_the_last_sentence() -> None:
    assert split_sentences("Yes. No. ") == ["Yes.", " No. "]


def test_punctuation_alone_is_one_sentence_and_an_empty_text_has_no_sentence() -> None:
    assert split_sentences("……。") == ["……。"]
    assert split_sentences("") == []


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("a title\nA sentence. Another", ["a title", "\nA sentence.", " Another"]),
        ("a\n\n b\n", ["a", "\n\n b\n"]),
        ("甲。\n乙", ["甲。", "\n乙"]),
        ("\na \n", ["\na \n"]),
    ],
)
def test_a_line_end_ends_a_sentence(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences
    assert "".join(sentences) == text
