"""In which order waiting commands are claimed: by priority, and by how long they have waited; pure.

The rule: each level of priority counts as LEVEL_SECONDS of waiting. The turn of a command is the
moment of its arrival and LEVEL_SECONDS for each level, so the order of two commands never changes
while they wait, and whatever arrives `MOST_OVERTAKEN_SECONDS` after a command comes after it.
"""

from __future__ import annotations

from typing import Final

import orjson

from streams.vocabulary import DEFAULT_PRIORITY, LEAST_URGENT, MOST_URGENT

#: A command of one level less is served as if it had come so much later.
LEVEL_SECONDS: Final = 30.0
#: What arrives later than this after a command is never claimed before it.
MOST_OVERTAKEN_SECONDS: Final = LEVEL_SECONDS * (LEAST_URGENT - MOST_URGENT)


def turn(arrived_at: float, priority: int) -> float:
    """What is smaller is claimed first; `arrived_at` in Unix seconds."""
    return arrived_at + LEVEL_SECONDS * priority


def priority_of(value: bytes | None) -> int:
    """What the value says, before anybody has verified it.

    It is of the bytes that are signed, so that a copy cannot come before its original. What is no
    command is the least urgent: whoever must wait for something comes first.
    """
    try:
        found = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return LEAST_URGENT
    if not isinstance(found, dict):
        return LEAST_URGENT
    priority = found.get("priority", DEFAULT_PRIORITY)
    # `type`, since true is an integer too.
    if type(priority) is not int or not MOST_URGENT <= priority <= LEAST_URGENT:
        return LEAST_URGENT
    return priority
