"""Known secrets do not pass, in any common form, however the output is cut."""

from __future__ import annotations

import asyncio
import base64
import html
import json
import random
import re
import shlex
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.context import Failure, Success
from drivers.known_secrets import KnownSecrets
from drivers.masking import Masker
from processors.executors.masked_output import MaskedPublisher, masked
from tests.driver_kit import command

CANARY = 'Zürich "q" /+&? ~canary\\9'


@pytest.mark.parametrize(
    "shown",
    [
        CANARY,
        json.dumps(CANARY),
        json.dumps(CANARY, ensure_ascii=False),
        quote(CANARY),
        re.sub("%..", lambda one: one[0].lower(), quote(CANARY, safe="")),
        quote_plus(CANARY),
        base64.b64encode(CANARY.encode()).decode(),
        base64.urlsafe_b64encode(CANARY.encode()).decode().rstrip("="),
        CANARY.encode().hex(),
        repr(CANARY),
        CANARY.replace("&", "&amp;"),
        base64.b64encode(CANARY.encode("utf-16-le")).decode(),
    ],
)
def test_every_form_is_masked(shown: str) -> None:
    masker = Masker([CANARY])
    text = masker.text(f"before {shown} after")
    assert "canary" not in text
    assert "***" in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert shown not in text


@pytest.mark.parametrize("before", ["u:", "us:", "use:", "user:"])
def test_inside_a_longer_base64_text(before: str) -> None:
    shown = base64.b64encode(f"{before}hunter2-secret".encode()).decode()
    text = Masker(["hunter2-secret"]).text(f"Authorization: Basic {shown}")
    left = text.removeprefix("Authorization: Basic ").replace("***", "")
    # What is left has only the bits that belong to the neighbours.
    assert len(left) <= len(shown) - 16
    assert "***" in text


def test_json_values_names_and_numbers() -> None:
    masker = Masker(["s3cret-value", "123456"])
    found = masker.value(
        {"s3cret-value": [1, {"a": "x s3cret-value y"}], "n": 123456, "m": 12.5, "b": True}
    )
    assert found == {"***": [1, {"a": "x *** y"}], "n": "***", "m": 12.5, "b": True}


def test_outcomes() -> None:
    masker = Masker(["s3cret-value"])
    assert masked(masker, Success({"a": "s3cret-value"})) == Success({"a": "***"})
    failure = masked(masker, Failure("database", "no s3cret-value", True, {"s": "s3cret-value"}))
    assert failure == Failure("database", "no ***", True, {"s": "***"})
    unchanged = Success({"a": object()})
    assert masked(Masker(), unchanged) is unchanged


def test_lines_of_a_key_are_masked_one_by_one() -> None:
    key = "-----BEGIN KEY-----\nAAAABBBBCCCCDDDD\nEEEEFFFF\n-----END KEY-----\n"
    text = Masker([key]).text("| EEEEFFFF |\nAAAABBBBCCCCDDDD")
    assert text == "| *** |\n***"


def test_too_short_to_be_masked() -> None:
    assert not Masker(["abc"])
    assert "Masker" in repr(Masker([CANARY]))
    assert "canary" not in repr(Masker([CANARY]))


def published(pieces: list[bytes], secrets: list[str]) -> tuple[str, dict[str, Any]]:
    """What the broker gets, and the summary, of pieces written one after another."""
    texts: list[str] = []

    async def publish(topic: str, key: bytes, value: bytes, headers: Any) -> None:
        texts.append(orjson.loads(value)["text"])

    async def inside() -> dict[str, Any]:
        output = MaskedPublisher(Masker(secrets), command(), topic="t", source="s", publish=publish)
        for piece in pieces:
            await output.write("stdout", piece)
        if output.bytes_total:
            await output.close()
        summary = output.summary("stdout")
        return {} if summary is None else asdict(summary)

    summary = asyncio.run(inside())
    return "".join(texts), summary


