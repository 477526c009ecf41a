"""Fencing: no command is started whose lock has gone to somebody else since.

Source: fencing tokens as in M. Kleppmann, "How to do distributed locking" (2016).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from streams.commands import StepCommand

#: Assets of which the highest token is remembered; the one seen longest ago is forgotten first.
_REMEMBERED: Final = 20_000


@dataclass(slots=True)
class Fences:
    """The highest token of each asset that this process has seen, of all its lanes.

    Lanes are threads: two of them may check at the same moment, and each then sees its own token or
    the higher one.
    """

    _seen: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)

    def check(self, command: StepCommand) -> str | None:
        """Why the command must not start, or None; its tokens are remembered."""
        for asset, token in (command.fencing_tokens or {}).items():
            key = (command.tenant, asset)
            highest = self._seen.get(key, 0)
            if token < highest:
                return (
                    f"{asset} has been locked again since: the command has token {token}, "
                    f"and one with {highest} came before it."
                )
            self._seen[key] = token
            self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return None
