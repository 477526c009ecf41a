"""What a program says it could not read: its own messages, whatever names stand in them."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolmeta.invocation import Unread
from toolmeta.parsers.quoted import of_shell, unescaped
from toolmeta.unread import MOST_NAMED, Entry, class_of, read

DENIED = "Permission denied"
BELOW = Unread((1,), ("/srv",))


def paths(rule: Unread, program: str, text: str) -> list[str | None]:
    return [entry.path for entry in read(rule, program, text).entries]


def test_names_in_the_quotes_of_each_program() -> None:
    find = "find: \u2018/srv/a\\nb\u2019: Permission denied\n"
    assert read(BELOW, "find", find).entries == (Entry("/srv/a\nb", DENIED),)
    du = "/usr/bin/du: cannot read directory '/srv/no'$'\\n''x': Permission denied\n"
    assert read(BELOW, "du", du).entries == (Entry("/srv/no\nx", DENIED),)
    plain = Unread((2,), ("/srv",), plain=True)
    grep = "grep: /srv/a\nb: c: Permission denied\ngrep: /srv/'d': Is a directory\n"
    assert paths(plain, "grep", grep) == ["/srv/a\nb: c", "/srv/'d'"]


def test_what_the_caller_named_is_told_from_what_lies_below() -> None:
    text = "find: \u2018/srv/x\u2019: Permission denied\nfind: \u2018/srv/\u2019: Not a directory\n"
    found = read(BELOW, "find", text)
    assert found.named is not None
    assert class_of(found.named) == "not_found"
    assert read(BELOW, "find", text.splitlines()[0]).named is None
    assert class_of(Entry("/srv", "Too many levels of symbolic links")) == "exit_status"


def test_a_message_of_another_kind_names_no_path() -> None:
    text = "find: File system loop detected\nfind: warning: an option\nnoise\n"
    assert paths(BELOW, "find", text) == [None]
    assert paths(BELOW, "find", "noise\nwith lines\n") == []


def test_all_are_counted_and_some_are_named() -> None:
    text = "".join(f"find: \u2018/srv/{n}\u2019: {DENIED}\n" for n in range(3 * MOST_NAMED))
    fields = read(BELOW, "find", text).fields
    assert (fields["complete"], fields["error_count"]) == (False, 3 * MOST_NAMED)
    assert len(fields["errors"]) == MOST_NAMED


@given(st.text())
def test_any_text_has_an_end(text: str) -> None:
    read(BELOW, "find", text)
    read(BELOW, "find", f"find: {text}")
    of_shell(text)
    unescaped(text)


@given(st.text(alphabet=string.printable))
def test_a_word_that_was_quoted_for_the_shell(text: str) -> None:
    """As coreutils write it: in single quotes, control characters apart from them."""
    quoted = "".join(
        f"'$'\\{ord(sign):03o}''" if sign < " " or sign == "'" else sign for sign in text
    )
    assert of_shell(f"'{quoted}'") == text


@pytest.mark.parametrize("text", ["'open", "$'open", '"open', "a\\"])
def test_half_a_word_is_none(text: str) -> None:
    assert of_shell(text) is None