def test_across_every_border_of_two_pieces() -> None:
    data = b"a hunter2-secret b"
    for cut in range(len(data) + 1):
        text, summary = published([data[:cut], data[cut:]], ["hunter2-secret"])
        assert text == "a *** b"
        assert summary["head"] == "a *** b"


def test_one_byte_at_a_time_and_at_random() -> None:
    secrets = ["pass", "password1", "sword1-2", "ööö-geheim"]
    source = random.Random(7)
    for _ in range(200):
        words = [source.choice([*secrets, "pas", "word", "x", "ö", "passwor"]) for _ in range(12)]
        data = "".join(words).encode()
        pieces, at = [], 0
        while at < len(data):
            step = source.choice([1, 1, 2, 5, 9])
            pieces.append(data[at : at + step])
            at += step
        text, _ = published(pieces, secrets)
        assert text == Masker(secrets).data(data).decode()
        assert not any(secret in text for secret in secrets)


def test_what_only_looks_like_a_beginning_comes_out_at_the_end() -> None:
    assert published([b"hunter2-"], ["hunter2-secret"])[0] == "hunter2-"
    assert published([], ["hunter2-secret"]) == ("", {})


FORMS: dict[str, Callable[[str], str | bytes]] = {
    "plain": str,
    "base64": lambda t: base64.b64encode(t.encode()).decode(),
    "base64 in 64 columns": lambda t: wrapped(base64.b64encode(b"x" * 50 + t.encode()), 64, "\n"),
    "base64 in 64 columns, CRLF": lambda t: wrapped(
        base64.b64encode(b"x" * 47 + t.encode() + b"y" * 99), 64, "\r\n"
    ),
    "base64 in 76 columns": lambda t: base64.encodebytes(b"x" * 55 + t.encode()).decode(),
    "base64 in 76 columns, CRLF": lambda t: wrapped(
        base64.b64encode(b"x" * 56 + t.encode()), 76, "\r\n"
    ),
    "base64, indented": lambda t: wrapped(base64.b64encode(b"x" * 45 + t.encode()), 64, "\n    "),
    "base64 in lines in JSON": lambda t: json.dumps(
        base64.encodebytes(b"x" * 50 + t.encode()).decode()
    ),
    "base64 for URLs": lambda t: base64.urlsafe_b64encode(b"ab" + t.encode()).decode().rstrip("="),
    "SQL": lambda t: t.replace("'", "''"),
    "CSV": lambda t: t.replace('"', '""'),
    "JSON": json.dumps,
    "JSON in JSON": lambda t: json.dumps({"a": json.dumps({"b": t})}),
    "JSON in JSON in JSON": lambda t: json.dumps([json.dumps([json.dumps([t])])]),
    "JSON, not ASCII": lambda t: json.dumps(json.dumps(t, ensure_ascii=False), ensure_ascii=False),
    "URL": lambda t: quote(t, safe=""),
    "URL, lower case": lambda t: re.sub("%..", lambda one: one[0].lower(), quote(t, safe="")),
    "form": quote_plus,
    "URL, every byte": lambda t: "".join(f"%{byte:02x}" for byte in t.encode()),
    "HTML": html.escape,
    "XML": lambda t: escape(t, {'"': "&quot;", "'": "&apos;"}),
    "XML in ASCII": lambda t: html.escape(t).encode("ascii", "xmlcharrefreplace"),
    "UTF-16": lambda t: t.encode("utf-16"),
    "UTF-16, big-endian": lambda t: t.encode("utf-16-be"),
    "hexadecimal": lambda t: t.encode().hex(),
    "hexadecimal, upper case": lambda t: t.encode().hex().upper(),
    "hexadecimal in lines": lambda t: wrapped((b"x" * 26 + t.encode()).hex().encode(), 60, "\n"),
    "Python": repr,
    "a shell": shlex.quote,
}
SECRETS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cc", "Zl", "Zp"]),
    min_size=12,
    max_size=40,
).filter(lambda text: text == text.strip() and not text.startswith("-----"))


def wrapped(text: bytes, width: int, end: str) -> str:
    shown = text.decode()
    return end.join(shown[at : at + width] for at in range(0, len(shown), width))


