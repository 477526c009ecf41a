"""Evaluating expressions in a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def evaluating() -> Iterator[None]:
    """Evaluate expressions in a process of their own meanwhile."""
    from runtime.cel import expressions
    from runtime.cel.worker import Worker

    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        yield
    finally:
        worker.close()
