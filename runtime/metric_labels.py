"""Labels of metrics: their number is bounded, whatever plans and operators name."""

from __future__ import annotations

from typing import Final

#: In the place of names beyond the limit.
OTHER: Final = "other"


class BoundedLabel:
    """Gives each of the first `limit` names itself, and `other` for every further one."""

    def __init__(self, limit: int) -> None:
        """No name is known yet."""
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        """The label for a name."""
        if name in self._known:
            return name
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(name)
        return name
