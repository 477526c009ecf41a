"""What a claim decides about one command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from drivers.registry import Drivers
from processors.executors.approved import approval_check
from processors.executors.binding import binder
from processors.executors.claim import (
    Arrival,
    Decision,
    Forged,
    Refuse,
    Skip,
    Start,
    Unreadable,
    decide,
)
from processors.executors.fencing import Fences
from streams.commands import CancelStep, StepCommand
from toolmeta.invocation import Invocation, Problem
from toolmeta.registry import load

EXECUTION = "01989c2a-7c00-8abc-9def-0123456789ab"
NOW = datetime(2026, 11, 20, 7, 0, tzinfo=UTC).timestamp()
FINE = Invocation(tool="noop", driver="test")


def command(**changed: Any) -> dict[str, Any]:
    return {
        "execution_id": EXECUTION,
        "step": "one",
        "attempt": 2,
        "tool": "noop",
        "domain": "test",
        "parameters": {},
        "tenant": "acme",
        "actor": "ci",
        "environment": "dev",
        "timeout_seconds": 5,
        "lease_seconds": 30,
        "dispatched_at": "2026-11-20T06:59:00Z",
        "expires_at": "2026-11-20T07:01:00Z",
        **changed,
    }


def decided(value: bytes | None, version: int | None = 1, **given: Any) -> Decision:
    cancelled: dict[str, CancelStep] = given.get("cancelled", {})
    claimed: set[str] = given.get("claimed", set())
    found: Invocation | list[Problem] = given.get("found", FINE)
    return decide(
        value,
        version,
        given.get("arrival", Arrival(given.get("now", NOW))),
        given.get("environment", "dev"),
        cancelled.get,
        claimed.__contains__,
        lambda command: found,
        lambda command: given.get("refusal"),
        given.get("unapproved", lambda command: None),
        given.get("fences", Fences()).check,
    )


def test_a_command_that_is_not_the_router_s_is_never_followed() -> None:
    got = decided(orjson.dumps(command()), refusal="it is not signed")
    assert isinstance(got, Forged) and got.message == "it is not signed"
    # Before anything else is decided about it: an answer would be about the genuine one.
    late = decided(orjson.dumps(command()), now=NOW + 600, refusal="a copy")
    assert isinstance(late, Forged)


def test_a_good_command_starts() -> None:
    got = decided(orjson.dumps(command()))
    assert isinstance(got, Start)
    assert got.attempt_id == f"{EXECUTION}:one:2" and got.invocation is FINE


@pytest.mark.parametrize("seconds, kind", [(59.9, Start), (60.0, Refuse), (90_000.0, Refuse)])
def test_an_expired_command_is_refused(seconds: float, kind: type) -> None:
    got = decided(orjson.dumps(command()), now=NOW + seconds)
    assert type(got) is kind
    assert not isinstance(got, Refuse) or got.reason == "expired"


#: Valid for 120 s from the moment at which the broker appended it.
APPENDED = NOW - 60


@pytest.mark.parametrize("ahead", [-3_600.0, 0.0, 3_600.0])
@pytest.mark.parametrize("router", [-3_600.0, 0.0, 3_600.0])
@pytest.mark.parametrize("waited, kind", [(0.0, Start), (119.9, Start), (120.0, Refuse)])
def test_expiry_does_not_depend_on_the_clocks_of_router_and_executor(
    ahead: float, router: float, waited: float, kind: type
) -> None:
    sent = APPENDED + router
    dispatched, expires = (
        datetime.fromtimestamp(at, UTC).isoformat() for at in (sent, sent + 120.0)
    )
    got = decided(
        orjson.dumps(command(dispatched_at=dispatched, expires_at=expires)),
        arrival=Arrival(APPENDED + waited + ahead, ahead, APPENDED),
    )
    assert type(got) is kind
    if isinstance(got, Refuse):
        said = {-3_600.0: "3600.0 s behind", 0.0: "claim.", 3_600.0: "3600.0 s ahead"}
        assert got.reason == "expired" and said[ahead] in got.message


def test_a_copy_of_an_older_command_expires_by_what_it_says() -> None:
    got = decided(orjson.dumps(command()), arrival=Arrival(NOW + 7_260, 3_600.0, None))
    assert isinstance(got, Refuse) and "3600.0 s before" in got.message


def test_a_cancelled_attempt_is_refused_and_another_attempt_is_not() -> None:
    cancel = CancelStep(
        execution_id=EXECUTION, step="one", attempt=2, reason="timed_out", at=datetime.now(UTC)
    )
    got = decided(orjson.dumps(command()), cancelled={f"{EXECUTION}:one:2": cancel})
    assert isinstance(got, Refuse) and got.reason == "cancelled" and "timed_out" in got.message
    other = decided(orjson.dumps(command()), cancelled={f"{EXECUTION}:one:1": cancel})
    assert isinstance(other, Start)


@pytest.mark.parametrize("served", ["dev", "staging", "prod"])
@pytest.mark.parametrize("planned", ["dev", "staging", "prod"])
def test_an_executor_starts_steps_of_its_own_environment_only(planned: Any, served: Any) -> None:
    got = decided(orjson.dumps(command(environment=planned)), environment=served)
    if planned == served:
        assert isinstance(got, Start)
        return
    assert isinstance(got, Refuse) and got.reason == "environment"
    assert f"environment is {planned}" in got.message and f"serves {served}" in got.message
    lower = (planned, served) in {("dev", "staging"), ("dev", "prod"), ("staging", "prod")}
    # The remedy is a plan that waits for the approvals of the stricter one, never a lower word.
    assert (f"`environment: {served}`" in got.message) is lower
    assert (f"Runstream of {planned}" in got.message) is not lower


def test_a_step_of_another_environment_is_not_bound() -> None:
    """Binding resolves secrets: a refused step must not reach them."""
    touched: list[StepCommand] = []

    def bind(command: StepCommand) -> Invocation:
        touched.append(command)
        return FINE

    value = orjson.dumps(command(environment="dev"))
    got = decide(
        value, 1, Arrival(NOW), "prod", lambda _: None, lambda _: False, bind, lambda _: None,
        lambda _: None,
    )  # fmt: skip
    assert isinstance(got, Refuse) and not touched


def test_what_cannot_be_bound_is_refused_with_every_field() -> None:
    problems = [Problem("host", "is missing"), Problem("path", "is not absolute")]
    got = decided(orjson.dumps(command()), found=problems)
    assert isinstance(got, Refuse) and got.reason == "invalid"
    assert got.message == "host: is missing; path: is not absolute"


def test_the_same_attempt_twice_passes() -> None:
    assert isinstance(decided(orjson.dumps(command()), claimed={f"{EXECUTION}:one:2"}), Skip)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00\x00\x00\x00\x07avro",
        b"[" * 100_000,
        b"null",
        "{}".encode("utf-16"),
        orjson.dumps(command(execution_id="short")),
        orjson.dumps(command(execution_id=EXECUTION.upper())),
        orjson.dumps(command(attempt=0)),
        orjson.dumps(command())[:-1],
        orjson.dumps(command()).replace(b'"timeout_seconds":5', b'"timeout_seconds":NaN'),
        orjson.dumps(command()).replace(b'"attempt":2', b'"attempt":' + b"9" * 5_000),
    ],
)
def test_poison_is_unreadable(value: bytes | None) -> None:
    got = decided(value)
    assert isinstance(got, Unreadable) and got.error_class == "not_a_command"


def test_the_reason_of_an_unreadable_record_holds_none_of_its_values() -> None:
    got = decided(orjson.dumps(command(timeout_seconds="hunter2", attempt="hunter2")))
    assert isinstance(got, Unreadable)
    assert "hunter2" not in got.message and "timeout_seconds" in got.message


def test_another_major_version_is_unreadable_and_unknown_fields_are_not() -> None:
    got = decided(orjson.dumps(command()), version=2)
    assert isinstance(got, Unreadable) and got.error_class == "unknown_version"
    assert isinstance(decided(orjson.dumps(command(newer=1)), version=None), Start)


def test_the_catalogue_and_the_drivers_decide_what_binds() -> None:
    lacking = Drivers(
        {"test": ("drivers.testing", "TestDriver"), "command": ("drivers.is_not_there", "Driver")}
    )
    bind = binder(load(), lacking)

    def bound(**changed: Any) -> Any:
        return bind(StepCommand.model_validate_json(orjson.dumps(command(**changed))))

    assert isinstance(bound(), Invocation)
    for wrong in (
        {"tool": "nothing_like_it"},
        {"tool": "sleep", "parameters": {"seconds": "soon"}},
        {"tool": "curl"},
    ):
        assert isinstance(bound(**wrong), list)
    (problem,) = bound(tool="df", parameters={})
    assert "the driver command cannot be loaded: ModuleNotFoundError" in problem.message


def test_a_command_whose_lock_has_gone_to_somebody_else_is_refused() -> None:
    fences = Fences()
    for token, kind in ((5, Start), (5, Start), (7, Start), (6, Refuse), (7, Start)):
        got = decided(orjson.dumps(command(fencing_tokens={"web-01": token})), fences=fences)
        assert type(got) is kind
        if isinstance(got, Refuse):
            assert got.reason == "fenced"
            assert "web-01" in got.message and "7" in got.message


def test_tokens_of_other_assets_and_tenants_say_nothing() -> None:
    fences = Fences()
    for tenant, asset, token in (("a", "web-01", 9), ("b", "web-01", 3), ("a", "db-01", 1)):
        value = command(tenant=tenant, fencing_tokens={asset: token})
        assert isinstance(decided(orjson.dumps(value), fences=fences), Start)


def test_the_tokens_that_are_remembered_are_bounded() -> None:
    fences = Fences()
    for number in range(20_050):
        given = command(fencing_tokens={f"host-{number}": 2})
        assert fences.check(StepCommand.model_validate(given)) is None
    old = StepCommand.model_validate(command(fencing_tokens={"host-0": 1}))
    new = StepCommand.model_validate(command(fencing_tokens={"host-20049": 1}))
    assert fences.check(old) is None
    assert fences.check(new) is not None


CATALOGUE = load()
UNAPPROVED = approval_check(CATALOGUE)
PLAN = "3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855e"


def approved(name: str = "change", **changed: Any) -> dict[str, Any]:
    """What the command of an approved plan carries."""
    tool = CATALOGUE.get(name)
    assert tool is not None
    approval = {"level": 1, "by": ["ann"], "definition": tool.digest, **changed}
    return {"tool": name, "plan_hash": PLAN, "approval": approval}


def claimed(environment: str = "prod", **changed: Any) -> Decision:
    value = orjson.dumps(command(environment=environment, **changed))
    return decided(value, environment=environment, unapproved=UNAPPROVED)


@pytest.mark.parametrize(
    "environment, kind", [("dev", Start), ("staging", Start), ("prod", Refuse)]
)
def test_a_call_that_needs_an_approval_does_not_start_without_one(
    environment: str, kind: type
) -> None:
    got = claimed(environment, tool="change")
    assert type(got) is kind
    if isinstance(got, Refuse):
        assert got.reason == "not_approved"
        assert "change needs an approval in prod" in got.message
    assert isinstance(claimed(environment, **approved()), Start)


def test_what_the_rendered_parameters_do_decides_whether_an_approval_is_needed() -> None:
    for action, kind in (("status", Start), ("restart", Refuse), ("no-such-action", Refuse)):
        parameters = {"action": action, "unit": "nginx", "host": "web-01"}
        assert type(claimed(tool="systemctl", parameters=parameters)) is kind, action
        # The plan waited since the action was a template; it may do less than that.
        given = {**approved("systemctl"), "parameters": parameters}
        assert isinstance(claimed(**given), Start), action


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"level": 2}, "names 1 of the 2 people"),
        ({"level": 2, "by": ["ann", "Ann"]}, "names 1 of the 2 people"),
        ({"by": []}, "names 0 of the 1 people"),
        ({"by": ["CI"]}, "asked for it"),
        ({"definition": "0" * 32}, "definition of change"),
        ({"definition": None}, "definition of change"),
    ],
)
def test_an_approval_that_is_not_complete_does_not_count(
    changed: dict[str, Any], words: str
) -> None:
    # Wherever one is given: the plan may have needed it by its own word.
    for environment in ("prod", "dev"):
        got = claimed(environment, **approved(**changed))
        assert isinstance(got, Refuse) and got.reason == "not_approved"
        assert words in got.message and "again" in got.message


def test_an_approval_names_the_plan_that_was_approved() -> None:
    given = approved()
    del given["plan_hash"]
    got = claimed(**given)
    assert isinstance(got, Refuse) and "plan_hash" in got.message


def test_a_tool_that_nobody_knows_here_is_refused_by_its_name() -> None:
    problems = [Problem("tool", "this executor's catalogue has no tool of that name")]
    value = orjson.dumps(command(environment="prod", tool="of-a-newer-version"))
    got = decided(value, environment="prod", unapproved=UNAPPROVED, found=problems)
    assert isinstance(got, Refuse) and got.reason == "invalid"


def test_what_is_not_approved_is_neither_bound_nor_counts_for_its_locks() -> None:
    fences = Fences()
    value = orjson.dumps(command(environment="prod", tool="change", fencing_tokens={"web-01": 9}))
    got = decided(value, environment="prod", unapproved=UNAPPROVED, fences=fences)
    assert isinstance(got, Refuse) and got.reason == "not_approved"
    older = StepCommand.model_validate(command(fencing_tokens={"web-01": 1}))
    assert fences.check(older) is None