def as_bytes(shown: str | bytes) -> bytes:
    return shown if isinstance(shown, bytes) else shown.encode()


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=25, deadline=None)
@given(secret=SECRETS, data=st.data())
def test_no_encoding_of_any_secret_gets_through(
    name: str, secret: str, data: st.DataObject
) -> None:
    """Around the masks is what would be there around another secret, but for bits at its ends."""
    shown = as_bytes(FORMS[name](secret))
    other = b"before " + as_bytes(FORMS[name]("0" * len(secret.encode()))) + b" after"
    masker = Masker([secret])
    whole = b"before " + shown + b" after"
    found = masker.data(whole)
    left, *between, right = found.split(b"***")
    assert other.startswith(left[:-2])
    assert other.endswith(right[2:])
    assert len(b"".join(between)) < 6
    cut = data.draw(st.integers(0, len(whole)))
    first, held = masker.split(whole[:cut])
    second, rest = masker.split(held + whole[cut:])
    assert first + second + masker.data(rest) == found


def test_the_time_is_linear_in_the_output() -> None:
    """Not a measure of time: the work per byte does not depend on how many secrets there are."""
    masker = Masker([f"secret-number-{n}-of-many" for n in range(200)])
    data = b"an ordinary line of output, and another one\n" * 2_000
    assert masker.data(data) is data
    assert masker.split(data)[0] == data


def test_what_one_attempt_resolved_is_masked_in_all() -> None:
    known = KnownSecrets(["held-by-the-process"])
    first, second = Masker(["own-value"], known), Masker((), known)
    assert second.text("held-by-the-process own-value") == "*** own-value"
    known.add("own-value", "acme", "ann")
    assert first.text("own-value") == second.text("own-value") == "***"
    for number in range(1_000):
        known.add(f"another-value-{number}", "acme", "ann")
    # Bounded; but an attempt masks its own for as long as it runs.
    assert len(known.values) <= 201
    assert first.text("held-by-the-process own-value") == "*** ***"
    assert second.text("own-value another-value-999") == "own-value ***"


@pytest.mark.parametrize("size", [20, 60_000])
@pytest.mark.parametrize(
    "owners",
    [
        [("beta", "eve")],
        [("acme", "eve")],
        [("beta", f"eve-{number}") for number in range(250)],
    ],
    ids=["another tenant", "another actor", "a tenant with many actors"],
)
def test_whoever_uses_many_secrets_has_only_their_own_forgotten(
    owners: list[tuple[str, str]], size: int
) -> None:
    known = KnownSecrets(["held-by-the-process"])
    known.add("the-value-of-ann", "acme", "ann")
    for number in range(500):
        known.add(f"another-value-{number}".ljust(size, "x"), *owners[number % len(owners)])
    text = "held-by-the-process the-value-of-ann"
    assert Masker((), known).text(text) == "*** ***"
    assert len(known.values) <= 201
    assert sum(map(len, known.values)) < 300_000
    # Many tenants with one value each: the one that was used longest ago goes.
    for number in range(300):
        known.add(f"value-of-tenant-{number}", f"tenant-{number}", "ann")
        known.add("the-value-of-ann", "acme", "ann")
    assert Masker((), known).text(text) == "*** ***"
    assert len(known.values) <= 201


def test_a_long_secret_is_masked_to_its_end() -> None:
    secret = "".join(random.Random(3).choices("abcdefghijkl", k=6_000))
    for shown in (secret, base64.encodebytes(secret.encode()).decode()):
        data = f"a {shown} b".encode()
        masker = Masker([secret])
        found = masker.data(data)
        assert found[:2] == b"a " and found[-2:] == b" b" and len(found) < 16
        for cut in (5, 300, 5_000, len(data) - 3):
            first, held = masker.split(data[:cut])
            second, rest = masker.split(held + data[cut:])
            assert first + second + masker.data(rest) == found
    # What was cut is masked as far as it is known by then.
    assert Masker([secret]).text("a " + secret[:1_000]) == "a ***"
