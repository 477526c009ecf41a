"""Rules that the drivers share: which errors may be retried, addresses, values, small parsers."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import remote
from drivers.cleanup import run_uncancelled
from drivers.connections import is_here
from drivers.context import Failure, Outcome, Success
from drivers.errors import ERROR_CLASSES, fail, may_retry
from drivers.http.ranges import is_public
from drivers.registry import DRIVERS
from drivers.resources import Resources
from drivers.values import jsonable
from tests.driver_kit import EXECUTION, Run, command, settings
from toolmeta.invocation import Invocation


def test_the_registry_has_every_way_of_acting() -> None:
    assert set(DRIVERS) == {
        *("command", "http", "smtp", "slack", "teams", "webhook", "sql", "asset", "test"),
        *("analysis", "files", "library", "packets", "scan", "script", "vapix", "winrm"),
    }


def test_before_any_effect_a_transient_error_may_always_be_retried() -> None:
    unsafe = Invocation("t", "test")
    assert may_retry("connection_refused", unsafe)
    assert may_retry("rate_limited", unsafe)
    assert not may_retry("program_missing", unsafe)


@pytest.mark.parametrize("name", sorted(ERROR_CLASSES))
def test_after_an_effect_only_what_the_tool_declares(name: str) -> None:
    if ERROR_CLASSES[name].before_effect:
        return
    declared = frozenset({name})
    assert not may_retry(name, Invocation("t", "test"))
    assert not may_retry(name, Invocation("t", "test", transient=declared))
    assert not may_retry(name, Invocation("t", "test", retry_safe=True))
    assert may_retry(name, Invocation("t", "test", transient=declared, retry_safe=True))


def test_messages_are_cut_and_clean() -> None:
    failure = fail(Invocation("t", "test"), "internal", "a\x00" + "x" * 5_000)
    assert len(failure.message) == 2_000
    assert failure.message.startswith("a\\u0000x")


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1", "::127.0.0.1"),
        *("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:53aa:64c:0:0:0:0"),
    ],
)
def test_inner_addresses(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_outer_addresses(text: str) -> None:
    assert is_public(ip_address(text))


def test_values_become_json() -> None:
    assert jsonable({"n": Decimal("1.50"), "big": 2**60, "nan": math.nan, "text": "a\x00b"}) == {
        "n": 1.5,
        "big": str(2**60),
        "nan": "nan",
        "text": "a\\u0000b",
    }
    assert jsonable(Decimal("0.12345678901234567890123")) == "0.12345678901234567890123"
    assert jsonable([datetime(2026, 1, 2, tzinfo=UTC), b"\x00"]) == [
        "2026-01-02T00:00:00+00:00",
        "AA==",
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_comes_out_is_strict_json_without_nul(value: Any) -> None:
    text = json.dumps(jsonable(value), allow_nan=False)
    assert "\\u0000" not in text.replace("\\\\u0000", "")


def test_deep_values_end() -> None:
    value: Any = "x"
    for _ in range(10_000):
        value = [value]
    json.dumps(jsonable({"deep": value}))


def test_this_machine_has_names() -> None:
    assert is_here(None)
    assert is_here("LOCALHOST")
    assert is_here("127.0.0.1")
    assert not is_here("127.0.0.1:2222")
    assert not is_here("web-01.example.org")


def test_what_the_stopper_prints() -> None:
    assert remote.parse_stopped("ended 1 2\nleft\n") == remote.Stopped(True, (1, 2), (), True)
    assert remote.parse_stopped("ended\nleft 7\n").left == (7,)
    assert not remote.parse_stopped("ended 1 2\n").complete
    assert not remote.parse_stopped("unsupported\n").supported
    # Digits that Python does not take for a number, or too many of them.
    assert remote.parse_stopped(f"ended 1 ² {'9' * 5_000}\nleft\n").ended == (1,)


def test_a_cleanup_runs_to_its_end_through_two_cancels() -> None:
    done: list[str] = []

    async def cleaning() -> None:
        await asyncio.sleep(0.05)
        done.append("clean")

    async def inside() -> None:
        task = asyncio.create_task(run_uncancelled(cleaning(), 5))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(inside())
    assert done == ["clean"]


def outcome(call: str, attempt: int = 1, ledger: Path | None = None, **arguments: Any) -> Outcome:
    async def inside() -> Outcome:
        opened = Resources(settings(ledger=str(ledger) if ledger is not None else None))
        invocation = Invocation(call, "test", call=call, arguments=arguments)
        return await Run(opened, invocation, command=command(attempt=attempt)).outcome()

    return asyncio.run(inside())


def test_noop_passes_a_value_and_writes_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    assert outcome("noop", ledger=ledger, value=41) == Success({"value": 41})
    outcome("noop", attempt=2, ledger=ledger)
    lines = [line.split(" ") for line in ledger.read_text().splitlines()]
    assert [line[:3] for line in lines] == [[EXECUTION, "one", "1"], [EXECUTION, "one", "2"]]
    assert all(len(line) == 5 for line in lines)


def test_fail_in_the_first_attempts_only() -> None:
    first = outcome("fail", attempt=2, times=2)
    assert isinstance(first, Failure)
    assert first.error_class == "injected"
    assert outcome("fail", attempt=3, times=2) == Success({"attempt": 3})
    other = outcome("fail", error_class="connection_refused")
    assert isinstance(other, Failure)
    assert other.transient


def test_sleep_reports_progress_and_can_be_cancelled() -> None:
    async def inside() -> tuple[Outcome, list[Any]]:
        opened = Resources(settings())
        run = Run(opened, Invocation("sleep", "test", call="sleep", arguments={"seconds": 0.02}))
        result = await run.outcome()
        long = Run(opened, Invocation("sleep", "test", call="sleep", arguments={"seconds": 600}))
        task = asyncio.create_task(long.outcome())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        return result, run.progress

    result, progress = asyncio.run(inside())
    assert result == Success({"slept_seconds": 0.02})
    assert progress[-1][0] == 100.0
