"""Requests of procedures: what runs, what is recorded, and everything that is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from authority.identity import Forged, Signer
from processors.router.procedures import Library
from streams.procedures import digest_of
from tests.unit.router.simulation import OPEN_POLICY, Simulation

ROOT = Path(__file__).parents[3]
Json = dict[str, Any]

PLAN: Json = {
    "name": "check-disk",
    "version": 1,
    "inputs": {"host": {"type": "string"}, "path": {"default": "/"}},
    "steps": [
        {"tool": "df", "parameters": {"host": "{{ inputs.host }}", "path": "{{ inputs.path }}"}}
    ],
}  # fmt: skip
SIGNED = "signed by ops"


def signed_by_ops(value: bytes, token: str | None, now: float) -> Signer | Forged | None:
    if token is None:
        return None
    return Signer("key of ops", "default", "ops", 1) if token == SIGNED else Forged("not by ops")


class Shelf:
    """A router, and a topic of procedures on which tests put what they like."""

    def __init__(self, **options: Any) -> None:
        self.library = Library(signed_by_ops)
        self.router = Simulation(procedures=self.library, **options)

    def apply(
        self,
        plan: Json | None = PLAN,
        version: str = "1",
        *,
        token: str | None = SIGNED,
        key: str = "default/check-disk",
        **fields: Any,
    ) -> str | None:
        record = {"tenant": "default", "name": "check-disk", "version": version, "actor": "ops",
                  "plan": plan, **fields}  # fmt: skip
        return self.library.put(key.encode(), orjson.dumps(record), token)

    def ask(self, name: str = "check-disk", **fields: Any) -> Json:
        request = {"procedure": name, "inputs": {"host": "web-01"}, "actor": "ann", **fields}
        return self.router.submit(request)[0]


def refusal(event: Json) -> tuple[str, str, str]:
    assert event["type"] == "execution.rejected", event
    (problem,) = event["data"]["problems"]
    return event["data"]["reason"], problem["field"], problem["message"]


def test_a_procedure_runs_and_its_version_is_recorded() -> None:
    shelf = Shelf()
    assert shelf.apply() is None
    event = shelf.ask(idempotency_key="k")
    assert event["type"] == "execution.accepted"
    assert event["data"]["name"] == "check-disk"
    told = event["data"]["procedure"]
    assert (told["name"], told["version"], told["digest"]) == ("check-disk", "1", digest_of(PLAN))
    assert shelf.router.commands[0]["parameters"] == {"host": "web-01", "path": "/"}


def test_the_newest_version_runs_and_only_the_one_that_is_asked_for() -> None:
    shelf = Shelf()
    shelf.apply()
    shelf.apply({**PLAN, "version": 2}, "2")
    assert shelf.ask(idempotency_key="a")["data"]["procedure"]["version"] == "2"
    assert shelf.ask(idempotency_key="b", version=2)["data"]["procedure"]["version"] == "2"
    reason, field, message = refusal(shelf.ask(idempotency_key="c", version="1"))
    assert (reason, field) == ("invalid", "version")
    assert message == (
        "check-disk is applied in version 2, and 1 was asked for: ask for the one that is there, "
        "or for none"
    )


def test_a_procedure_that_is_not_there() -> None:
    shelf = Shelf()
    shelf.apply()
    _, field, message = refusal(shelf.ask("chek-disk"))
    assert (field, message) == (
        "procedure", "there is no procedure 'chek-disk'; did you mean check-disk?",
    )  # fmt: skip
    assert "procedures list" in refusal(shelf.ask("something-else"))[2]
    # Of another tenant there is nothing to be seen, not even a name.
    assert "did you mean" not in refusal(shelf.ask("chek-disk", tenant="other"))[2]
    assert shelf.router.commands == []


@pytest.mark.parametrize("removed", ["record", "tombstone"])
def test_what_was_removed_is_not_there(removed: str) -> None:
    shelf = Shelf()
    shelf.apply()
    if removed == "record":
        shelf.apply(None)
    else:
        shelf.library.put(b"default/check-disk", None, None)
    assert "there is no procedure" in refusal(shelf.ask())[2]
    assert shelf.library.names("default") == []


def test_bad_inputs_are_refused_and_nothing_runs() -> None:
    shelf = Shelf()
    shelf.apply()
    assert refusal(shelf.ask(inputs={"hots": "a", "host": "b"})) == (
        "invalid", "inputs.hots", "there is no input 'hots'; did you mean host?",
    )  # fmt: skip
    assert refusal(shelf.ask(inputs={}))[1] == "inputs.host"
    both = shelf.router.submit({"procedure": "check-disk", "steps": [{"tool": "noop"}]})
    assert "leave one of the two out" in refusal(both[0])[2]
    wrong = shelf.router.submit({"procedure": "Check Disk"})
    assert refusal(wrong[0])[1] == "procedure"
    assert refusal(shelf.ask(version=1.1))[1] == "version"
    assert shelf.router.commands == []


SEND: list[tuple[str, Json, str]] = [
    ("the same again", {}, "execution.duplicate"),
    ("with the version that ran", {"version": "1"}, "execution.duplicate"),
    ("with another version", {"version": "2"}, "execution.rejected"),
    ("with other inputs", {"inputs": {"host": "web-02"}}, "execution.rejected"),
]


@pytest.mark.parametrize(("fields", "outcome"), [one[1:] for one in SEND], ids=[o[0] for o in SEND])
@pytest.mark.parametrize("between", ["nothing", "changed", "removed", "restarted"])
def test_a_key_runs_once_whatever_becomes_of_the_procedure(
    between: str, fields: Json, outcome: str
) -> None:
    """What is sent again is the same request: a producer that repeats gets the first answer."""
    shelf = Shelf()
    shelf.apply()
    first = shelf.ask(idempotency_key="k")
    if between == "changed":
        shelf.apply({**PLAN, "version": 2, "steps": [{"tool": "noop"}]}, "2")
    elif between == "removed":
        shelf.apply(None)
    elif between == "restarted":
        command = shelf.router.commands[0]
        shelf.router.report("started", command)
        shelf.router.report("succeeded", command, output={"use_percent": 1})
        shelf.router.restart()
    again = shelf.ask(idempotency_key="k", **fields)
    assert again["type"] == outcome, again
    if outcome == "execution.duplicate":
        assert again["execution_id"] == first["execution_id"]
    assert len(shelf.router.commands) == 1


def test_a_plan_that_comes_to_the_same_is_a_duplicate() -> None:
    shelf = Shelf()
    shelf.apply()
    assert shelf.ask(idempotency_key="k")["type"] == "execution.accepted"
    inputs = {"host": "web-01", "path": "/"}
    assert shelf.ask(idempotency_key="k", inputs=inputs)["type"] == "execution.duplicate"


def test_a_failed_one_may_run_again_and_then_runs_the_new_version() -> None:
    shelf = Shelf()
    shelf.apply()
    shelf.ask(idempotency_key="k")
    command = shelf.router.commands[0]
    shelf.router.report("started", command)
    error = {"class": "test", "message": "no", "transient": False}
    shelf.router.report("failed", command, error=error)
    shelf.apply({**PLAN, "version": 2}, "2")
    again = shelf.ask(idempotency_key="k")
    assert again["data"]["procedure"]["version"] == "2"


def unsigned(shelf: Shelf) -> None:
    shelf.apply(token=None)


def forged(shelf: Shelf) -> None:
    shelf.apply(token="somebody else's")


def of_another_actor(shelf: Shelf) -> None:
    shelf.apply(actor="root")


def of_another_tenant(shelf: Shelf) -> None:
    shelf.apply(tenant="other", key="other/check-disk")


@pytest.mark.parametrize("wrong", [unsigned, forged, of_another_actor, of_another_tenant])
def test_a_record_that_is_not_authentic_runs_nothing(wrong: Callable[[Shelf], None]) -> None:
    shelf = Shelf(require_signatures=True)
    # The record before it was good: the topic forgets it, so no router may go by it.
    shelf.apply()
    wrong(shelf)
    tenant = "other" if wrong is of_another_tenant else "default"
    events = shelf.router.submit(
        {"procedure": "check-disk", "inputs": {"host": "web-01"}, "actor": "ann", "tenant": tenant}
    )
    reason, field, message = refusal(events[0])
    assert (reason, field) == ("forbidden", "procedure")
    assert "does not count" in message and "apply it --again" in message
    audit = next(event["data"] for event in events if event["type"] == "audit.decision")
    assert (audit["action"], audit["allowed"], audit["resource"]) == (
        "apply", False, "procedure/check-disk",
    )  # fmt: skip
    assert shelf.router.commands == []


POLICY = (
    OPEN_POLICY
    + """
  - {id: no-ops-in-prod, effect: deny, actors: [ops], environments: [prod], controls: [apply]}
