"""Who may run and steer what, decided by the router: every call counts, and each decision tells."""

from __future__ import annotations

from typing import Any

import pytest

from authority.identity import Identity
from processors.router.authorisation import control
from processors.router.calls import admitted, written
from processors.router.reruns import decide_rerun
from streams.commands import Rerun
from streams.plans import Plan
from tests.unit.router.simulation import Simulation, kinds

ADMIN = "{id: admin, effect: allow, actors: [root], actions: ['*'], secrets: ['*']}"
ADMIN_CONTROLS = "{id: admin-controls, effect: allow, actors: [root], controls: ['*']}"
WEB = "{id: web, effect: allow, actors: [ann], actions: [read, write], assets: ['web-*']}"
NO_DB = "{id: no-db, effect: deny, actors: ['*'], assets: ['db-*'], actions: ['*']}"


def policy(*rules: str, head: str = "") -> str:
    return "\n".join(["version: 1", head, "rules:", *(f"  - {rule}" for rule in rules)])


def simulation(*rules: str, head: str = "") -> Simulation:
    return Simulation(policy=policy(*(rules or (ADMIN, ADMIN_CONTROLS, WEB, NO_DB)), head=head))


def df(host: Any, **more: Any) -> dict[str, Any]:
    return {"tool": "df", "parameters": {"host": host}, **more}


def submit(here: Simulation, actor: str | None, *steps: Any, **plan: Any) -> list[dict[str, Any]]:
    request: dict[str, Any] = {"plan": {"steps": list(steps), **plan}}
    return here.submit(request if actor is None else {**request, "actor": actor})


def refused(events: list[dict[str, Any]], rule: str) -> list[dict[str, Any]]:
    """The problems of a request that this rule refused, and that ran nothing."""
    rejected, audit = events
    assert rejected["type"] == "execution.rejected"
    assert (rejected["seq"], audit["seq"]) == (1, 2)
    assert rejected["data"]["reason"] == "forbidden"
    assert audit["type"] == "audit.decision"
    assert audit["data"]["allowed"] is False
    assert audit["data"]["rule"] == rule
    assert audit["data"]["resource"]
    problems: list[dict[str, Any]] = rejected["data"]["problems"]
    return problems


def test_an_allowed_plan_has_one_decision_that_names_rules_key_and_plan() -> None:
    here = simulation()
    events = submit(here, "ann", df("web-01"), df("web-02"), df("web-01"))
    accepted = events[0]
    (data,) = here.decisions(accepted["execution_id"])
    assert (data["actor"], data["action"], data["allowed"]) == ("ann", "run", True)
    assert (data["rule"], data["key"]) == ("web", "key of ann")
    assert data["resource"] == f"plan/{accepted['data']['plan_hash']}"


def test_a_refused_plan_says_which_steps_and_what_to_ask_for() -> None:
    here = simulation()
    problems = refused(submit(here, "ann", df("web-01"), df("mail-1")), "default-deny")
    assert [problem["field"] for problem in problems] == ["plan.steps[1].tool"]
    assert "run df (read) on mail-1 in dev" in problems[0]["message"]
    assert "ask for a rule" in problems[0]["message"]
    assert not here.commands


def test_the_id_of_a_refused_plan_is_used_for_nothing_else() -> None:
    here = simulation()
    first = submit(here, "ann", df("mail-1"))[0]["execution_id"]
    here.restart()
    request = {"actor": "ann", "execution_id": first, "plan": {"steps": [df("web-01")]}}
    again = here.submit(request)
    assert again[-1]["execution_id"] != first


def test_deny_wins_over_the_right_to_do_everything() -> None:
    here = simulation()
    problems = refused(submit(here, "root", df("db-01")), "no-db")
    assert "rule no-db denies" in problems[0]["message"]


