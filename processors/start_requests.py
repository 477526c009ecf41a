"""The request by which a schedule or a trigger starts a procedure: an ordinary one, in its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from streams.envelope import Headers, headers
from streams.ids import partition_for, route_of
from streams.started import StartedBy
from streams.timestamps import iso
from streams.topics import REQUESTS, Topic


class SendSigned(Protocol):
    """Sends a record with the router's signature when the batch is over."""

    def __call__(
        self, topic: Topic, key: bytes, value: bytes, headers: Headers, partition: int
    ) -> None:
        """See processors/router/signed_output.py."""


class Runs(Protocol):
    """What a schedule or a trigger says about the procedure that it starts."""

    @property
    def procedure(self) -> str:
        """Its name."""

    @property
    def version(self) -> str | None:
        """Its version; any if None."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """Run a procedure on behalf of whoever applied what starts it."""

    tenant: str
    actor: str
    execution_id: str
    idempotency_key: str
    started_by: StartedBy


def request(
    send: SendSigned,
    start: StartRequest,
    runs: Runs,
    inputs: dict[str, Any] | None,
    now: float,
) -> None:
    """Send the request of a start to the partition of its execution."""
    told: dict[str, Any] = {
        "tenant": start.tenant,
        "actor": start.actor,
        "procedure": runs.procedure,
        "idempotency_key": start.idempotency_key,
        "execution_id": start.execution_id,
        "started_by": start.started_by,
    }
    if runs.version is not None:
        told["version"] = runs.version
    if inputs is not None:
        told["inputs"] = inputs
    ident = start.execution_id
    given = headers(
        ident=ident,
        kind="execution.request",
        source=f"runstream/{start.started_by.kind}s",
        time=iso(now),
        subject=ident,
    )
    route = route_of(ident).encode()
    send(REQUESTS, route, orjson.dumps(told), given, partition_for(route, REQUESTS.partitions))
