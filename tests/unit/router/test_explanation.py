"""What-if: what is told of a request is what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.executors.approved import approval_check
from processors.router.quotas import Quota
from streams.commands import StepCommand
from streams.locks import LOCK_COMMAND, Acquire
from streams.topics import LOCK_COMMANDS, Topic
from tests.unit.router.simulation import EverybodySigns, Simulation, kinds
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.locking import lock_key
from toolmeta.risk import approval_required

POLICY = """
version: 1
rules:
  - {id: web, effect: allow, actors: [ann], actions: [read, write], assets: ["web-*", localhost]}
  - {id: secrets, effect: allow, actors: [ann], secrets: ["env/MAIL_*"]}
  - {id: bobs, effect: allow, actors: [bob], actions: ["*"], secrets: ["*"]}
  - {id: nobody, effect: allow, actors: [anonymous], environments: [dev], actions: ["*"]}
  - {id: no-db, effect: deny, actors: [ann], assets: ["db-9*"], actions: ["*"]}
  - {id: asks, effect: allow, actors: [ann, bob, anonymous], controls: [explain]}
  - {id: approves, effect: allow, actors: [carol, dave, erin], controls: [approve]}
"""

HOSTS = st.sampled_from(
    ["web-01", "web-02", "db-01", "db-99", "LOCALHOST", "mail-1:22", "{{ item }}",
     "{{ steps.a.output.h }}"]
)  # fmt: skip
HOST = st.fixed_dictionaries({"host": HOSTS})
UNIT = st.fixed_dictionaries(
    {
        "host": HOSTS,
        "action": st.sampled_from(["status", "restart", "{{ item }}"]),
        "unit": st.just("nginx"),
    }
)


def calling(tool: str, parameters: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"tool": st.just(tool), "parameters": parameters})


CALLS = st.one_of(
    calling("df", HOST), calling("systemctl", UNIT), calling("change", HOST),
    calling("noop", st.just({})), calling("change", st.just({})),
)  # fmt: skip
WRONG = st.fixed_dictionaries(
    {
        "tool": st.sampled_from(["df", "systemctl", "nonsense", "powershell"]),
        "parameters": st.one_of(HOST, UNIT, st.just({})),
    },
    optional={"id": st.just("a")},
)
AROUND = st.fixed_dictionaries(
    {},
    optional={
        "for_each": st.sampled_from([["web-01", "web-02"], ["db-01"], "steps.a.output.items"]),
        "timeout_seconds": st.sampled_from([1, 600]),
        "on_failure": st.sampled_from(["continue", "compensate"]),
        "assets": st.lists(st.sampled_from(["web-01", "db-01"]), max_size=2),
        "secrets": st.sampled_from(
            [
                {"ssh_password": {"type": "secret", "path": "env/MAIL_KEY"}},
                {"ssh_password": {"type": "secret", "path": "env/ROOT"}},
            ]
        ),
        "compensate": CALLS,
    },
)
STEPS = st.builds(lambda call, around: {**around, **call}, CALLS, AROUND)


def named(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": name, **step} for name, step in zip("abc", steps, strict=False)]


def planned(
    steps: st.SearchStrategy[Any], environments: list[str], priority: int
) -> st.SearchStrategy[Any]:
    around = st.fixed_dictionaries(
        {"environment": st.sampled_from(environments)},
        optional={
            "approval_level": st.integers(0, 3),
            "sla_class": st.sampled_from(["fast", "long"]),
            "action_class": st.sampled_from(["read", "deploy"]),
            "type": st.sampled_from(["query", "install", "other"]),
            "priority": st.sampled_from([1, priority]),
        },
    )
    return st.builds(lambda steps, around: {**around, "steps": steps}, steps, around)


GOOD = planned(
    st.lists(STEPS, min_size=1, max_size=3).map(named), ["dev", "prod", "dev", "prod", "staging"], 9
)
SPOILED = planned(st.lists(STEPS | WRONG, min_size=1, max_size=3), ["dev", "moon"], 11)
PLANS = st.integers(0, 7).flatmap(lambda kind: GOOD if kind else SPOILED)
REQUESTS = st.fixed_dictionaries(
    {
        "actor": st.sampled_from(["bob", "bob", "ann", "anonymous"]),
        "signed": st.sampled_from([True, True, True, False]),
        "plan": PLANS,
    },
    optional={"idempotency_key": st.sampled_from(["k", "l"])},
)
FACTS = (
    "plan_hash", "environment", "sla_class", "mode", "action_class", "priority",
    "timeout_seconds", "sla_seconds", "approval_level",
)  # fmt: skip


QUOTAS = st.sampled_from([None, None, Quota(1, 10, 10), Quota(10, 1, 10), Quota(10, 10, 2)])
#: What becomes of an accepted execution before the next request: it goes on, all of its steps
#: succeed, or those without others after them fail.
ENDS = st.sampled_from(["lives", "succeeds", "fails"])


class Signing(EverybodySigns):
    """A record whose field `signed` is false is not signed."""

    def signer(self, message: Any, topic: Topic, now: float) -> Any:
        if orjson.loads(message.value() or b"{}").get("signed") is False:
            return None
        return super().signer(message, topic, now)


class Observed(Simulation):
    """Keeps what the router asks of the lock keeper; its tenants may have a quota."""

    def __init__(self, quota: Quota | None) -> None:
        self.quota = quota
        self.acquired: dict[str, set[str]] = {}
        super().__init__(policy=POLICY)
        self.partition.authentication = Signing(self)

    def _fresh(self) -> Any:
        hosted = super()._fresh()
        if (quota := self.quota) is not None:
            limited = replace(hosted.router.requests, quota_of=lambda tenant: quota)
            hosted.router.requests = limited
        return hosted

    def read_locks(self, position: int = 0, *, again: bool = False) -> list[dict[str, Any]]:
        topic, _, raw = self.lock_records[position]
        command = LOCK_COMMAND.validate_json(raw) if topic is LOCK_COMMANDS else None
        if isinstance(command, Acquire):
            self.acquired.setdefault(command.execution_id, set()).update(command.assets)
        return super().read_locks(position, again=again)

    def runs(self, execution_id: str, told: dict[str, Any], end: str) -> None:
        """Approve it, and let all its attempts run; each command is what was told of its call."""
        for actor in ("carol", "dave", "erin")[: told["approval_level"]]:
            self.control("approve", execution_id, actor=actor)
        calls = {call["field"]: call for call in told["calls"]}
        fields = {call["step"]: call["field"] for call in told["calls"] if call["step"]}
        last = told["calls"][-1]["field"].removesuffix(".compensate")
        while (mine := [one for one in self.commands if one["execution_id"] == execution_id]) != []:
            command = mine[0]
            self.commands.remove(command)
            step = command["step"].removesuffix(".undo")
            is_undo = step != command["step"]
            field = fields[step.partition("[")[0]]
            check_command(self, command, calls[f"{field}.compensate" if is_undo else field])
            if end == "fails" and field == last and not is_undo:
                self.fail(command)
            else:
                self.run(command, {"h": "web-07", "items": ["web-08", "web-01"]})


def check_command(here: Simulation, command: dict[str, Any], told: dict[str, Any]) -> None:
    """The command is what was told of its call, and an executor finds it approved."""
    tool = here.tools.get(command["tool"])
    assert tool is not None
    assert told["tool"] == tool.name
    assert approval_check(here.tools)(StepCommand.model_validate(command)) is None
    needs = approval_required(tool, command["parameters"], command["environment"])
    assert told["approval"] or not needs
    expected = told["invocation"]
    if expected is None:
        return
    bound = bind(tool, command["parameters"])
    assert isinstance(bound, Invocation)
    assert expected.get("argv", []) == list(bound.argv)
    assert (expected.get("host"), expected.get("stdin")) == (bound.host, bound.stdin)
    if bound.argv:
        assert expected.get("env", {}) == bound.env
    else:
        called = (expected["driver"], expected.get("call"), expected.get("arguments", {}))
        assert called == (bound.driver, bound.call, bound.arguments)


def check_locks(here: Observed, execution_id: str, told: dict[str, Any]) -> None:
    """What the router asked the lock keeper for is what was told of the calls that lock."""
    acquired = here.acquired.get(execution_id, set())
    locking = [call for call in told["calls"] if call["locks"]]
    assets = [asset for call in locking for asset in call["assets"]]
    known = {key for asset in assets if (key := lock_key(asset)) is not None}
    assert None in assets or acquired <= known
    # The first step that locks asks for all of the plan; the run of one that only reads asks never.
    steps = [asset for call in locking if call["step"] for asset in call["assets"]]
    asks = any(asset is None or lock_key(asset) for asset in steps)
    ended = [event["type"] for event in here.events if event["execution_id"] == execution_id]
    if asks and "execution.completed" in ended:
        assert known <= acquired


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(REQUESTS, ENDS), min_size=1, max_size=3), QUOTAS)
def test_what_is_told_is_what_happens(
    requests: list[tuple[dict[str, Any], str]], quota: Quota | None
) -> None:
    here = Observed(quota)
    for request, end in requests:
        before, commands = dict(here.changelog), len(here.commands)
        told = here.submit({**request, "explain": True})
        if told[0]["type"] == "execution.rejected":
            # Nothing is told to somebody unknown about the key of a signed request.
            real = here.submit(request)
            assert told[0]["data"] == real[0]["data"]
            assert real[0]["data"]["reason"] == "not_authentic"
            continue
        assert kinds(told) == ["execution.explained"]
        assert told[0]["seq"] == 1
        data = told[0]["data"]
        assert len(here.commands) == commands
        # Nothing but the id is remembered.
        assert all(b"explained" in v for k, v in here.changelog.items() if k not in before)
        real = here.submit(request)
        outcome = real[0]["type"].removeprefix("execution.")
        assert data["answer"] == outcome
        happened = real[0]["data"]
        if outcome == "accepted":
            assert data["actor"] == happened["actor"]
            assert {name: data[name] for name in FACTS} == {name: happened[name] for name in FACTS}
            assert all(call["allowed"] for call in data["calls"])
            assert data["calls_left_out"] == 0
            waits = "execution.approval_requested" in kinds(real)
            assert waits == (data["approval_level"] > 0) == (data["approval_seconds"] is not None)
            assert waits or not any(call["approval"] for call in data["calls"])
            limits = [step["timeout_seconds"] for step in happened["plan"]["steps"]]
            calls = [call for call in data["calls"] if call["step"] is not None]
            assert [call["timeout_seconds"] for call in calls] == limits
            if end != "lives":
                here.runs(real[0]["execution_id"], data, end)
            check_locks(here, real[0]["execution_id"], data)
        elif outcome == "rejected":
            assert data["problems"] == happened["problems"]
            assert (data["reason"], data["message"]) == (happened["reason"], happened["message"])
            refused = {call["field"] for call in data["calls"] if not call["allowed"]}
            named = {problem["field"] for problem in data["problems"]}
            assert all(any(name.startswith(field) for name in named) for field in refused)
        else:
            assert data["duplicate_of"] == real[0]["execution_id"]


def test_a_compensation_acts_on_the_assets_of_its_step() -> None:
    here = Observed(None)
    undo = {"tool": "change", "parameters": {"host": "web-02"}}
    read = {"tool": "df", "parameters": {"host": "web-01"}, "assets": ["db-01"]}
    plan = {"steps": [{**read, "compensate": undo}, {"tool": "change", "assets": ["web-03"]}]}
    request = {"actor": "bob", "plan": plan}
    (told,) = here.submit({**request, "explain": True})
    assert [call["assets"] for call in told["data"]["calls"]] == [
        ["web-01", "db-01"], ["web-02", "db-01"], ["web-03"],
    ]  # fmt: skip
    execution_id = here.submit(request)[0]["execution_id"]
    here.runs(execution_id, told["data"], "succeeds")
    assert here.acquired[execution_id] == {"web-02", "web-03", "db-01"}
    check_locks(here, execution_id, told["data"])


def explained(request: dict[str, Any], policy: str | None = None) -> dict[str, Any]:
    here = Simulation() if policy is None else Simulation(policy=policy)
    (event,) = here.submit({**request, "explain": True})
    assert event["type"] == "execution.explained"
    data: dict[str, Any] = event["data"]
    return data


def test_calls_are_bound_and_secrets_masked() -> None:
    secret = {"type": "secret", "path": "env/TOKEN"}
    data = explained(
        {
            "actor": "ann",
            "steps": [
                {"tool": "df", "parameters": {"host": "web-01", "path": "/var"}},
                {"tool": "df", "parameters": {"host": "{{ steps.step_1.output.host }}"}},
                {"tool": "curl", "parameters": {
                    "url": "https://example.org/", "headers": {"Authorization": secret}}},
            ],
        }
    )  # fmt: skip
    literal, template, masked = data["calls"]
    assert literal["invocation"]["argv"][0] == "df"
    assert "/var" in literal["invocation"]["argv"]
    assert (literal["assets"], literal["locks"], literal["templates"]) == (["web-01"], False, [])
    assert (template["assets"], template["templates"]) == ([None], ["host"])
    assert template["invocation"] is None
    assert masked["secrets"] == ["env/TOKEN"]
    assert masked["invocation"]["arguments"]["headers"] == {"Authorization": "***"}
    assert "path" not in orjson.dumps(masked["invocation"]["arguments"]["headers"]).decode()


def test_the_id_of_an_explanation_is_used_for_nothing_else() -> None:
    here = Simulation()
    request: dict[str, Any] = {"actor": "ann", "idempotency_key": "k", "steps": [{"tool": "noop"}]}
    (event,) = here.submit({**request, "explain": True})
    here.restart()
    again = here.submit({**request, "execution_id": event["execution_id"]})
    assert kinds(again) == ["execution.rejected"]
    assert again[0]["execution_id"] != event["execution_id"]
    assert kinds(here.submit(request))[0] == "execution.accepted"


def test_a_request_that_is_no_request_is_explained_too() -> None:
    data = explained({"steps": [{"tool": 5}]})
    assert (data["answer"], data["reason"]) == ("rejected", "invalid")
    assert data["problems"][0]["field"] == "plan.steps[0].tool"


def test_an_explanation_needs_the_right_to_ask() -> None:
    here = Simulation(policy=POLICY)
    request = {"actor": "eve", "explain": True, "steps": [{"tool": "noop"}]}
    rejected, audit = here.submit(request)
    assert rejected["data"]["reason"] == "forbidden"
    assert (audit["data"]["action"], audit["data"]["allowed"]) == ("explain", False)


def test_the_longest_plan_fits_a_record() -> None:
    host = ".".join(["h" * 60] * 4)
    step = {"tool": "df", "parameters": {"host": host, "path": "/" + "p" * 350}}
    data = explained({"actor": "ann", "steps": [step] * 10})
    assert (data["answer"], data["calls_left_out"], len(data["calls"])) == ("accepted", 0, 10)
    data = explained({"actor": "ann", "steps": [step] * 750})
    assert data["answer"] == "accepted"
    assert data["calls_left_out"] > 0
    assert len(data["calls"]) + data["calls_left_out"] == 750
