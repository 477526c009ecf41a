"""A copy of the process tells what ends a process, and what only raises or was killed."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
from collections.abc import Callable

import pytest

from runtime.kafka import trial


def _segfault() -> None:
    faulthandler.disable()  # The stack of a fault that is wanted would stand in the test's output.
    ctypes.string_at(0)


def _exit() -> None:
    os._exit(3)


def _hoard() -> None:
    bytearray(2 * trial.MEMORY_BYTES)


def _raise() -> None:
    raise ValueError("a defect")


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _asked_to_end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _nothing() -> None:
    pass


@pytest.mark.parametrize("fault", [_segfault, _exit, _hoard])
def test_what_ends_the_copy_ends_the_process(fault: Callable[[], None]) -> None:
    assert trial.ends_the_process(fault)


@pytest.mark.parametrize("harmless", [_raise, _killed, _asked_to_end, _nothing])
def test_exceptions_and_signals_of_others_prove_nothing(harmless: Callable[[], None]) -> None:
    assert not trial.ends_the_process(harmless)


def test_a_copy_that_hangs_is_ended_and_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 1)
    lock = threading.Lock()

    def wait() -> None:
        lock.acquire()

    with lock:
        assert not trial.ends_the_process(wait)


def test_the_copy_changes_nothing_here() -> None:
    seen: list[int] = []
    assert not trial.ends_the_process(lambda: seen.append(1))
    assert seen == []
