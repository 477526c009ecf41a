"""A router process with a defect: it raises on every record that says so, after a change."""

from __future__ import annotations

import sys
from typing import Any

from processors.router import app
from processors.router.partition import RouterPartition

MARK = b"raise in handle"


class Breaking(RouterPartition):
    """Decides as the real one, and raises afterwards: half a decision has been made by then."""

    def handle(self, message: Any, now: float, out: Any) -> None:
        super().handle(message, now, out)
        if MARK in (message.value() or b""):
            raise KeyError("a defect")


if __name__ == "__main__":
    vars(app)["RouterPartition"] = Breaking
    sys.exit(app.main())
