"""Literal secrets in arguments, fields and texts of a plan: only what is one beyond doubt.

A value that a template makes is not looked at here: what becomes of it is known only later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from toolmeta import secret_references
from toolmeta.invocation import Problem

_READERS: Final = "everybody who reads a topic or a table would see it"
IN_ARGUMENT: Final = (
    f"holds a password or token: {_READERS}, and whoever lists the processes of that machine; use "
    "a parameter that takes a secret reference, or let the program find it on its machine"
)
IN_FIELD: Final = (
    f"is a password or token that is written down: {_READERS}; where this parameter takes a secret "
    f"reference, {secret_references.REMEDY}; else leave it out"
)
IN_TEXT: Final = (
    f"holds a private key, a token or an address with a password: {_READERS}; use a parameter that "
    "takes a secret reference"
)

_KEYS: Final = r"(?:api|access|account|auth|secret)[_-]?key|secret[_-]?access[_-]?key"
_WORDS: Final = rf"password|passwd|passphrase|client[_-]?secret|{_KEYS}"
#: An option whose value is the next argument.
_OPTION: Final = re.compile(
    rf"--(?:[a-z0-9_.-]*[_.-])?(?:{_WORDS}|token|secret)|requirepass|masterauth", re.I
)
#: `--password=x`, `DB_PASSWORD=x` and `"password": "x"`, wherever they stand in an argument.
_SET: Final = re.compile(
    rf"({_WORDS}|(?<![a-z0-9])(?:token|secret))(?:=(?!=)|[\"']\s?:\s?(?=[\"']))"
    r"[\"']?([^\s\"',;&{}]+)",
    re.I,
)
_BEFORE: Final = re.compile(r"[a-z0-9_-]*\Z", re.I)
#: Names of an object's fields.
_FIELD: Final = re.compile(
    rf"[a-z0-9_.-]*(?:{_WORDS}|token|(?:hmac|shared|webhook)[_-]?secret)", re.I
)
#: Tokens that continue a listing or make a call repeatable, and options that turn something off.
_HARMLESS: Final = re.compile(
    r"-*(?:no-.*|.*(?:next|starting|page|continue|continuation|client|request|idempotency)[_-]?token)",
    re.I,
)
_NO_VALUE: Final = frozenset({"", "true", "false", "yes", "no", "null", "none", "***"})
#: What a search for a token or key begins with; looking for these first costs next to nothing.
_SIGNS: Final = (
    "PRIVATE KEY-----", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xox", "hvs.", "sk_live_"
)  # fmt: skip
_TEXT: Final = re.compile(
    r"://[^\s/@:'\"]{0,128}:(?![$%{<*@])[^\s/@'\"]{1,256}@"
    r"|-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:\s|\\n|\\r){1,4}[A-Za-z0-9+/:]{8}"
    r"|(?<![A-Za-z0-9])(?:gh[ops]_[A-Za-z0-9]{30}|github_pat_[A-Za-z0-9_]{30}|glpat-[A-Za-z0-9_-]{20}"
    r"|xox[abp]-[0-9]{8}[A-Za-z0-9-]{8}|hvs\.[A-Za-z0-9_-]{20}|sk_live_[A-Za-z0-9]{20})"
)
#: A value that is deeper is refused for it, so that no more needs to be looked at.
_DEPTH: Final = 40
#: No name of an option, variable or field is longer; the work per name stays bounded.
_LONGEST_NAME: Final = 80


def problems(value: Any, field: str) -> Iterator[Problem]:
    """A problem for each secret in the value of a parameter; it names the place and no value."""
    if type(value) not in (str, list, dict):
        return
    waiting: list[tuple[Any, str, int]] = [(value, field, 0)]
    while waiting:
        at, place, depth = waiting.pop()
        if type(at) is str:
            if holds_secret(at):
                yield Problem(place, IN_TEXT)
        elif depth > _DEPTH or secret_references.is_meant(at):
            continue
        elif type(at) is list:
            for index in _arguments(at):
                yield Problem(f"{place}[{index}]", IN_ARGUMENT)
            waiting.extend((item, f"{place}[{index}]", depth + 1) for index, item in enumerate(at))
        elif type(at) is dict:
            for name, item in at.items():
                inner = f"{place}.{str(name)[:64]}"
                if type(name) is str and type(item) is str and is_field(name, item):
                    yield Problem(inner, IN_FIELD)
                else:
                    waiting.append((item, inner, depth + 1))


def holds_secret(text: str) -> bool:
    """Whether a private key, a vendor's token or an address with a password stands in the text."""
    if "@" in text and "://" in text:
        return _TEXT.search(text) is not None
    for sign in _SIGNS:
        if sign in text:
            return _TEXT.search(text) is not None
    return False


def _arguments(words: list[Any]) -> Iterator[int]:
    """The places of arguments that are `--password=x`, `--password` and `x`, or `PASSWORD=x`."""
    for index, word in enumerate(words):
        if type(word) is not str:
            continue
        if ("=" in word or ":" in word) and any(
            _is_set(word, found) for found in _SET.finditer(word)
        ):
            yield index
        elif index + 1 < len(words) and _is_named(_OPTION, word):
            after = words[index + 1]
            if type(after) is str and not after.startswith("-") and _is_value(after):
                yield index + 1


def _is_set(word: str, found: re.Match[str]) -> bool:
    start = found.start(1)
    before = _BEFORE.search(word[max(0, start - _LONGEST_NAME) : start])
    name = (before[0] if before else "") + found[1]
    return _HARMLESS.fullmatch(name) is None and _is_value(found[2])


def is_field(name: str, value: str) -> bool:
    """Whether an object's field of this name with this value is a secret that is written down."""
    return _is_named(_FIELD, name) and _is_value(value)


def _is_named(names: re.Pattern[str], name: str) -> bool:
    return (
        len(name) <= _LONGEST_NAME
        and names.fullmatch(name) is not None
        and _HARMLESS.fullmatch(name) is None
    )


def _is_value(text: str) -> bool:
    """Whether the text is a value itself: no word for none, no template, no variable of a shell."""
    return text.lower() not in _NO_VALUE and "{{" not in text and text[:1] not in "$%<"
