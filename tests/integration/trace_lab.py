"""What the tests of traces share: a whole system that reports to a real Jaeger, and its answers."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Seen:
    """A span as Jaeger shows it."""

    name: str
    ident: str
    parent: str | None
    service: str
    kind: str
    start_us: int
    end_us: int
    tags: dict[str, Any]
    #: The trace and span that it is linked to.
    links: frozenset[tuple[str, str]]


class Jaeger:
    """Asks a Jaeger for what it was told."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str) -> Any:
        """The data of an answer; nothing where it knows no such trace."""
        try:
            with urllib.request.urlopen(f"{self._url}{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise

    def raw(self, trace_id: str) -> str:
        """Everything that it has of a trace, as text."""
        return json.dumps(self.get(f"/api/traces/{trace_id}?raw=true"))

    def trace(self, trace_id: str) -> list[Seen]:
        """The spans of a trace, those that came twice twice: nothing is put right in them."""
        return [
            _seen(span, trace["processes"])
            for trace in self.get(f"/api/traces/{trace_id}?raw=true")
            for span in trace["spans"]
        ]

    def wait(self, trace_id: str, names: set[str], count: int = 0) -> list[Seen]:
        """The trace once it has so many spans, and some of all these names."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            found = self.trace(trace_id)
            lacking = names - {span.name for span in found}
            if not lacking and len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{sorted(lacking)} or some lack: {_shown(found)}"
            time.sleep(0.2)

    def of_service(self, service: str, operation: str) -> list[Seen]:
        """The spans of a service with this name, from all traces."""
        query = f"/api/traces?service={service}&limit=500&lookback=1h"
        return [
            span
            for trace in self.get(query)
            for span in (_seen(one, trace["processes"]) for one in trace["spans"])
            if (span.service, span.name) == (service, operation)
        ]


def _seen(span: dict[str, Any], processes: dict[str, Any]) -> Seen:
    tags = {tag["key"]: tag["value"] for tag in span["tags"]}
    above = [one["spanID"] for one in span["references"] if one["refType"] == "CHILD_OF"]
    beside = [one for one in span["references"] if one["refType"] == "FOLLOWS_FROM"]
    return Seen(
        span["operationName"],
        span["spanID"],
        above[0] if above else None,
        processes[span["processID"]]["serviceName"],
        tags.get("span.kind", "internal"),
        span["startTime"],
        span["startTime"] + span["duration"],
        tags,
        frozenset((one["traceID"], one["spanID"]) for one in beside),
    )


def _shown(found: list[Seen]) -> list[tuple[str, Any, Any]]:
    return [
        (span.name, span.tags.get("runstream.step"), span.tags.get("runstream.attempt"))
        for span in found
    ]


def tree(found: list[Seen]) -> dict[str, list[Seen]]:
    """The spans below each; fails where one came twice or where its parent is not there.

    The key of the first span is the empty text.
    """
    idents = [span.ident for span in found]
    assert len(set(idents)) == len(idents), _shown(found)
    below: dict[str, list[Seen]] = {}
    for span in sorted(found, key=lambda span: span.start_us):
        known = span.parent if span.parent in idents else ""
        below.setdefault(known or "", []).append(span)
    assert len(below[""]) == 1, f"not one tree: {_shown(below[''])}"
    return below
