"""The ways in which programs and servers write a secret, and how a search finds them again.

A list of its own: it shares nothing with `drivers/secret_forms.py`, so that what is forgotten there
is not forgotten here. Only the standard library is used, since fake programs load this file too.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import textwrap
from functools import lru_cache
from urllib.parse import quote, quote_plus
from xml.sax import saxutils

#: Is no secret and is written wherever secrets are, so that a search can prove that it sees.
DECOY = "pub'lic\"mark\\d<e>&f/7k2q 9zxw"
#: Of a secret whose middle is shown; shorter pieces of it could stand somewhere by chance.
_PIECE = 12
_BLANK = re.compile(rb"\\+u0000|\\+x00|\\+[nrt]|\s|\x00|\xef\xbf\xbd")
#: What `printf %q` of bash leaves as it is.
_BARE = re.compile(r"([^A-Za-z0-9_./:=+@%,-])")


def written(value: str) -> dict[str, bytes]:
    """Every form of a value, by name, as it stands in an output."""
    raw = value.encode()
    once = json.dumps(value)[1:-1]
    twice = json.dumps(once)[1:-1]
    url = quote(value, safe="")
    whole = base64.b64encode(raw).decode()
    texts = {
        "as it is": value,
        "json": once,
        "json, slashes": once.replace("/", "\\/"),
        "json in json": twice,
        "json in json in json": json.dumps(twice)[1:-1],
        "xml": saxutils.escape(value, {'"': "&quot;", "'": "&apos;"}),
        "xml, numbers": saxutils.escape(value, {'"': "&#34;", "'": "&#39;"}),
        "html": html.escape(value),
        "shell, single": shlex.quote(value),
        "shell, double": re.sub(r'([\\"$`])', r"\\\1", value),
        "sql": value.replace("'", "''"),
        "csv": value.replace('"', '""'),
        "python": repr(value)[1:-1],
        "json in xml": saxutils.escape(once),
        "sql in xml": saxutils.escape(value.replace("'", "''"), {'"': "&quot;", "'": "&apos;"}),
        "shell in html": html.escape(shlex.quote(value)),
        "xml in json": json.dumps(saxutils.escape(value, {'"': '"'}))[1:-1],
        "url": url,
        "url, lower": re.sub("%..", lambda found: found[0].lower(), url),
        "url, path": quote(value),
        "form": quote_plus(value),
        "base64": whole,
        "base64, url": base64.urlsafe_b64encode(raw).decode(),
        "base64, 64": "\n".join(textwrap.wrap(whole, 64)),
        "base64, 76": base64.encodebytes(raw).decode(),
        "base64, login": base64.b64encode(b"user:" + raw).decode(),
        "base64, login of two": base64.b64encode(b"ab:" + raw + b"\n").decode(),
        "base64, login of three": base64.b64encode(b"abc:" + raw + b"\r\n").decode(),
        "base64, utf-16": base64.b64encode(value.encode("utf-16-le")).decode(),
        "hex": raw.hex(),
        "hex, upper": raw.hex().upper(),
    }
    if "\n" not in value:
        texts["shell, backslashes"] = _BARE.sub(r"\\\1", value)
    done = {name: text.encode() for name, text in texts.items()}
    done["utf-16-le"] = value.encode("utf-16-le")
    done["utf-16-be"] = value.encode("utf-16-be")
    return done


def needles(value: str) -> dict[str, bytes]:
    """What a search looks for, by name of the form; blank-free, as `squeezed` leaves it."""
    raw = value.encode()
    before = {
        "base64, login": b"user:",
        "base64, login of two": b"ab:",
        "base64, login of three": b"abc:",
    }
    found = {}
    for name, text in written(value).items():
        if name.startswith("base64"):
            content = value.encode("utf-16-le") if name.endswith("16") else raw
            encoded = _certain(before.get(name, b""), content)
            if name == "base64, url":
                encoded = encoded.replace(b"+", b"-").replace(b"/", b"_")
            found[name] = encoded
        elif name.startswith("utf-16"):
            found[name] = squeezed(raw)
        else:
            found[name] = squeezed(text.strip(b"'") if name == "shell, single" else text)
    return found


def _certain(before: bytes, content: bytes) -> bytes:
    """The characters of base64 that the content alone decides, whatever stands around it."""
    encoded = base64.b64encode(before + content)
    return encoded[-(-len(before) * 8 // 6) : (len(before) + len(content)) * 8 // 6]


def squeezed(data: bytes) -> bytes:
    """Without blanks, line ends and NUL, escaped or not: how it was wrapped does not count."""
    return _BLANK.sub(b"", data)


def found(value: str, squeezed_data: bytes) -> set[str]:
    """The names of the forms of the value that the data holds, and `a piece` for a part of it."""
    names: set[str] = set()
    for needle, forms in _searched(value).items():
        if needle in squeezed_data:
            names.update(forms)
    return names


@lru_cache(maxsize=64)
def _searched(value: str) -> dict[bytes, list[str]]:
    """Each text to look for once, since most forms of a plain value are the same."""
    texts: dict[bytes, list[str]] = {}
    for name, needle in needles(value).items():
        texts.setdefault(needle, []).append(name)
    # The end of an address is what is secret in it.
    tail = squeezed(value.encode())[-2 * _PIECE :]
    for at in range(max(0, len(tail) - _PIECE) + 1):
        texts.setdefault(tail[at : at + _PIECE], []).append("a piece")
    return texts


def shown(*values: str) -> bytes:
    """An output with every form of every value, one a line."""
    lines = [name.encode() + b": " + text for v in values for name, text in written(v).items()]
    return b"\n".join(lines) + b"\n"
