"""`become` and `connection` of a step: checked, authorised, shown, and sent with its commands."""

from __future__ import annotations

from typing import Any

import pytest

from streams.commands import StepCommand
from tests.unit.router.simulation import Simulation, kinds
from tests.unit.router.test_authorisation import df, refused, simulation, submit

REFERENCE = {"type": "secret", "path": "env/SUDO"}
JUMP = {"host": "Bastion:2222", "user": "jump", "key": {"type": "secret", "path": "env/JUMP"}}


def problems(**step: Any) -> dict[str, str]:
    given = {"tool": "df", "parameters": {"host": "web-01"}, **step}
    events = Simulation().submit({"plan": {"steps": [given]}})
    assert kinds(events) == ["execution.rejected"], events
    return {one["field"]: one["message"] for one in events[0]["data"]["problems"]}


def test_a_command_carries_both() -> None:
    here = Simulation()
    undo = {"tool": "systemctl", "parameters": {"host": "web-01", "unit": "a", "action": "start"}}
    login = {"ssh_key": {"type": "secret", "path": "env/KEY"}}
    step = df(
        "web-01",
        secrets=login,
        become={"password": REFERENCE},
        connection={"port": 2222, "user": "deploy", "jump": ["bastion"]},
        compensate=undo,
    )
    events = here.submit({"plan": {"steps": [step]}})
    assert kinds(events)[0] == "execution.accepted"
    (spec,) = events[0]["data"]["plan"]["steps"]
    wanted = {
        "become": {"user": "root", "password": REFERENCE},
        "connection": {"port": 2222, "user": "deploy", "jump": [{"host": "bastion"}]},
    }
    assert {name: spec[name] for name in wanted} == wanted
    # What undoes it acts on the same host in the same way.
    assert {name: spec["compensate"][name] for name in wanted} == wanted
    assert spec["compensate"]["secrets"] == login
    (dispatched,) = [one for one in here.events if one["type"] == "step.dispatched"]
    assert {name: dispatched["data"][name] for name in wanted} == wanted


@pytest.mark.parametrize("written", [True, {}, {"user": "root"}])
def test_ways_to_write_root(written: Any) -> None:
    events = Simulation().submit({"plan": {"steps": [df("web-01", become=written)]}})
    assert events[0]["data"]["plan"]["steps"][0]["become"] == {"user": "root"}


@pytest.mark.parametrize("written", [False, None])
def test_ways_to_write_nobody_else(written: Any) -> None:
    events = Simulation().submit({"plan": {"steps": [df("web-01", become=written)]}})
    assert "become" not in events[0]["data"]["plan"]["steps"][0]


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"become": {"user": "-root"}}, "become.user"),
        ({"become": {"user": "{{ item }}"}}, "become.user"),
        ({"become": {"user": "a b"}}, "become.user"),
        ({"become": {"pasword": REFERENCE}}, "become.pasword"),
        ({"become": "root"}, "become"),
        ({"become": {"password": "canary"}}, "become.password"),
        ({"become": {"password": {"type": "secret", "path": "nowhere/x"}}}, "become.password"),
        ({"connection": {"port": 0}}, "connection.port"),
        ({"connection": {"port": "22"}}, "connection.port"),
        ({"connection": {"user": "-oProxyCommand=x"}}, "connection.user"),
        ({"connection": {"host": "x"}}, "connection.host"),
        ({"connection": {"jump": [{"port": 22}]}}, "connection.jump[0].host"),
        ({"connection": {"jump": ["a"] * 6}}, "connection.jump"),
        ({"connection": {"jump": [{"host": "a", "key": "canary"}]}}, "connection.jump[0].key"),
        ({"connection": {"jump": [{"host": "a:1", "port": 2}]}}, "connection.jump[0].port"),
        ({"become": True, "tool": "webhook_sender", "parameters": {"url": "http://a"}}, "become"),
        ({"become": True, "parameters": {}}, "become"),
        ({"connection": {"port": 22}, "parameters": {}}, "connection"),
    ],
    ids=str,
)
def test_what_is_refused(written: dict[str, Any], field: str) -> None:
    found = problems(**written)
    assert any(name.startswith(f"plan.steps[0].{field}") for name in found), found
    assert not any("canary" in message for message in found.values())


def test_another_account_needs_more_than_the_call() -> None:
    web = "{id: web, effect: allow, actors: [ann], actions: [read], assets: ['web-*']}"
    run = "{id: run, effect: allow, actors: [bob], actions: [read, execute], assets: ['web-*']}"
    here = simulation(web, run)
    assert kinds(submit(here, "ann", df("web-01")))[0] == "execution.accepted"
    for more in ({"become": True}, {"connection": {"user": "root"}}):
        assert kinds(submit(here, "bob", df("web-01", **more)))[0] == "execution.accepted"
        told = refused(submit(here, "ann", df("web-01", **more)), "default-deny")
        assert "(execute)" in told[0]["message"]
    # What runs the plan's own program may then do anything.
    nice = {"tool": "nice", "parameters": {"host": "web-01", "program": "gzip"}, "become": True}
    told = refused(submit(here, "bob", nice), "default-deny")
    assert "(admin)" in told[0]["message"]
    assert kinds(submit(here, "ann", df("web-01", connection={"port": 22})))[0] == (
        "execution.accepted"
    )


def test_secrets_and_hosts_on_the_way_need_their_rules() -> None:
    every = "{id: every, effect: allow, actors: [ann], actions: ['*'], assets: ['web-*', bastion]}"
    sudo = "{id: sudo, effect: allow, actors: [ann], secrets: ['env/SUDO']}"
    jump = "{id: jump, effect: allow, actors: [ann], secrets: ['env/JUMP']}"
    step = df("web-01", become={"password": REFERENCE}, connection={"jump": [JUMP]})
    assert kinds(submit(simulation(every, sudo, jump), "ann", step))[0] == "execution.accepted"
    told = refused(submit(simulation(every, jump), "ann", step), "default-deny")
    assert told[0]["field"] == "plan.steps[0].become.password"
    told = refused(submit(simulation(every, sudo), "ann", step), "default-deny")
    assert told[0]["field"] == "plan.steps[0].connection.jump[0].key"
    near = every.replace(", bastion", "")
    told = refused(submit(simulation(near, sudo, jump), "ann", step), "default-deny")
    assert "bastion" in told[0]["message"]


def test_what_is_explained() -> None:
    here = Simulation()
    step = df("web-01", become={"user": "postgres", "password": REFERENCE},
              connection={"jump": [JUMP]})  # fmt: skip
    events = here.submit({"explain": True, "plan": {"steps": [step]}})
    (call,) = events[0]["data"]["calls"]
    assert (call["become"], call["action"]) == ("postgres", "execute")
    assert call["connection"] == {"jump": [JUMP]}
    assert set(call["assets"]) == {"web-01", "bastion"}
    assert call["secrets"] == ["env/JUMP", "env/SUDO"]


def test_an_executor_refuses_what_it_does_not_know() -> None:
    """It would run as another user, or over another way, than was meant."""
    from pydantic import ValidationError

    from tests.driver_kit import command

    given = command().model_dump()
    for more in ({"become": {"user": "root", "method": "doas"}}, {"connection": {"via": "x"}}):
        with pytest.raises(ValidationError):
            StepCommand.model_validate({**given, **more})
