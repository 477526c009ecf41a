"""An executor that stands still in the middle of a claim while another one takes over."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from streams.topics import EXECUTORS_CONTROL, OUTPUT, REPORTS, STEPS, dead_letter_topic
from tests.brokers import client_options
from tests.integration.executor_lab import ExecutorLab, lab
from tests.integration.groups import shares
from tests.integration.stopping_executor import POINTS

BULK = STEPS["test", "bulk"]
NEEDED = (
    BULK,
    STEPS["test", "immediate"],
    dead_letter_topic(BULK),
    REPORTS,
    OUTPUT,
    EXECUTORS_CONTROL,
)
#: The shortest session that the broker allows.
SESSION = {"session.timeout.ms": 6000}


@pytest.fixture
def executors(kafka: str, topics: Callable[..., str], tmp_path: Path) -> Iterator[ExecutorLab]:
    with lab(kafka, topics(*NEEDED), tmp_path) as made:
        yield made


def is_stopped(pid: int) -> bool:
    """Whether the process stands still because of SIGSTOP."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return fields.split()[0] == "T"


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="process states are read in /proc")
@pytest.mark.parametrize(
    ("point", "expires"),
    [*((point, False) for point in POINTS), ("before_commit", True)],
)
def test_a_frozen_executor_starts_nothing_twice_and_loses_nothing(
    executors: ExecutorLab, tmp_path: Path, point: str, expires: bool
) -> None:
    """It stands still until its partitions are taken over.

    With `expires` also until the broker has aborted its transaction, about 15 to 25 s.
    """
    admin = AdminClient(client_options(executors.bootstrap))
    group = f"{executors.prefix}runstream-executor-test-bulk"
    half, whole = BULK.partitions // 2, BULK.partitions
    asked = tmp_path / "stop"
    sent: list[str] = []

    def send(count: int) -> None:
        sent.extend(executors.send(executors.command()) for _ in range(count))

    program = ("-m", "tests.integration.stopping_executor", point, str(asked))
    frozen = executors.start("frozen", program, kafka_options=SESSION)
    executors.start("other", kafka_options=SESSION)
    executors.until(lambda: shares(admin, group) == [half, half])
    send(40)
    executors.until(lambda: executors.count("succeeded") == len(sent))
    asked.touch()
    send(40)
    executors.until(lambda: is_stopped(frozen.pid))
    send(20)
    executors.until(lambda: shares(admin, group) == [whole])
    if expires:
        # Its successor reads the offsets, and so starts what it had claimed, only then.
        executors.until(lambda: executors.count("started") >= len(sent))
    frozen.send_signal(signal.SIGCONT)
    send(20)
    executors.until(lambda: executors.count("succeeded") >= len(sent))
    executors.until(lambda: shares(admin, group) == [half, half])
    send(20)
    executors.until(lambda: executors.count("succeeded") >= len(sent))
    assert Counter(one.execution_id for one in executors.reports if one.type == "started") == (
        Counter(sent)
    )
    assert executors.ledger() == Counter(sent)
    assert all(executors.kinds(one) == ["started", "succeeded"] for one in sent)
    assert {one.executor for one in executors.reports} == {"frozen", "other"}
