"""One partition of schedules without Kafka: signed commands in, requests out, a clock to move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Message

from authority.keys import KeyUse, PrivateKey
from authority.policy import Policy
from authority.policy_file import parse
from authority.tokens import sign
from authority.verifier import Window
from processors.command_authority import CommandAuthority
from processors.router.signed_output import SignedOutput
from processors.schedules.partition import SchedulesPartition
from processors.schedules.state import ScheduleState
from runtime.kafka.hosted import Fault
from streams.envelope import SIGNATURE, Headers
from streams.topics import SCHEDULE_COMMANDS
from tests.unit.authority.keyring import CLUSTER, ROUTER, verifier
from tests.unit.router.simulation import Captured
from toolmeta import registry

OPS = PrivateKey.generate(KeyUse(role="actor", tenant="default", actor="ops"))
ANN = PrivateKey.generate(KeyUse(role="actor", tenant="default", actor="ann"))
#: Of a tenant to which the built-in policy gives nothing.
OTHER = PrivateKey.generate(KeyUse(role="actor", tenant="acme", actor="ops"))
ROOT = Path(__file__).parents[3]


@cache
def built_in_policy() -> Policy:
    text = (ROOT / "authority" / "default_policy.yaml").read_text()
    return parse(text, registry.load())


def unix(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Lab:
    """Routers come and go; the changelog and what was produced stay."""

    def __init__(self, folder: Path, now: str, **options: Any) -> None:
        self.now = unix(now)
        self.verifier = verifier(folder, OPS, ANN, OTHER, ROUTER)
        self.policy = built_in_policy()
        self.options = options
        self.changelog: dict[bytes, bytes] = {}
        self.requests: list[dict[str, Any]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.commands = 0
        self._bits = 0
        self.partition = self._fresh()

    def _fresh(self) -> SchedulesPartition:
        self.out = Captured()
        self.signed = SignedOutput(self._tokens)
        made = SchedulesPartition(
            0,
            1,
            CommandAuthority(
                self.verifier, Window.within(86_400), lambda: self.policy, **self.options
            ),
            self.signed.add,
            self._random,
        )
        for key, value in self.changelog.items():
            made.restore(key, value)
        made.restored(self.now)
        return made

    def _random(self) -> int:
        self._bits += 1
        return self._bits

    def _tokens(self, topic: str, values: Sequence[bytes]) -> list[bytes]:
        return [sign(ROUTER, topic, CLUSTER, value, self.now) for value in values]

    def restart(self, *, committed: bool = True) -> None:
        """Another process takes over; what was not committed never was."""
        if committed:
            self.commit()
        self.partition = self._fresh()

    def commit(self) -> None:
        """End the transaction: its records are what others read."""
        self.partition.flush(self.out)
        self.signed.flush(self.out)
        for name, key, value, _ in self.out.records:
            if name == "schedules.state":
                assert key is not None
                if value is None:
                    self.changelog.pop(key, None)
                else:
                    self.changelog[key] = value
            elif name == "execution.requests":
                self.requests.append(orjson.loads(value or b""))
            else:
                self.sent.append((name, orjson.loads(value or b"")))
        self.out.records.clear()

    def send(
        self,
        kind: str,
        name: str = "nightly",
        key: PrivateKey | None = OPS,
        *,
        tenant: str = "default",
        record_key: str | None = None,
        raw: bytes | None = None,
        signed_at: float | None = None,
        **fields: Any,
    ) -> Fault | None:
        """Send a command, signed now, and commit; returns why it was refused."""
        actor = "anonymous" if key is None else key.use.actor
        command = {"type": kind, "tenant": tenant, "name": name, "actor": actor, **fields}
        if kind == "ended":
            del command["actor"]
        value = orjson.dumps(command) if raw is None else raw
        self.commands += 1
        self.now = round(self.now + 0.001, 3)
        headers: Headers = [("ce_id", f"c{self.commands}".encode())]
        if key is not None:
            at = self.now if signed_at is None else signed_at
            headers.append((SIGNATURE, sign(key, SCHEDULE_COMMANDS.name, CLUSTER, value, at)))
        return self.deliver(value, record_key or f"{tenant}/{name}", headers)

    def deliver(self, value: bytes | None, key: str, headers: Headers) -> Fault | None:
        given: Any = headers
        message = Message(
            topic=SCHEDULE_COMMANDS.name, partition=0, offset=1, key=key.encode(), value=value,
            headers=given, timestamp=(1, 1),
        )  # fmt: skip
        found = self.partition.handle(message, self.now, self.out)
        self.commit()
        return found

    def apply(self, name: str = "nightly", **fields: Any) -> None:
        """Apply a schedule of the procedure `work`; it must be taken."""
        assert self.offer(name, **fields) is None

    def offer(self, name: str = "nightly", key: PrivateKey | None = OPS, **fields: Any) -> Any:
        tenant = fields.pop("tenant", "default")
        schedule = {"name": name, "procedure": "work", **fields}
        return self.send("apply", name, key, tenant=tenant, schedule=schedule)

    def end(self, request: dict[str, Any], status: str = "completed", **fields: Any) -> None:
        """The router says that an execution has ended."""
        started = request["started_by"]
        fault = self.send(
            "ended", started["name"], ROUTER, tenant=request["tenant"],
            execution_id=request["execution_id"], cause=started["cause"], status=status, **fields,
        )  # fmt: skip
        assert fault is None, fault

    def tick(self) -> int:
        """Run all timers that are due, a transaction each; returns how many there were."""
        ticks = 0
        while (due := self.partition.next_deadline()) is not None and due <= self.now:
            self.partition.tick(self.now, self.out)
            self.commit()
            ticks += 1
            assert ticks < 10_000, "a timer that is always due"
        return ticks

    def pass_to(self, moment: str, *, ending: bool = False) -> list[str]:
        """Let time go on to this moment, timer by timer; returns the causes of new requests.

        With `ending` each execution has ended before the next timer.
        """
        before = len(self.requests)
        until = unix(moment)
        told = before
        while (due := self.partition.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.tick()
            while ending and told < len(self.requests):
                self.end(self.requests[told])
                told += 1
        self.now = max(self.now, until)
        return self.causes(before)

    def leap(self, moment: str) -> list[str]:
        """Nothing runs until this moment; then all timers. Returns the causes of new requests."""
        before = len(self.requests)
        self.now = unix(moment)
        self.restart()
        self.tick()
        return self.causes(before)

    def causes(self, since: int = 0) -> list[str]:
        return [request["started_by"]["cause"] for request in self.requests[since:]]

    def state(self, name: str = "nightly", tenant: str = "default") -> ScheduleState:
        return self.partition.schedules[f"{tenant}/{name}"].state

    def outcomes(self, name: str = "nightly") -> list[tuple[str, str]]:
        return [(iso(one.moment), one.outcome) for one in self.state(name).history]
