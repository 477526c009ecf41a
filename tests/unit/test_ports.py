"""Ports of servers that start at the same time in several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devstack import ports
from devstack.errors import LocalStackError

_TAKES = """
import sys
from devstack import ports
from devstack.errors import LocalStackError
ports._RANGE = range(int(sys.argv[1]), int(sys.argv[2]))
print(*(ports.free_port() for _ in range(int(sys.argv[3]))), flush=True)
sys.stdin.read()
"""


def _taker(first: int, last: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _TAKES, str(first), str(last), str(count)]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True)


def test_processes_that_live_are_given_different_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens yet; only the reservation keeps them apart in so narrow a range."""
    first = ports.free_port()
    takers = [_taker(first, first + 60, 8) for _ in range(3)]
    try:
        given = [int(port) for taker in takers for port in taker.stdout.readline().split()]  # type: ignore[union-attr]
        assert len(given) == 24
        assert len(set(given)) == 24
        assert first not in given
    finally:
        for taker in takers:
            taker.communicate(timeout=20)
    monkeypatch.setattr(ports, "_RANGE", range(given[0], given[0] + 1))
    assert ports.free_port() == given[0], "a process that has ended keeps nothing"


def test_a_process_is_given_a_port_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free_port()
    monkeypatch.setattr(ports, "_RANGE", range(first, first + 1))
    with pytest.raises(LocalStackError):
        ports.free_port()


def test_a_stack_that_starts_again_keeps_its_ports(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert ports.assign_ports(file, ["a", "b"]) == ports.assign_ports(file, ["a", "b"])
