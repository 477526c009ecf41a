"""A process under supervision, with a fake probe and a program that only waits."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from devstack.child import Child, Launch
from devstack.member import Member


class AtOnce(Executor):
    """Runs what it is given in the caller's thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@pytest.fixture
def answers() -> list[bool]:
    """What the next probes find; the last one stays."""
    return [True]


@pytest.fixture
def member(tmp_path: Path, answers: list[bool]) -> Iterator[Member]:
    waits = (sys.executable, "-c", "import time; time.sleep(60)")
    child = Child(Launch(name="waits", argv=waits, log=tmp_path / "log", grace_seconds=5.0))
    made = Member(
        child, lambda: answers.pop(0) if len(answers) > 1 else answers[0], probe_every=2.0
    )
    made.start(0.0)
    yield made
    child.stop()


def test_one_late_answer_does_not_make_it_unready(member: Member, answers: list[bool]) -> None:
    answers[:] = [True, False, True]
    pool = AtOnce()
    for moment in (0.0, 0.1, 2.2, 2.3, 2.5, 5.0):
        member.tick(moment, pool)
    assert member.healthy
    assert member.messages == ["waits ready after 0.1 s"]


def test_two_missing_answers_do(member: Member, answers: list[bool]) -> None:
    answers[:] = [True, False]
    pool = AtOnce()
    for moment in (0.0, 0.1, 2.2, 2.3, 2.5, 2.6):
        member.tick(moment, pool)
    assert not member.healthy
    assert member.status().state == "unready"


def test_an_exit_is_answered_with_a_start_after_a_pause(member: Member) -> None:
    pool = AtOnce()
    before = member.child.pid
    member.child.signal_stop()
    deadline = time.monotonic() + 60
    while member.status().state != "backing-off":
        member.tick(1.0, pool)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    member.tick(1.4, pool)
    assert member.status().pid is None
    member.tick(1.6, pool)
    assert member.status().pid not in (None, before)
    assert member.restarts == 1
