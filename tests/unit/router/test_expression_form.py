"""Nothing hides in a string or a comment: what the checks see is what the parser sees."""

from __future__ import annotations

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.cel.form import FormError, check_nesting, named_steps
from runtime.cel.tokens import NotTokens, tokens

NESTED = "[1, 2].map(a, [3].map(b, b + a)).size() == 2"
NESTED_TOKENS = [token.text for token in tokens(NESTED)]

_TEXT = st.text("ab(){}[]\"'\\/.,#\u00e9 map\n", max_size=8)


def _quoted(body: str, quote: str, raw: str) -> str:
    """A string literal with this body, or an empty one where the body cannot stand in it."""
    if not raw:
        body = body.replace("\\", "\\\\").replace("\n", "\\n").replace(quote[0], f"\\{quote[0]}")
    elif quote[0] in body or "\n" in body:
        body = ""
    return f"{raw}{quote}{body}{quote}"


_STRINGS = st.builds(
    _quoted, _TEXT, st.sampled_from(['"', "'", '"""', "'''"]), st.sampled_from(["", "r", "R"])
)
_SPACE = st.lists(
    st.one_of(
        st.sampled_from([" ", "\t", "\n", "\r\n"]),
        _TEXT.map(lambda text: "//" + text.replace("\n", "") + "\n"),
    ),
    max_size=3,
).map("".join)


@st.composite
def hidden(draw: st.DrawFn) -> str:
    """A nested comprehension between strings, with comments and space between its tokens."""
    parts = [draw(_STRINGS), " != 'other' && "]
    for token in NESTED_TOKENS:
        parts += [token, draw(_SPACE)]
    return "".join([*parts, " && 'other' != ", draw(_STRINGS), draw(_SPACE)])


@given(hidden())
def test_strings_and_comments_never_hide_a_comprehension(text: str) -> None:
    assert cel.compile(text).execute({}) is True  # the parser sees the comprehension
    with pytest.raises(FormError, match="a comprehension inside a comprehension"):
        check_nesting(tokens(text))


@given(_STRINGS, _STRINGS, _SPACE)
def test_a_string_is_one_token_with_what_the_parser_reads(one: str, two: str, space: str) -> None:
    assert [token.kind for token in tokens(f"{one}{space}+{two}")] == ["string", "sign", "string"]
    assert isinstance(cel.compile(f"{one}{space}+{two}").execute({}), str)


@given(st.text(max_size=40))
def test_any_text_is_tokens_or_refused(text: str) -> None:
    try:
        found = tokens(text)
    except NotTokens:
        return
    assert sum(len(token.text) for token in found) <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "L.map//\n(a, L.map//\n(b, 1))",
        'L.map(a, r"\\" == "" || L.map(b, 1).size() > 0 || "" == "")',
        'L.map(a, """"""=="" && L.map(b, 1).size() > 0)',
        "L.map(a, '''\"''' == '' || L.map(b, 1) == '\"')",
        "L.map(a, [{'x': (L\n.\nfilter\n(b, true))}])",
        "L.exists_one(a, L.all(b, true))",
    ],
)
def test_hidden_comprehensions_that_were_let_through(text: str) -> None:
    with pytest.raises(FormError, match="a comprehension inside a comprehension"):
        check_nesting(tokens(text))


@pytest.mark.parametrize("text", ["L.map(a, 1).map(b, 2)", "'L.map(a, L.map(b, 1))'", "// x"])
def test_what_nests_nothing_is_allowed(text: str) -> None:
    check_nesting(tokens(text))


def test_brackets_have_a_depth() -> None:
    check_nesting(tokens("(" * 32 + "1" + ")" * 32))
    with pytest.raises(FormError, match="deeper than 32"):
        check_nesting(tokens("(" * 33 + "1" + ")" * 33))


@pytest.mark.parametrize(
    "text",
    ["'open", '"a\nb"', "'''open''", "a ; b", "`a`", "'\\q'", "a\u00a0b", "//a\rb", "$x", "rb'x'"],
)
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(NotTokens, match="begins no CEL token"):
        tokens(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('steps.a.output + steps["b-c"].output', {"a", "b-c"}),
        ("steps . a // steps.z\n .output", {"a"}),
        ("'steps' + \"steps.z\"", set()),
        ("item.steps.size()", set()),
        ("(item).steps[0]", set()),
        ("x in .steps.a.output", {"a"}),
    ],
)
def test_steps_by_name(text: str, names: set[str]) -> None:
    assert named_steps(tokens(text)) == names


@pytest.mark.parametrize(
    "text",
    ["steps", "steps[x]", "size(steps)", "steps.map(s, s)[0]", 'steps["a" + "b"]', 'steps[r"a"]'],
)
def test_steps_by_a_value_are_refused_or_are_names(text: str) -> None:
    if text.startswith("steps.map"):
        assert named_steps(tokens(text)) == {"map"}  # no step of that name: admission says so
        return
    with pytest.raises(FormError, match="names each step"):
        named_steps(tokens(text))
