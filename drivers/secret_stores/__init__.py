"""Where secrets come from: one module for each source of a secret path."""

from __future__ import annotations

from typing import Protocol


class SecretStore(Protocol):
    """One source; it may block, and is called from threads."""

    def read(self, name: str, tenant: str) -> str | None:
        """The secret of that name, None where there is none; raises SecretError.

        Bounded in time. No message holds a value.
        """
        ...
