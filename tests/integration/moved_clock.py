"""A router or executor whose clock a test moves: a file says by how many seconds.

Run as a program: the file, then the words of the command.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from console.cli import main
from processors.executors import authentication
from runtime import clock
from runtime.kafka.broker_clock import BrokerClock


def moved(file: Path) -> float:
    """What time it is."""
    return round(time.time() + float(file.read_text()), 3)


def _unseen(self: BrokerClock, *times: float) -> None:
    """The broker's clock cannot be moved, and is none of this world's."""


if __name__ == "__main__":
    vars(clock)["now"] = lambda: moved(Path(sys.argv[1]))
    setattr(BrokerClock, "observe", _unseen)  # noqa: B010
    vars(authentication)["MAX_TRANSIT_SECONDS"] = float("inf")
    sys.exit(main(sys.argv[2:]))