@pytest.mark.parametrize(
    "step",
    [
        df("web-01", compensate={"tool": "df", "parameters": {"host": "db-01"}}),
        df("{{ item }}", for_each=["web-01", "db-01"]),
        df("web-01", assets=["web-01", "db-01"]),
        df("web-01", when="false", assets=["DB-01."]),
        df("{{ plan.name }}"),
        df("{{ item }}", for_each="steps.x.output"),
    ],
)
def test_no_place_of_a_plan_escapes(step: dict[str, Any]) -> None:
    here = simulation()
    first = {"id": "x", "tool": "df", "parameters": {"host": "web-01"}}
    refused(submit(here, "root", first, step), "no-db")


def test_a_target_that_only_the_run_will_tell_needs_the_right_to_all() -> None:
    here = simulation(WEB)
    problems = refused(submit(here, "ann", df("{{ plan.name }}")), "default-deny")
    assert "only the run will tell" in problems[0]["message"]
    every = "{id: every, effect: allow, actors: [ann], actions: [read]}"
    assert kinds(submit(simulation(every), "ann", df("{{ plan.name }}")))[0] == "execution.accepted"


def test_items_that_are_written_are_known_targets() -> None:
    here = simulation(WEB)
    events = submit(here, "ann", df("{{ item }}", for_each=["web-01", "web-02"]))
    assert kinds(events)[0] == "execution.accepted"


def test_secrets_need_a_rule_of_their_own() -> None:
    runs = "{id: runs, effect: allow, actors: [ann], actions: ['*']}"
    mail = "{id: mail, effect: allow, actors: [ann], secrets: ['env/MAIL_*']}"
    here = simulation(runs, mail)

    def plan(path: str) -> list[dict[str, Any]]:
        step = df("web-01", secrets={"ssh_password": {"type": "secret", "path": path}})
        return submit(here, "ann", step)

    assert kinds(plan("env:MAIL_KEY"))[0] == "execution.accepted"
    problems = refused(plan("env/ROOT"), "default-deny")
    assert [problem["field"] for problem in problems] == ["plan.steps[0].secrets.ssh_password"]
    assert "use secret env/ROOT with df" in problems[0]["message"]


@pytest.mark.parametrize(
    ("spelling", "asset"),
    [
        ("10.0.0.7", "10.0.0.7"), ("::ffff:10.0.0.7", "10.0.0.7"), ("10.7:22", "10.0.0.7"),
        ("0xa000007", "10.0.0.7"), ("2001:DB8:0::1", "2001:db8::1"), ("127.0.0.2", "localhost"),
        ("127.1", "localhost"), ("0:0:0:0:0:0:0:1", "localhost"), ("0.0.0.0", "localhost"),
        ("localhost.localdomain", "localhost"),
    ],
)  # fmt: skip
def test_a_rule_about_an_address_is_about_all_its_spellings(spelling: str, asset: str) -> None:
    deny = f"id: no, effect: deny, actors: ['*'], assets: ['{asset}'], actions: ['*']"
    allow = "id: yes, effect: allow, actors: ['*'], actions: ['*']"
    here = Simulation(
        policy="\n".join(["version: 1", "rules:", f"  - {{{allow}}}", f"  - {{{deny}}}"])
    )
    for parameters in ({"host": "web"}, {"host": "{{ item }}"}):
        step = {"tool": "df", "parameters": parameters, "for_each": [spelling]}
        step["assets"] = [spelling] if parameters["host"] == "web" else []
        refused(submit(here, "ann", step), "no")


