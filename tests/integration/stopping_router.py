"""A router process that stops itself, as SIGSTOP does, at one point of a commit.

Run as a program: the point, then the file whose existence asks for it; the file is removed first.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from processors.router import app
from runtime.kafka import transaction

POINTS = ("before_offsets", "before_commit", "after_commit")


class StoppingProducer(Producer):
    """Real in every respect but that it stops the process in between.

    It also waits long for more records, so that none is sent before it has to be.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__({**options, "linger.ms": 1_000})

    def send_offsets_to_transaction(self, *given: Any) -> None:
        # The membership is among what is given: as it was before the stop.
        reached("before_offsets")
        super().send_offsets_to_transaction(*given)

    def commit_transaction(self, *given: Any) -> None:
        reached("before_commit")
        super().commit_transaction(*given)
        reached("after_commit")


def reached(point: str) -> None:
    wanted, file = sys.argv[1], Path(sys.argv[2])
    if point == wanted and file.exists():
        file.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)
        # The worst order: the client's own threads learn what has changed before this one goes on.
        time.sleep(0.5)


if __name__ == "__main__":
    vars(transaction)["Producer"] = StoppingProducer
    sys.exit(app.main())
