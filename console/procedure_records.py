"""Procedures on the cluster: reading them from their topic, and putting them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from streams.procedures import ProcedureRecord, digest_of, record_key
from streams.topics import PROCEDURES

if TYPE_CHECKING:
    from authority.keys import PrivateKey
    from runtime.settings import CommonSettings


@dataclass(frozen=True, slots=True)
class Applied:
    """A procedure as it was applied last."""

    record: ProcedureRecord
    #: Whether its record is signed at all; routers decide whether the signature counts.
    signed: bool

    @property
    def plan(self) -> dict[str, Any]:
        """The plan with its inputs."""
        return self.record.plan or {}

    @property
    def digest(self) -> str:
        """The digest that is recorded when it runs."""
        return digest_of(self.plan)


def read(settings: CommonSettings, tenant: str) -> dict[str, Applied]:
    """The procedures of a tenant by name, removed ones left out; raises Failure."""
    from confluent_kafka import KafkaException
    from pydantic import ValidationError

    from console import broker, terminal
    from runtime.kafka import clients
    from runtime.kafka.restore import read_to_end
    from streams.envelope import SIGNATURE, header, message_headers

    broker.partitions(settings, PROCEDURES)
    topic = clients.topic_name(settings, PROCEDURES)
    found: dict[str, Applied] = {}
    unreadable: dict[str, None] = {}
    try:
        for message in read_to_end(settings, topic, [0]):
            key = (message.key() or b"").decode(errors="replace")
            found.pop(key, None)
            unreadable.pop(key, None)
            value = message.value()
            if value is None or not key.startswith(record_key(tenant, "")):
                continue
            try:
                record = ProcedureRecord.model_validate_json(value)
            except ValidationError:
                unreadable[key] = None
                continue
            if record.plan is not None and record_key(record.tenant, record.name) == key:
                signed = header(message_headers(message), SIGNATURE) is not None
                found[key] = Applied(record, signed)
    except KafkaException as error:
        raise broker.refused(settings, topic, error) from None
    for key in unreadable:
        terminal.say(f"the record {key[:200]!r} of {topic} cannot be read", "yellow")
    return {applied.record.name: applied for _, applied in sorted(found.items())}


def put(settings: CommonSettings, record: ProcedureRecord, key: PrivateKey | None) -> None:
    """Put one procedure on the topic; the broker has it when this returns. Raises Failure."""
    from console import broker
    from runtime.clock import iso, now
    from streams.envelope import headers

    name = record_key(record.tenant, record.name)
    head = headers(
        ident=f"{name}@{record.version}",
        kind="procedure",
        source="cli",
        time=iso(now()),
        subject=name,
    )
    value = orjson.dumps(record.model_dump())
    broker.send(settings, PROCEDURES, key=name, value=value, headers=head, sign_with=key)
