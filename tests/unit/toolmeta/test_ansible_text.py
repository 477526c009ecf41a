"""What Ansible writes is read in bounded memory, however much it is and whatever it looks like."""

from __future__ import annotations

import io
import sys
import tracemalloc

import pytest

from toolmeta.programs.ansible_text import Reading

STARS = "*" * 60
COUNTS = "ok=1    changed=0    unreachable=0    failed=1    skipped=0    rescued=0    ignored=0"


class Nowhere(io.TextIOBase):
    """Standard error that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setattr(sys, "stderr", Nowhere())
    read = Reading(as_json=False)
    for line in (f"PLAY [site] {STARS}", f"TASK [note] {STARS}"):
        read.take(line)
    return read


def test_a_result_of_many_large_lines_is_not_kept_whole(reading: Reading) -> None:
    line = "x" * 1_000_000
    tracemalloc.start()
    try:
        reading.take("fatal: [web-01]: FAILED! => {")
        for _ in range(200):
            # Each one is a text of its own, as those that are read.
            reading.take(line[:-1] + "y")
        reading.take("}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 * 1024 * 1024
    for text in ("", f"PLAY RECAP {STARS}", f"web-01 : {COUNTS}"):
        reading.take(text)
    report = reading.report()
    assert [entry["host"] for entry in report["failed_tasks"]] == ["web-01"]
    assert len(report["failed_tasks"][0]["message"]) == 1_000
    assert report["hosts"][0]["failed"] == 1


def test_what_looks_like_a_recap_of_very_many_hosts(reading: Reading) -> None:
    reading.take(f"PLAY RECAP {STARS}")
    for number in range(60_000):
        reading.take(f"invented-{number} : {COUNTS}")
    assert len(reading.hosts) == 50_000
    # The last one is Ansible's own.
    for text in (f"PLAY RECAP {STARS}", f"web-01 : {COUNTS}"):
        reading.take(text)
    assert list(reading.hosts) == ["web-01"]
