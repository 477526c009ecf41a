"""What is seen of Faust's and its client's logs, and of threads that die."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    MessageSizeTooLargeError,
    NodeNotReadyError,
)

from processors.progress import client_logs
from runtime.logs import Log

NAMES = ("faust", "mode", "aiokafka", "processors.progress", *client_logs.REPEATED)


class Collected:
    """Keeps what is logged through our own logger."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.errors.append((event, fields))


@pytest.fixture
def deaths() -> Iterator[tuple[Collected, list[str]]]:
    """The process's logging as the projector sets it up, put back afterwards."""
    before = {name: logging.getLogger(name).level for name in NAMES}
    hook = threading.excepthook
    log, reasons = Collected(), list[str]()
    client_logs.listen(cast(Log, log), False, reasons.append)
    yield log, reasons
    threading.excepthook = hook
    for name, level in before.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        for added in [f for f in logger.filters if isinstance(f, client_logs.RepeatedOutage)]:
            logger.removeFilter(added)


def test_trouble_of_the_client_is_seen_and_an_absent_broker_is_not_repeated(
    deaths: object, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator = logging.getLogger("aiokafka.consumer.group_coordinator")
    fetcher = logging.getLogger("aiokafka.consumer.fetcher")
    sender = logging.getLogger("aiokafka.producer.sender")
    for _ in range(100):
        coordinator.error("Group Coordinator Request failed: %s", NodeNotReadyError("node 1"))
        fetcher.error("Failed fetch messages from %s: %s", 1, NodeNotReadyError("node 1"))
        sender.warning("Got error produce response: %s", NodeNotReadyError("node 1"))
        logging.getLogger("aiokafka").error("Unable connect to node with id %s: %s", 1, OSError())
    assert caplog.records == []
    coordinator.error("Group Coordinator Request failed: %s", GroupAuthorizationFailedError("g"))
    fetcher.warning("Not authorized to read from topic %s.", "execution.events")
    sender.warning("Got error produce response: %s", MessageSizeTooLargeError("1 byte too many"))
    logging.getLogger("faust.transport").error("the consumer cannot go on")
    logging.getLogger("mode.services").info("[^Service]: Starting...")
    assert [record.name for record in caplog.records] == [
        "aiokafka.consumer.group_coordinator",
        "aiokafka.consumer.fetcher",
        "aiokafka.producer.sender",
        "faust.transport",
    ]


def test_a_thread_that_dies_is_an_error_and_is_told_to_the_process(
    deaths: tuple[Collected, list[str]],
) -> None:
    log, reasons = deaths

    def die() -> None:
        raise RuntimeError("no way on")

    thread = threading.Thread(target=die, name="consumer")
    thread.start()
    thread.join()
    ((event, fields),) = log.errors
    assert event == "a thread ended with an error"
    assert isinstance(fields["exc_info"], RuntimeError)
    assert reasons == ["the thread consumer ended: RuntimeError('no way on')"]
