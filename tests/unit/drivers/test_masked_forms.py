"""Masking leaves nothing of a secret, in any form of a list that is not masking's own."""

from __future__ import annotations

import json

import pytest

from drivers.known_secrets import KnownSecrets
from drivers.masking import Masker
from drivers.output import escaped
from tests.canary_forms import DECOY, found, shown, squeezed, written
from tests.integration.canary_steps import CANARIES


def masker(value: str) -> Masker:
    known = KnownSecrets()
    known.add(value, "acme", "ann")
    return Masker((), known)


@pytest.mark.parametrize("value", [*CANARIES.values(), DECOY])
@pytest.mark.parametrize("size", [1, 7, 64, 4_096])
def test_in_a_stream_of_pieces(value: str, size: int) -> None:
    output = shown(value)
    mask = masker(value)
    done, held = b"", b""
    for start in range(0, len(output), size):
        ready, held = mask.split(held + output[start : start + size])
        done += ready
    assert found(value, squeezed(done + mask.data(held))) == set()


@pytest.mark.parametrize("value", [*CANARIES.values(), DECOY])
def test_in_a_value(value: str) -> None:
    texts = [text.decode("utf-8", "replace") for text in written(value).values()]
    texts += [escaped(text) for text in texts]
    masked = masker(value).value({"texts": texts, **dict.fromkeys(texts, 1)})
    assert found(value, squeezed(repr(masked).encode())) == set()
    assert found(value, squeezed(repr(texts).encode())), "the search sees nothing"


@pytest.mark.parametrize("value", [*CANARIES.values(), DECOY])
def test_in_a_json_document(value: str) -> None:
    texts = [
        text.decode()
        for name, text in written(value).items()
        # What was three times in JSON is not looked for within a fourth one.
        if not name.startswith(("utf-16", "json in json in"))
    ]
    for ascii_only in (True, False):
        document = masker(value).data(json.dumps(texts, ensure_ascii=ascii_only).encode())
        assert found(value, squeezed(document)) == set()
        assert found(value, squeezed("\n".join(json.loads(document)).encode())) == set()
