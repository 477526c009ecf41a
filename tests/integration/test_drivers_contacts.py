"""Hosts to which a program sends: refused or replaced by their address before it starts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from drivers import contacts
from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from toolmeta.bind import bind
from toolmeta.invocation import Contact, Invocation
from toolmeta.registry import load

REFUSED = """
10.0.0.1 127.0.0.1 192.168.1.1 172.16.0.1 100.64.0.1 169.254.169.254 168.63.129.16 192.0.0.192
localhost metadata.google.internal Metadata ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:a9fe:a9fe::
fd00:ec2::254
"""
CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("dig", "server", {"name": "example.org"}),
    ("host", "server", {"name": "example.org"}),
    ("nslookup", "server", {"name": "example.org"}),
    ("traceroute", "target", {}),
]


def bound(tool: str, parameters: dict[str, Any]) -> Invocation:
    definition = load().get(tool)
    assert definition is not None
    invocation = bind(definition, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


def outcome_of(invocation: Invocation, **changed: Any) -> Outcome:
    async def inside() -> Outcome:
        # Said here, since the stack of other tests leaves its own in the environment.
        strict = {"allow_private_addresses": False, "network_scope": ""}
        opened = Resources(settings(**{**strict, **changed}))
        try:
            return await Run(opened, invocation).outcome()
        finally:
            await opened.close()

    return asyncio.run(inside())


def echoed(invocation: Invocation) -> Invocation:
    """The same call of a program that only prints its arguments."""
    return replace(invocation, argv=("/bin/echo", *invocation.argv[1:]), parser="field:text")


@pytest.mark.parametrize(("tool", "parameter", "more"), CALLS)
@pytest.mark.parametrize("host", REFUSED.split())
def test_inner_hosts_are_refused_before_the_program_starts(
    tool: str, parameter: str, more: dict[str, Any], host: str
) -> None:
    outcome = outcome_of(echoed(bound(tool, {**more, parameter: host})))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"


@pytest.mark.parametrize(("tool", "parameter", "more"), CALLS)
def test_the_program_gets_the_address_that_was_checked(
    tool: str, parameter: str, more: dict[str, Any]
) -> None:
    invocation = echoed(bound(tool, {**more, parameter: "localhost"}))
    outcome = outcome_of(invocation, allow_private_addresses=True)
    assert isinstance(outcome, Success)
    assert "localhost" not in outcome.output["text"]
    assert any(text in outcome.output["text"] for text in ("127.0.0.1", "::1"))


def test_the_network_scope_allows_its_own_addresses() -> None:
    invocation = echoed(bound("traceroute", {"target": "10.1.2.3"}))
    assert isinstance(outcome_of(invocation, network_scope="10.1.0.0/16"), Success)
    assert isinstance(outcome_of(invocation, network_scope="10.2.0.0/16"), Failure)


def test_a_metadata_service_is_refused_whatever_is_allowed() -> None:
    invocation = echoed(bound("dig", {"name": "example.org", "server": "169.254.169.254"}))
    changed = {"allow_private_addresses": True, "network_scope": "0.0.0.0/0"}
    outcome = outcome_of(invocation, **changed)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"


def test_names_are_left_to_the_machine_where_the_program_runs() -> None:
    """There is no such name here, and another machine may have another address for it."""

    async def inside() -> list[Any]:
        opened = Resources(settings(allow_private_addresses=False))
        context = Run(opened, bound("traceroute", {"target": "web-01"})).context
        found = []
        for target in ("web-01", "10.0.0.1", "169.254.169.254", "metadata.google.internal"):
            invocation = bound("traceroute", {"target": target})
            found.append(await contacts.checked(invocation, context, here=False))
        await opened.close()
        return found

    name, private, *metadata = asyncio.run(inside())
    assert isinstance(name, Invocation)
    assert name.argv[-1] == "web-01"
    assert isinstance(private, Invocation)
    assert all(isinstance(outcome, Failure) for outcome in metadata)


def test_a_name_that_is_also_the_server_is_left_as_it_is() -> None:
    invocation = bound("host", {"name": "ns.example.org", "server": "ns.example.org"})
    (contact,) = invocation.contacts
    assert contact == Contact(len(invocation.argv) - 1, "", "ns.example.org", "")
    asked = bound("dig", {"name": "ns.example.org", "server": "ns.example.org"})
    assert asked.contacts == (Contact(1, "@", "ns.example.org", ""),)