def test_anonymous_is_limited_by_the_built_in_policy() -> None:
    from authority.policy_file import built_in_text

    here = Simulation(policy=built_in_text())
    noop: dict[str, Any] = {"tool": "noop"}
    events = submit(here, None, noop)
    assert kinds(events)[0] == "execution.accepted"
    own = events[0]["execution_id"]
    for environment in ("staging", "prod"):
        problems = refused(submit(here, None, noop, environment=environment), "default-deny")
        assert "sign the request" in problems[0]["message"]
    refused(submit(here, None, noop, approval_level=1), "default-deny")
    secret = {"ssh_password": {"type": "secret", "path": "env/SSH"}}
    problems = refused(submit(here, None, df("web-01", secrets=secret)), "default-deny")
    assert "use secret env/SSH" in problems[0]["message"]
    assert "; sign the request, or allow it in the policy" in problems[0]["message"]
    refused(here.submit({"tenant": "other", "actor": "ann", "steps": [noop]}), "default-deny")

    for metadata in ({"connection": {"address": "evil.example.org"}}, "{{ steps.a.output.body }}"):
        for tool in ("asset_create", "asset_update"):
            leads = {"tool": tool, "parameters": {"hostname": "web-01", "metadata": metadata}}
            events = submit(here, None, {"tool": "noop", "id": "a"}, leads)
            problems = refused(events, "anonymous-no-connections")
            assert "(admin)" in problems[0]["message"]

    signed = submit(here, "ann", noop)[0]["execution_id"]
    assert kinds(here.control("cancel", signed, actor="anonymous")) == ["audit.decision"]
    assert "execution.cancel_requested" in kinds(here.control("cancel", own, actor="anonymous"))
    waiting = submit(here, "ann", noop, approval_level=1)[0]["execution_id"]
    assert kinds(here.control("approve", waiting, actor="anonymous")) == ["audit.decision"]
    assert kinds(here.control("approve", waiting, actor="bob"))[0] == "execution.approved"


def test_an_execution_of_another_tenant_cannot_be_steered() -> None:
    here = Simulation()
    own = here.submit({"tenant": "acme", "actor": "ann", "steps": [{"tool": "noop"}]})
    execution_id = own[0]["execution_id"]
    for kind, fields in (
        ("cancel", {}), ("pause", {}), ("approve", {"plan_hash": "0" * 64}), ("reject", {}),
        ("rerun", {}), ("redrive", {"step": "step_1"}),
        ("resolve", {"step": "step_1", "outcome": "failed"}),
    ):  # fmt: skip
        (event,) = here.control(kind, execution_id, tenant="other", **fields)
        assert event["type"] == "audit.decision", kind
        data = event["data"]
        assert (data["allowed"], data["rule"]) == (False, "signature"), kind
        assert "running" not in data["message"]
    here.run(here.take())
    (event,) = here.control("rerun", execution_id, tenant="other")
    assert event["data"]["rule"] == "signature"
    (event,) = here.control("cancel", execution_id, tenant="other")
    assert event["data"]["rule"] == "signature"
    assert "completed" not in event["data"]["message"]


def test_no_rule_gives_an_execution_of_another_tenant() -> None:
    here = Simulation()
    here.submit({"tenant": "acme", "actor": "ann", "steps": [{"tool": "noop"}]})
    execution = next(iter(here.partition.store.living.values()))
    for identity in (Identity("other", "ann", "k"), Identity("other", "anonymous")):
        found = control(here.policy, identity, execution, "cancel")
        assert (found.allowed, found.rule) == (False, "other-tenant")
        command = Rerun(execution_id=execution.id)
        refused = decide_rerun(
            execution, execution, command, identity, "x", here.policy, here.tools
        )
        assert (refused.run, refused.audit.rule) == (None, "other-tenant")


def test_every_command_that_is_followed_has_a_decision_that_names_its_rule() -> None:
    here = simulation()
    execution_id = submit(here, "root", {"tool": "noop"})[0]["execution_id"]
    for kind in ("pause", "resume", "cancel"):
        events = here.control(kind, execution_id, actor="root")
        data = here.decisions(execution_id)[-1]
        assert data["action"] == kind
        assert (data["allowed"], data["rule"]) == (True, "admin-controls")
        assert data["resource"] == f"execution/{execution_id}"
        assert events
    (event,) = here.control("cancel", execution_id, actor="ann")
    assert (event["data"]["allowed"], event["data"]["rule"]) == (False, "default-deny")


