"""A router process with a defect: records that say so end it at once."""

from __future__ import annotations

import os
import sys
from typing import Any

from processors.router import app
from processors.router.partition import RouterPartition

MARK = b"end in handle"


class Crashing(RouterPartition):
    """Decides as the real one, and ends the process in the middle of the batch."""

    def handle(self, message: Any, now: float, out: Any) -> None:
        super().handle(message, now, out)
        if MARK in (message.value() or b""):
            os._exit(70)


if __name__ == "__main__":
    vars(app)["RouterPartition"] = Crashing
    sys.exit(app.main())
