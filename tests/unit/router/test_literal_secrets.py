"""Secrets are never written down: a literal or a template in their place is refused, unseen."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.router.simulation import Simulation, kinds
from toolmeta import literals, registry
from toolmeta.model import Tool

CANARY = "canary-7c1f-secret"
REFERENCE = {"type": "secret", "path": "env/DB"}
SECRETS = [
    (tool, name) for tool in registry.load().all() for name in sorted(literals.secrets_of(tool))
]


def submitted(step: dict[str, Any]) -> tuple[Simulation, list[dict[str, Any]]]:
    """The events of a plan with this step after one that gives it an output."""
    simulation = Simulation()
    steps = [{"id": "x", "tool": "noop"}, {"id": "a", **step}]
    return simulation, simulation.submit({"plan": {"steps": steps}})


def assert_refused(step: dict[str, Any], field: str) -> None:
    simulation, events = submitted(step)
    assert kinds(events) == ["execution.rejected"]
    problems = events[0]["data"]["problems"]
    (problem,) = [item for item in problems if "takes a secret reference only" in item["message"]]
    assert problem["field"] == field
    assert '{"type": "secret", "path": "env/NAME"}' in problem["message"]
    assert CANARY.encode() not in orjson.dumps([simulation.events, simulation.commands])
    assert not any(CANARY.encode() in value for value in simulation.changelog.values())


@pytest.mark.parametrize(
    ("tool", "name"), SECRETS, ids=[f"{tool.name}-{name}" for tool, name in SECRETS]
)
def test_a_literal_secret_is_refused_without_being_repeated(tool: Tool, name: str) -> None:
    step = {"tool": tool.name, "parameters": {**literals.as_planned(tool), name: CANARY}}
    assert_refused(step, f"plan.steps[1].parameters.{name}")


@pytest.mark.parametrize(
    "value",
    [CANARY, f"{CANARY}{{{{ steps.x.output.password }}}}", [CANARY], {"value": CANARY}, 7,
     {"Type": "secret", "path": CANARY}],
)  # fmt: skip
def test_nothing_but_a_reference_is_a_secret(value: Any) -> None:
    parameters = {"query": "select 1", "password": value}
    assert_refused({"tool": "psql", "parameters": parameters}, "plan.steps[1].parameters.password")


def test_a_template_in_a_secret_parameter_is_refused() -> None:
    parameters = {"query": "select 1", "password": "{{ steps.x.output.password }}"}
    assert_refused({"tool": "psql", "parameters": parameters}, "plan.steps[1].parameters.password")


def test_a_compensation_writes_no_secret_down_either() -> None:
    undo = {"tool": "psql", "parameters": {"query": "select 1", "password": CANARY}}
    step = {"tool": "noop", "compensate": undo}
    assert_refused(step, "plan.steps[1].compensate.parameters.password")


def test_a_secret_of_the_step_is_a_reference() -> None:
    step = {"tool": "df", "parameters": {"host": "web-01"}, "secrets": {"ssh_password": CANARY}}
    assert_refused(step, "plan.steps[1].secrets.ssh_password")


def test_references_and_content_with_references_in_it_are_accepted() -> None:
    psql = {"query": "select 1", "password": REFERENCE}
    assert kinds(submitted({"tool": "psql", "parameters": psql})[1])[0] == "execution.accepted"
    hook = {"url": "https://hooks.example.org", "headers": {"X-Team": "ops", "X-Key": REFERENCE}}
    step = {"tool": "webhook_sender", "parameters": hook, "secrets": {"hmac_secret": REFERENCE}}
    assert kinds(submitted(step)[1])[0] == "execution.accepted"


def test_every_secret_parameter_is_known_to_be_a_secret_or_content() -> None:
    """A new definition's secret is refused as a literal unless somebody decides otherwise."""
    assert {name for _, name in SECRETS} == {
        "access_key_id", "access_token", "account_key", "become_password", "client_key",
        "connection_string", "hmac_secret",
        "password", "password_hash", "sas_token", "secret_access_key", "session_token", "ssh_key",
        "token", "vault_password", "webhook_url",
    }  # fmt: skip


@pytest.mark.parametrize("tool", ["curl", "webhook_sender", "invoke_webrequest"])
@pytest.mark.parametrize(
    "header",
    ["Authorization", "authorization", "X-Api-Key", "Cookie", "Proxy-Authorization", "X-Auth-Token",
     "PRIVATE-TOKEN", "X-Vault-Token"],
)  # fmt: skip
@pytest.mark.parametrize("value", [CANARY, f"Bearer {CANARY}", "{{ steps.x.output.token }}"])
def test_a_header_that_is_a_login_takes_a_reference_only(
    tool: str, header: str, value: str
) -> None:
    headers = {"X-Team": "ops", header: value}
    parameters = {"url": "https://example.org/", "headers": headers, "host": "win-01"}
    if tool != "invoke_webrequest":
        del parameters["host"]
    field = f"plan.steps[1].parameters.headers.{header}"
    assert_refused({"tool": tool, "parameters": parameters}, field)
    parameters["headers"] = {"X-Team": "ops", header: REFERENCE}
    assert kinds(submitted({"tool": tool, "parameters": parameters})[1])[0] == "execution.accepted"


@pytest.mark.parametrize("tool", ["curl", "webhook_sender", "prometheus"])
def test_an_address_with_a_password_is_refused(tool: str) -> None:
    step = {"tool": tool, "parameters": {"url": f"https://ann:{CANARY}@example.org"}}
    simulation, events = submitted(step)
    assert kinds(events) == ["execution.rejected"]
    assert any("has a password in its address" in one["message"]
               for one in events[0]["data"]["problems"])  # fmt: skip
    assert CANARY.encode() not in orjson.dumps(simulation.events)
