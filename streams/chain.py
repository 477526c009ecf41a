"""The chain of an execution's events: each carries a hash over itself and all events before it.

`chain` of an event is base64url, without padding, of

    SHA-256(previous chain | LF | canonical form of the event without `chain`)

in ASCII and UTF-8; before the first event of an execution stands `start`. Whoever edits, removes,
inserts or moves an event has to write all later ones anew, and cannot where the end is signed.

The canonical form is the same for the record in the topic and for the row in Postgres, whose
`jsonb` sorts keys, keeps numbers as decimals and cannot hold U+0000:

- JSON without blanks, the keys of each object sorted by their UTF-8 bytes, nothing escaped that
  JSON does not require;
- U+0000 in texts and keys as the six characters `\\u0000`;
- numbers with a fraction or an exponent as the shortest text that gives the same double, except
  that whole ones from 1e16 on which 64 bits can hold are written as integers, and -0.0 as 0.0.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from decimal import Decimal
from typing import Any, Final

import orjson

from streams.escape import NUL_IN_JSON, visible

#: base64url of 32 bytes.
CHAIN_LENGTH: Final = 43
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_LEAST, _MOST = -(2**63), 2**64 - 1


def start(execution_id: str) -> str:
    """What stands in the place of a chain before the first event of an execution."""
    return f"runstream:{execution_id}"


def link(previous: str, value: bytes) -> str:
    """The chain after `previous` of the event in `value`: JSON as orjson writes it, no `chain`."""
    return link_form(previous, canonical(value))


def link_form(previous: str, form: bytes) -> str:
    """The same for an event in canonical form."""
    digest = hashlib.sha256(b"%b\n%b" % (previous.encode(), form)).digest()
    return b2a_base64(digest, newline=False)[:-1].translate(_URL_SAFE).decode()


def with_chain(value: bytes, chain: str) -> bytes:
    """The event in `value`, a JSON object that is not empty, with its chain as the last field."""
    return b'%b,"chain":"%b"}' % (value[:-1], chain.encode())


def canonical(value: bytes) -> bytes:
    """The canonical form of a JSON value that orjson wrote."""
    tree = orjson.loads(value)
    if not is_plain(value):
        tree = _as_stored(tree)
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)


def is_plain(value: bytes) -> bool:
    """Whether sorted keys make a JSON value that orjson wrote canonical; nearly always."""
    # One character is found much faster than several.
    return not (
        (b"+" in value and b"e+" in value)
        or b"-0.0" in value
        or (b"\\" in value and NUL_IN_JSON in value)
    )


def _as_stored(value: Any) -> Any:
    """The tree as it is read back from Postgres; as deep as the decoder allows."""
    match value:
        case str():
            return visible(value)
        case float():
            return _number(value)
        case dict():
            return {visible(name): _as_stored(item) for name, item in value.items()}
        case list():
            return [_as_stored(item) for item in value]
        case _:
            return value


def _number(value: float) -> float | int:
    if value == 0:
        return 0.0
    if not value.is_integer() or abs(value) < 1e16:
        return value
    # A decimal of that size has no fraction, so it is read back as an integer if one can hold it.
    whole = int(Decimal(repr(value)))
    return whole if _LEAST <= whole <= _MOST else value
