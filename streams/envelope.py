"""The envelope: CloudEvents 1.0 attributes as Kafka headers (binary content mode).

Every header key occurs once and every value is UTF-8. What a foreign producer puts in headers is
hostile until proven otherwise, so reading never raises.
Source: CloudEvents Kafka protocol binding 1.0.2, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

Headers = list[tuple[str, bytes]]

_JSON: Final = b"application/json"
_SPEC: Final = b"1.0"

#: Marks a record that the router sent on to its right partition, so that it does so only once.
FORWARDED: Final = "runstream-forwarded"
#: A signature over the value, as a compact JWS; see docs/signatures.md.
SIGNATURE: Final = "runstream-signature"
#: How often a dead letter was redriven.
HOPS: Final = "runstream-hops"


def headers(
    *,
    ident: str,
    kind: str,
    source: str,
    time: str,
    subject: str,
    traceparent: bytes | None = None,
) -> Headers:
    """The headers of one message; `kind` is the type without `runstream.` and version."""
    result: Headers = [
        ("ce_id", ident.encode()),
        ("ce_type", f"runstream.{kind}.v1".encode()),
        ("ce_source", source.encode()),
        ("ce_specversion", _SPEC),
        ("ce_time", time.encode()),
        ("ce_subject", subject.encode()),
        ("content-type", _JSON),
    ]
    if traceparent is not None:
        result.append(("traceparent", traceparent))
    return result


def header(given: Sequence[tuple[str, bytes | str | None]] | None, name: str) -> str | None:
    """The last value of header `name` as text, or None where it is absent or not UTF-8."""
    for key, value in reversed(given or ()):
        if key == name and value is not None:
            try:
                return value if isinstance(value, str) else value.decode()
            except UnicodeDecodeError:
                return None
    return None


class _Message(Protocol):
    def headers(self) -> Any: ...


def message_headers(message: _Message) -> list[tuple[str, Any]]:
    """The headers of a record; none where a key is not text: hostile, and not needed."""
    try:
        found: list[tuple[str, Any]] = message.headers() or []
    except (UnicodeDecodeError, ValueError):
        return []
    return found


def major_version(kind: str | None) -> int | None:
    """The major version at the end of a `ce_type`, or None where there is none."""
    match = re.search(r"\.v(\d{1,4})$", kind or "")
    return int(match.group(1)) if match else None