"""
)


def test_the_policy_says_who_may_apply_and_where() -> None:
    shelf = Shelf(policy=POLICY)
    inputs = {**PLAN["inputs"], "environment": {"enum": ["dev", "prod"]}}
    shelf.apply({**PLAN, "inputs": inputs, "environment": "{{ inputs.environment }}"})
    asked = {"host": "web-01", "environment": "dev"}
    assert shelf.ask(inputs=asked)["type"] == "execution.accepted"
    reason, field, message = refusal(shelf.ask(inputs={**asked, "environment": "prod"}))
    assert (reason, field) == ("forbidden", "procedure")
    assert "no-ops-in-prod" in message


def test_the_built_in_policy_lets_nobody_apply_without_a_key() -> None:
    shelf = Shelf(policy=(ROOT / "authority" / "default_policy.yaml").read_text())
    shelf.apply(token=None)
    reason, _, message = refusal(shelf.ask())
    assert reason == "forbidden"
    assert "apply a procedure" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"default/check-disk", b"not json"),
        (b"default/check-disk", b"[]"),
        (b"default/check-disk", b'{"tenant":"default","name":"other","version":"1"}'),
        (b"default/check-disk", b'{"tenant":"default","name":"check-disk"}'),
        (b"default/check-disk", b"x" * 600_000),
        (b"\xff", b"{}"),
        (None, b"{}"),
    ],
)
def test_a_record_that_cannot_be_read_stops_nobody(key: bytes | None, value: bytes) -> None:
    shelf = Shelf()
    shelf.apply()
    assert shelf.library.put(key, value, None) is not None
    event = shelf.ask()
    if key == b"default/check-disk":
        assert "cannot be read" in refusal(event)[2]
        shelf.apply()
    assert shelf.ask(idempotency_key="again")["type"] == "execution.accepted"


def test_all_procedures_together_are_bounded() -> None:
    library = Library(signed_by_ops, most_bytes=1_000)
    good = orjson.dumps({"tenant": "t", "name": "a", "version": "1", "plan": {"x": "y" * 800}})
    assert library.put(b"t/a", good, None) is None
    assert library.put(b"t/b", good.replace(b'"a"', b'"b"'), None) is not None
    assert library.names("t") == ["a"]
    # The same one again is no more than before.
    assert library.put(b"t/a", good, None) is None


def test_an_explanation_runs_nothing() -> None:
    shelf = Shelf()
    shelf.apply()
    event = shelf.ask(explain=True)
    assert event["type"] == "execution.explained"
    assert event["data"]["answer"] == "accepted"
    assert shelf.ask("chek-disk", explain=True)["data"]["answer"] == "rejected"
    assert shelf.router.commands == []
