"""What Faust and its Kafka client log, and exceptions that end a thread, in the process's log.

Warnings and errors of the libraries go to the process's own JSON log. Left out is only what an
absent broker makes them repeat several times a second and what the process says itself, once;
each such line is named below by its exact text.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError

from runtime.logs import Log

#: Logger -> the messages (before their arguments are filled in) that are left out where their
#: cause is an absent broker. `app` reports that and the return by itself, and `/readyz` says so
#: while it lasts. With another cause (no authority, for one) the same messages are shown.
REPEATED: Final[dict[str, frozenset[str]]] = {
    "aiokafka": frozenset(
        {
            # One per connection attempt.
            'Unable connect to "%s:%s": %s',
            "Unable connect to node with id %s: %s",
            # One per node and metadata request.
            'Unable to request metadata from "%s:%s": %s',
            "Unable to request metadata from node with id %s: %r",
        }
    ),
    # Ten a second each.
    "aiokafka.consumer.fetcher": frozenset({"Failed fetch messages from %s: %s"}),
    "aiokafka.consumer.group_coordinator": frozenset({"Group Coordinator Request failed: %s"}),
    # While a snapshot is on its way: running executions are shown anew without an event too.
    "aiokafka.producer.sender": frozenset({"Got error produce response: %s"}),
}
#: Follows one of the messages about a node, which says why, and says nothing more.
_AFTERWARDS: Final = "Unable to update metadata from %s"
#: What an absent broker raises in the client.
_ABSENT: Final = (OSError, NodeNotReadyError, KafkaConnectionError, RequestTimedOutError)


class RepeatedOutage(logging.Filter):
    """Leaves out the given messages where an absent broker is their cause."""

    def __init__(self, messages: frozenset[str]) -> None:
        """The messages as they are before their arguments are filled in."""
        super().__init__()
        self._messages = messages

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show the record."""
        if record.msg == _AFTERWARDS:
            return False
        if record.msg not in self._messages or not isinstance(record.args, tuple):
            return True
        return not any(isinstance(given, _ABSENT) for given in record.args)


def listen(log: Log, debug: bool, on_failed: Callable[[str], None]) -> None:
    """Send the libraries' warnings to our log; `on_failed` gets why a thread failed."""
    for name in ("faust", "mode", "aiokafka", "processors.progress"):
        logging.getLogger(name).setLevel(logging.INFO if debug else logging.WARNING)
    if not debug:
        for name, messages in REPEATED.items():
            logging.getLogger(name).addFilter(RepeatedOutage(messages))

    def hook(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        name = args.thread.name if args.thread is not None else "a thread"
        log.error("a thread ended with an error", thread=name, why=repr(error), exc_info=error)
        on_failed(f"the thread {name} ended: {error!r}")

    threading.excepthook = hook
