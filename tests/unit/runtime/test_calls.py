"""Calls with a limit that holds whatever the callee does."""

from __future__ import annotations

import threading

import pytest

from runtime.kafka.calls import CallThread


def test_a_call_returns_or_raises_as_it_would_without_the_watch() -> None:
    calls = CallThread("test")
    seen: list[int] = []
    calls.call_with_timeout(5, seen.append, 1)
    with pytest.raises(ZeroDivisionError):
        calls.call_with_timeout(5, lambda: 1 // 0)
    calls.call_with_timeout(5, seen.append, 2)
    calls.close()
    assert seen == [1, 2]


def test_a_call_that_hangs_is_left_behind_and_the_next_one_works() -> None:
    calls = CallThread("test-hang")
    release = threading.Event()
    seen: list[int] = []
    with pytest.raises(TimeoutError):
        calls.call_with_timeout(0.05, release.wait)
    calls.call_with_timeout(5, seen.append, 1)
    release.set()
    calls.close()
    # Both threads end: the one that was left behind as soon as its call comes back.
    for thread in threading.enumerate():
        if thread.name == "test-hang":
            thread.join(5)
            assert not thread.is_alive()
    assert seen == [1]