def test_a_rerun_needs_the_right_to_run_what_it_runs() -> None:
    controls = "{id: reruns, effect: allow, actors: [ann, eve], controls: [rerun]}"
    here = simulation(ADMIN, WEB, controls)
    first = submit(here, "root", df("web-01"), df("mail-1"))[0]["execution_id"]
    here.fail(here.take())
    events = here.control("rerun", first, actor="ann")
    assert kinds(events) == ["audit.decision"]
    assert "run df (read) on mail-1" in events[0]["data"]["message"]
    events = here.control("rerun", first, actor="root")
    assert kinds(events) == ["audit.decision"], "the right to run is not the right to rerun"
    assert events[0]["data"]["rule"] == "default-deny"

    second = submit(here, "root", df("web-01"))[0]["execution_id"]
    here.fail(here.take())
    events = here.control("rerun", second, actor="ann")
    assert kinds(events)[0] == "execution.accepted"
    assert [here.decisions(second)[-1][name] for name in ("action", "rule")] == ["rerun", "reruns"]
    (run,) = here.decisions(events[0]["execution_id"])
    assert (run["action"], run["rule"]) == ("run", "web")


def test_level_two_needs_two_people_with_the_role() -> None:
    head = (
        "roles:\n  approver: [{tenants: [default], actors: [bob, carol, dan]}]\n"
        "  lead: [{tenants: [default], actors: [carol, dan]}]"
    )
    here = simulation(
        ADMIN,
        "{id: one, effect: allow, roles: [approver], controls: [approve], approval_levels: [1]}",
        "{id: two, effect: allow, roles: [lead], controls: [approve], approval_levels: [2]}",
        head=head,
    )
    noop = {"tool": "noop"}
    one = submit(here, "root", noop, approval_level=1)[0]["execution_id"]
    assert kinds(here.control("approve", one, actor="eve")) == ["audit.decision"]
    assert "execution.approved" in kinds(here.control("approve", one, actor="bob"))
    two = submit(here, "root", noop, approval_level=2)[0]["execution_id"]
    (no,) = here.control("approve", two, actor="bob")
    assert (no["data"]["allowed"], no["data"]["rule"]) == (False, "default-deny")
    assert kinds(here.control("approve", two, actor="carol")) == ["execution.approval_given"]
    assert "execution.approved" in kinds(here.control("approve", two, actor="dan"))


def test_a_new_policy_counts_from_then_on() -> None:
    from authority.policy_file import parse

    here = simulation(WEB)
    refused(submit(here, "ann", df("mail-1")), "default-deny")
    here.policy = parse(policy(WEB.replace("web-*", "*")), here.tools)
    assert kinds(submit(here, "ann", df("mail-1")))[0] == "execution.accepted"


def test_the_calls_of_a_plan_are_the_same_before_and_after_admission() -> None:
    steps = [
        {"id": "a", "tool": "noop", "compensate": {"tool": "noop"}},
        {"tool": "noop", "for_each": [1, 2], "inputs": {"value": "{{ item }}"}},
        {"tool": "noop"},
    ]
    here = Simulation()
    here.submit({"actor": "root", "plan": {"steps": steps}})
    execution = next(iter(here.partition.store.living.values()))
    before = [call.field for call in written(Plan.model_validate({"steps": steps}))]
    assert [call.field for call in admitted(execution.plan)] == before


def test_every_parameter_that_may_name_the_target_counts() -> None:
    here = Simulation()
    parameters = {"server": "db-1", "host": "Jump", "command": "ping"}
    step = {"tool": "mongosh", "parameters": parameters}
    steps = [step, {"tool": "noop"}]
    (told,) = here.submit({"actor": "root", "explain": True, "plan": {"steps": steps}})
    assert [call["assets"] for call in told["data"]["calls"]] == [["db-1", "jump"], ["localhost"]]
