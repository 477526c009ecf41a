"""Event logs with the chain that the router would give them."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from streams.chain import link, start, with_chain
from streams.timestamps import iso, unix


def chained(values: Iterable[bytes]) -> list[bytes]:
    """The events of one execution, in order, with their chains; times have milliseconds."""
    found: list[bytes] = []
    chain = None
    for value in values:
        tree = orjson.loads(value)
        tree["at"] = iso(unix(tree["at"]))
        raw = orjson.dumps(tree)
        chain = link(chain or start(tree["execution_id"]), raw)
        found.append(with_chain(raw, chain))
    return found
