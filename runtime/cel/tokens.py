"""The tokens of a CEL text, as its parser sees them.

What is a string, a comment or code is decided here once, for every check of an expression. A text
that has a character outside these rules is refused, so that no check can be led astray.

Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md, section "Syntax".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_ESCAPE: Final = (
    r"\\(?:[abfnrtv\"'\\?`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"
)
_STRINGS: Final = (
    r"[rR]\"\"\"[\s\S]*?\"\"\"",
    r"[rR]'''[\s\S]*?'''",
    r"[rR]\"(?!\"\")[^\"\r\n]*\"",
    r"[rR]'(?!'')[^'\r\n]*'",
    rf"\"\"\"(?:{_ESCAPE}|[^\\])*?\"\"\"",
    rf"'''(?:{_ESCAPE}|[^\\])*?'''",
    rf"\"(?!\"\")(?:{_ESCAPE}|[^\\\"\r\n])*\"",
    rf"'(?!'')(?:{_ESCAPE}|[^\\'\r\n])*'",
)
#: The order matters: a prefix such as `r` belongs to the string that follows it. A comment ends
#: with its line; whether a carriage return alone would end it is not left to the parser.
_TOKEN: Final = re.compile(
    r"(?P<space>[\t\n\f\r ]+|//[^\r\n\u0085\u2028\u2029]*(?=\r?\n|\Z))"
    rf"|(?P<string>[bB]?(?:{'|'.join(_STRINGS)}))"
    r"|(?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[uU]?"
    r"|\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*+(?![\"']))"
    r"|(?P<sign>[=!<>]=|&&|\|\||/(?!/)|[-+*%!<>?:.,()\[\]{}])"
)
_PLAIN_STRING: Final = re.compile(r"[\"']([^\"'\\]{1,200})[\"']")


class Token(NamedTuple):
    """One token that is neither space nor comment; `kind` is string, number, name or sign."""

    kind: str
    text: str


class NotTokens(ValueError):
    """The text holds something that is no token of CEL; the message says where."""


def tokens(text: str) -> list[Token]:
    """The tokens of a text, without space and comments; raises NotTokens."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            near = text[position : position + 20]
            raise NotTokens(f"character {position + 1} begins no CEL token: {near!a}")
        position = match.end()
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match.group()))
    return found


def plain_string(token: Token) -> str | None:
    """The value of a string without prefix and escapes; None for every other token."""
    match = _PLAIN_STRING.fullmatch(token.text) if token.kind == "string" else None
    return match.group(1) if match else None


def ends_operand(token: Token) -> bool:
    """Whether a dot after this token selects a field, and does not begin a name."""
    if token.kind == "name":
        return token.text != "in"
    return token.kind != "sign" or token.text in (")", "]", "}")
