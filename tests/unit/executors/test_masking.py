"""Known secrets do not pass, in any common form, however the output is cut."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest

from drivers.context import Failure, Success
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
