"""The output of a result: encoded once, and never from before it was masked."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from drivers.context import Outcome, Success
from drivers.masking import Masker
from processors.executors import final_report, jsonable, large_output, reports
from processors.executors.masked_output import masked
from tests.unit.executors_agent.test_attempts import made


class Published:
    """Everything of stdout was published."""

    def has_written(self, stream: str) -> bool:
        return True


def reported(output: dict[str, Any], masker: Masker) -> tuple[dict[str, Any], int]:
    """The output of the report, and how often an output was encoded."""
    encodings = 0
    dump = jsonable.dump

    def counted(value: Any) -> bytes:
        nonlocal encodings
        encodings += 1
        return dump(value)

    async def fitted() -> tuple[Outcome | None, large_output.Encoded | None]:
        return await large_output.fit(Success(output), Published())  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonable, "dump", counted)
        outcome, encoded = asyncio.run(fitted())
        outcome = masked(masker, outcome)
        assert isinstance(outcome, Success)
        text = None if encoded is None else encoded.text_of(outcome.output)
        fields = reports.end_fields(0.1, outcome.output, text=text)
    return orjson.loads(orjson.dumps(fields))["output"], encodings


@pytest.mark.parametrize("output", [{"a": [1, None]}, {}, {"text": "x" * 200_000}])
def test_an_output_without_secrets_is_encoded_once(output: dict[str, Any]) -> None:
    assert reported(output, Masker()) == (output, 1)


@pytest.mark.parametrize("secret", ["canary-value", 'quo"te-canary', "ümlaut-canary"])
def test_what_was_encoded_before_masking_is_not_reported(secret: str) -> None:
    found, _ = reported({"text": f"a {secret} b", secret: 1}, Masker([secret]))
    assert found == {"text": "a *** b", "***": 1}


def test_a_large_output_is_shortened_all_the_same() -> None:
    found, _ = reported({"text": "canary-value " * 100_000}, Masker(["canary-value"]))
    assert found["truncated"] is True and "canary" not in repr(found)


def test_what_json_does_not_know_is_as_before() -> None:
    found, _ = reported({"n": float("nan"), "big": 2**70, "t": ("a",)}, Masker())
    assert found == {"n": None, "big": str(2**70), "t": ["a"]}


def test_an_output_that_the_tool_cut_names_the_rest() -> None:
    """It is small, so that it was encoded before the place of the rest was added."""
    output = {"rows": [1], "truncated": True}

    async def inside() -> dict[str, Any]:
        attempt = made()
        await attempt.output.write("stdout", b"1\n2\n")
        outcome, attempt.encoded = await large_output.fit(Success(output), attempt.output)
        await attempt.output.close()
        assert isinstance(outcome, Success) and attempt.encoded is not None
        return final_report.end_fields(attempt, 0.1, outcome.output)

    found = orjson.loads(orjson.dumps(asyncio.run(inside())))["output"]
    assert found["rest"]["bytes"] == 4 and found["rows"] == [1]
