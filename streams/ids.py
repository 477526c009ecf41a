"""Ids, keys and partitions: everything that decides where a message goes.

All of it is derived, nothing is drawn: time and randomness come in as arguments, so that the same
input always gives the same id.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

#: RFC 9562: version 8, variant 10.
_EXECUTION_ID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)

_MASK: Final = 0xFFFFFFFF
_MULTIPLIER: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash, with the seed of Kafka's default partitioner.

    Source: `org.apache.kafka.common.utils.Utils.murmur2`, whose partition choice every Java client
    shares; librdkafka calls it `murmur2_random`.
    """
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * _MULTIPLIER) & _MASK
        k ^= k >> 24
        h = ((h * _MULTIPLIER) & _MASK) ^ ((k * _MULTIPLIER) & _MASK)
    tail = data[whole:]
    if tail:
        h ^= int.from_bytes(tail, "little")
        h = (h * _MULTIPLIER) & _MASK
    h ^= h >> 13
    h = (h * _MULTIPLIER) & _MASK
    return h ^ (h >> 15)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner chooses for `key`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def route_key(tenant: str, idempotency_key: str) -> str:
    """The route key: eight hex digits, the same for the same idempotency key of a tenant."""
    return f"{murmur2(f'{tenant}:{idempotency_key}'.encode()):08x}"


def mint_execution_id(route: str, unix_ms: int, random_bits: int) -> str:
    """An execution id for `route`: a UUIDv8 that carries time, randomness and the route key.

    Layout (RFC 9562, version 8): 48 bits Unix milliseconds, 4 bits version, 12 random bits, 2 bits
    variant, 30 random bits, and in the last 32 bits the route key. `random_bits` is used modulo
    2**42.
    """
    value = (unix_ms & 0xFFFFFFFFFFFF) << 80
    value |= 0x8 << 76
    value |= ((random_bits >> 30) & 0xFFF) << 64
    value |= 0b10 << 62
    value |= (random_bits & 0x3FFFFFFF) << 32
    value |= int(route, 16)
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def route_of(execution_id: str) -> str:
    """The route key that an execution id carries: its last eight hex digits."""
    return execution_id[-8:].lower()


def minted_ms(execution_id: str) -> int:
    """The Unix milliseconds in an execution id; for an id that a client proposed, its word."""
    return int(execution_id.replace("-", "")[:12], 16)


def is_execution_id(text: str) -> bool:
    """Whether `text` is a UUIDv8 in canonical form."""
    return _EXECUTION_ID.fullmatch(text) is not None


def attempt_id(execution_id: str, step: str, attempt: int) -> str:
    """The id of one attempt, derived, so that a redelivery means an equal id."""
    return f"{execution_id}:{step}:{attempt}"


def event_id(execution_id: str, seq: int) -> str:
    """The id of one event: unique and the same however often it is produced."""
    return f"{execution_id}:{seq}"


def default_idempotency_key(plan: dict[str, Any], tenant: str, actor: str) -> str:
    """The idempotency key of a request that brings none, by the reference recipe.

    `sha256("<canonical plan>:<tenant>:<actor>")`, where the canonical plan is the JSON text with
    sorted keys, no spaces, ASCII only, and `targets` sorted; the caller's plan is left as it is.
    """
    targets = plan.get("targets")
    if isinstance(targets, list) and targets:
        if all(isinstance(target, str) for target in targets):
            plan = {**plan, "targets": sorted(targets)}
        elif all(isinstance(target, dict) for target in targets):
            plan = {**plan, "targets": sorted(targets, key=lambda target: str(target.get("id", 0)))}
    canonical = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{canonical}:{tenant}:{actor}".encode()).hexdigest()
