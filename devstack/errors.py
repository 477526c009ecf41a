"""The one exception of the local stack."""

from __future__ import annotations


class LocalStackError(RuntimeError):
    """The local stack cannot start or go on; the message says what to do about it."""
