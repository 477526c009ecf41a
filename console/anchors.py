"""Whether the router has signed the end of an execution: a signature over the chain of its event.

The signature is a token like that of any record of `execution.events` (docs/signatures.md), over
the chain, since the tables do not keep the value. The cluster that it names is not compared: a log
may have moved, and the chain names its execution.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from authority.identity import Forged
from authority.key_files import read_trusted
from authority.tokens import Token, covers, parts, verify
from console.chain_check import Anchor
from streams.topics import EVENTS

#: Signatures that are remembered: the executions that end together lie below one.
_REMEMBERED: Final = 1_024


def anchor_of(trusted: Path) -> Anchor:
    """The check against the trusted keys of a file; raises KeyFault where it is unusable."""
    keys = read_trusted(trusted)

    @lru_cache(maxsize=_REMEMBERED)
    def opened(signed: str) -> Token | Forged:
        return verify(signed, keys.get)

    def check(chain: str, signature: str | None) -> str | None:
        if signature is None:
            return "it is not signed"
        split = parts(signature)
        if isinstance(split, Forged):
            return split.message
        signed, proof = split
        found = opened(signed)
        if isinstance(found, Forged):
            return found.message
        key = found.key
        if key.use.role != "router":
            return f"the key {key.kid} is not that of a router"
        if found.claims.topic != EVENTS.name or not covers(found, proof, chain.encode()):
            return "the signature is for something else"
        refusal = key.use.refusal(found.claims.iat)
        return None if refusal is None else f"the key {key.kid} did not count then: {refusal}"

    return check
