"""One rule says which characters a reader does not see; messages, pages and names of files follow it."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from regulab.data.names import visible as of_files
from regulab.errors import printable, unseen_characters
from regulab.unseen import JOINERS, LINES, REORDERING, SPELLING, escaped, numbered, unseen
from regulab.wording import visible

EVERY = [chr(number) for number in range(sys.maxunicode + 1)]


def test_the_kinds_of_characters():
    hidden = {character for character in EVERY if unseen(character)}
    assert {"\x00", "\x1b", "\n", "\x85", "\ud800", "\u202e", "\u2028", "\ufeff", "\u200b", "\xad"} <= hidden
    assert hidden >= REORDERING
    assert not hidden & JOINERS
    assert not {character for character in hidden if unicodedata.category(character)[0] in "LMNPS"}


@pytest.mark.parametrize(
    ("shown", "spared"),
    [(escaped, JOINERS), (numbered, LINES), (visible, LINES), (of_files, SPELLING)],
    ids=["escaped", "numbered", "sentences", "files"],
)
def test_everything_unseen_is_shown_and_nothing_else_changes(shown, spared):
    for character in EVERY:
        text = shown(character)
        if unseen(character, spared):
            assert len(text) > 1
            assert text.isascii()
        else:
            assert text == character


def test_messages_are_one_line_of_seen_characters():
    for character in EVERY:
        text = printable(f"a{character}b")
        assert not any(unseen(one) for one in text)
        assert bool(unseen_characters(character)) == unseen(character)


def test_the_two_ways_to_show_a_character():
    assert escaped("a\x1b\u202e\U000e0001") == "a\\x1b\\u202e\\U000e0001"
    assert numbered("a\x1b\u202e\U000e0001") == "a[U+001B][U+202E][U+E0001]"
