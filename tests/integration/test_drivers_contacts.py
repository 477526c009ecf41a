"""Hosts to which a program sends: refused or replaced by their address before it starts."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

import pytest

from drivers import contacts
from drivers.context import Failure, Success
from drivers.http import addresses
from drivers.resources import Resources
from tests.driver_kit import Run, settings
from tests.integration.contacts_lab import (
    REFUSED,
    bound,
    call_of,
    checked_here,
    echoed,
    outcome_of,
)
from toolmeta.invocation import Contact, Invocation
from toolmeta.model import Tool
from toolmeta.registry import load

TARGETS = ("web-01", "10.0.0.1", "169.254.169.254", "metadata.google.internal")

#: Every parameter of the catalogue that names a host, with the example that it stands in.
HOSTS = [(tool, name) for tool in load().all() for name in tool.run.contacts.hosts]


@pytest.mark.parametrize(("tool", "name"), HOSTS, ids=lambda item: getattr(item, "name", item))
def test_inner_hosts_are_refused_before_the_program_starts(tool: Tool, name: str) -> None:
    assert len(HOSTS) > 20
    for host in REFUSED.split():
        written = f"[{host}]" if name == "engine" and ":" in host else host
        invocation = call_of(tool, name, written)
        if not isinstance(invocation, Invocation):
            continue  # It is not even a value of the parameter.
        outcome = outcome_of(echoed(invocation))
        assert isinstance(outcome, Failure), host
        assert outcome.error_class == "refused_address", (host, outcome)


@pytest.mark.parametrize(("tool", "name"), HOSTS, ids=lambda item: getattr(item, "name", item))
def test_the_program_gets_the_address_that_was_checked(tool: Tool, name: str) -> None:
    invocation = call_of(tool, name, "localhost")
    assert isinstance(invocation, Invocation), invocation
    reached = checked_here(invocation, allow_private_addresses=True)
    assert isinstance(reached, contacts.Checked)
    stated = tool.run.contacts
    before = [*invocation.argv, *invocation.env.values()]
    after = [*reached.invocation.argv, *reached.invocation.env.values()]
    if stated.address_variable is not None:
        assert reached.invocation.env[stated.address_variable] in ("127.0.0.1", "::1")
        return
    changed = [text for text in after if text not in before]
    assert any("127.0.0.1" in text or "::1" in text for text in changed)
    named = [text for text in after if "localhost" in text]
    assert named == ["localhost"] * sum(map(bool, (stated.name_option, stated.compared_by)))


def test_a_name_that_is_compared_with_a_certificate_is_checked_and_left() -> None:
    invocation = bound("mongodump", {"server": "localhost", "path": "/tmp/x", "tls": True})
    reached = checked_here(invocation, allow_private_addresses=True)
    assert isinstance(reached, contacts.Checked)
    assert "--host=localhost" in reached.invocation.argv
    assert isinstance(checked_here(invocation), Failure)


def test_openssl_still_asks_for_the_name() -> None:
    reached = checked_here(bound("openssl", {"server": "localhost"}), allow_private_addresses=True)
    assert isinstance(reached, contacts.Checked)
    argv = reached.invocation.argv
    assert argv[argv.index("-servername") + 1] == "localhost"
    assert argv[argv.index("-host") + 1] in ("127.0.0.1", "::1")
    given = bound("openssl", {"server": "localhost", "server_name": "www.example.org"})
    reached = checked_here(given, allow_private_addresses=True)
    assert isinstance(reached, contacts.Checked)
    argv = reached.invocation.argv
    assert (argv.count("-servername"), argv.count("-verify_hostname")) == (1, 1)


@pytest.mark.parametrize("here", [True, False])
def test_openssl_compares_the_certificate_with_the_server(here: bool) -> None:
    """On another machine too, where the name is resolved."""
    for server, option, name in (
        ("localhost" if here else "localhost.", "-verify_hostname", "localhost"),
        ("127.0.0.1", "-verify_ip", "127.0.0.1"),
        ("::1", "-verify_ip", "::1"),
    ):
        invocation = bound("openssl", {"server": server})
        reached = checked_here(invocation, here=here, allow_private_addresses=True)
        assert isinstance(reached, contacts.Checked), reached
        argv = reached.invocation.argv
        assert argv[argv.index(option) + 1] == name


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "[::1]:5432", "localhost", "168.63.129.16"]
)
def test_psql_connects_to_checked_servers_only(host: str) -> None:
    outcome = outcome_of(bound("psql", {"host": host, "query": "select 1"}))
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]:22"]
)
def test_a_step_does_not_log_in_to_a_metadata_service(host: str) -> None:
    outcome = outcome_of(bound("uptime", {"host": host}), allow_private_addresses=True)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"


@pytest.mark.parametrize(
    ("tool", "parameters"), [("uptime", {}), ("get_process", {}), ("ping", {"target": "1.1.1.1"})]
)
def test_a_step_does_not_log_in_to_a_name_of_a_metadata_service(
    tool: str, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, _port: int) -> list[Any]:
        assert host == "web-01.example"
        return [ip_address("192.0.2.1"), ip_address("169.254.169.254")]

    monkeypatch.setattr(addresses, "resolve", resolve)
    invocation = bound(tool, {"host": "web-01.example", **parameters})
    outcome = outcome_of(invocation, allow_private_addresses=True)
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"


def test_the_network_scope_allows_its_own_addresses() -> None:
    invocation = echoed(bound("traceroute", {"target": "10.1.2.3"}))
    assert isinstance(outcome_of(invocation, network_scope="10.1.0.0/16"), Success)
    assert isinstance(outcome_of(invocation, network_scope="10.2.0.0/16"), Failure)


PROBES = [(tool, name) for tool, name in HOSTS if tool.run.contacts.probe]
SCOPE = "198.18.7.0/29,198.18.8.0/24:22+5432"


@pytest.mark.parametrize(("tool", "name"), PROBES, ids=lambda item: getattr(item, "name", item))
def test_the_network_scope_binds_what_probes(tool: Tool, name: str) -> None:
    """Public and private addresses alike, and whatever else is allowed."""
    for private in (False, True):
        changed = {"network_scope": SCOPE, "allow_private_addresses": private}
        for host in ["1.1.1.1", "198.18.7.8", "10.0.0.1", "127.0.0.1", "localhost"]:
            invocation = call_of(tool, name, host)
            assert isinstance(invocation, Invocation)
            outcome = outcome_of(echoed(invocation), **changed)
            assert isinstance(outcome, Failure), host
            assert outcome.error_class == "out_of_scope", (host, outcome)
            assert "RUNSTREAM_NETWORK_SCOPE" in outcome.message
        inside = call_of(tool, name, "198.18.7.2")
        assert isinstance(inside, Invocation)
        assert isinstance(outcome_of(echoed(inside), **changed), Success)
        metadata = call_of(tool, name, "169.254.169.254")
        assert isinstance(metadata, Invocation)
        found = outcome_of(echoed(metadata), network_scope="0.0.0.0/0")
        assert isinstance(found, Failure) and found.error_class == "refused_address"


@pytest.mark.parametrize(
    ("tool", "parameters", "inside"),
    [
        ("ping", {"target": "198.18.8.1"}, True),
        ("traceroute", {"target": "198.18.8.1"}, False),
        ("dig", {"name": "a.example", "server": "198.18.8.1"}, False),
        ("dig", {"name": "a.example", "server": "198.18.8.1", "port": 22}, True),
        ("openssl", {"server": "198.18.8.1"}, False),
        ("pg_isready", {"server": "198.18.8.1"}, True),
        ("pg_isready", {"server": "198.18.8.1:22", "port": 5433}, False),
        ("ping", {"target": "2606:4700::1111", "ipv6": True}, False),
        ("ping", {"target": "198.18.7.2", "ipv6": True}, False),
        # A client of a database is no probe: what is public it reaches.
        ("redis_cli", {"server": "1.1.1.1", "command": "GET", "arguments": ["a"]}, True),
    ],
)
def test_the_network_scope_binds_a_probe_to_its_ports(
    tool: str, parameters: dict[str, Any], inside: bool
) -> None:
    outcome = outcome_of(echoed(bound(tool, parameters)), network_scope=SCOPE)
    assert isinstance(outcome, Success) is inside, outcome
    assert inside or getattr(outcome, "error_class", "") == "out_of_scope"


def test_a_server_that_names_a_port_and_a_port_must_both_be_in_the_scope() -> None:
    """libpq connects to `port` whatever stands behind the host."""
    asked = {"server": "10.1.2.3:22", "user": "u", "database": "shop", "path": "/srv/a.dump"}
    outcome = outcome_of(echoed(bound("pg_dump", asked)), network_scope="10.1.0.0/16:22")
    assert isinstance(outcome, Failure)
    assert outcome.error_class == "refused_address"


def test_without_a_scope_probes_reach_public_addresses() -> None:
    for target in ("1.1.1.1", "2606:4700::1111"):
        invocation = echoed(bound("ping", {"target": target}))
        assert isinstance(outcome_of(invocation), Success)


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
        for target in TARGETS:
            invocation = bound("traceroute", {"target": target})
            found.append(await contacts.checked(invocation, context, here=False))
        await opened.close()
        return found

    name, private, *metadata = asyncio.run(inside())
    assert isinstance(name, contacts.Checked)
    assert name.invocation.argv[-1] == "web-01"
    assert isinstance(private, contacts.Checked)
    assert all(isinstance(outcome, Failure) for outcome in metadata)


def test_a_name_that_is_also_the_server_is_left_as_it_is() -> None:
    invocation = bound("host", {"name": "ns.example.org", "server": "ns.example.org"})
    (contact,) = invocation.contacts.hosts
    assert contact == Contact(len(invocation.argv) - 1, "", "ns.example.org", "")
    asked = bound("dig", {"name": "ns.example.org", "server": "ns.example.org"})
    assert asked.contacts.hosts == (Contact(1, "@", "ns.example.org", ""),)
