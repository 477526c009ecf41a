"""Hosts to which a program sends: refused or replaced by their address before it starts."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from drivers import contacts
from drivers.context import Failure, Outcome, Success
from drivers.http import addresses
from drivers.resources import Resources
from tests.driver_kit import PYTHON, Run, settings
from toolmeta.bind import bind
from toolmeta.invocation import Contact, Invocation, Problem
from toolmeta.model import Tool
from toolmeta.registry import load

TARGETS = ("web-01", "10.0.0.1", "169.254.169.254", "metadata.google.internal")
REFUSED = """
10.0.0.1 127.0.0.1 192.168.1.1 172.16.0.1 100.64.0.1 169.254.169.254 168.63.129.16 192.0.0.192
0x7f.1 2130706433 0177.0.0.1 127.1 2852039166 127.0.0.1. 169.254.169.254.
localhost metadata.google.internal Metadata ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:a9fe:a9fe::
fd00:ec2::254
"""
#: Every parameter of the catalogue that names a host, with the example that it stands in.
HOSTS = [(tool, name) for tool in load().all() for name in tool.run.contacts.hosts]
#: Every parameter that chooses peers by a URL.
URLS = [
    (tool, name)
    for tool in load().all()
    for name in tool.run.contacts.proxied
    if name not in ("kubeconfig", "config_dir")
]
KUBECONFIGS = [tool for tool in load().all() if "kubeconfig" in tool.run.contacts.proxied]


def call_of(tool: Tool, name: str, host: str) -> Invocation | list[Problem]:
    """The tool's own example with one parameter set to a host, in the form that it takes."""
    given = {**tool.example.parameters, name: f"tcp://{host}:2375" if name == "engine" else host}
    if tool.name == "openssl":
        given["action"] = "connect"
    if tool.name == "az_storage" and name == "connection_string":
        given = {key: value for key, value in given.items() if key != "account_key"}
        given[name] = f"BlobEndpoint={host};AccountName=x;AccountKey=eA=="
    given.pop("socket", None)
    return bind(tool, given)


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


def checked_here(invocation: Invocation, **changed: Any) -> contacts.Checked | Failure:
    async def inside() -> contacts.Checked | Failure:
        strict = {"allow_private_addresses": False, "network_scope": ""}
        opened = Resources(settings(**{**strict, **changed}))
        try:
            return await contacts.checked(invocation, Run(opened, invocation).context, here=True)
        finally:
            await opened.close()

    return asyncio.run(inside())


def refusal(invocation: Invocation) -> str | None:
    found = checked_here(invocation)
    return found.error_class if isinstance(found, Failure) else None


def reached_env(invocation: Invocation) -> dict[str, str]:
    found = checked_here(invocation)
    assert isinstance(found, contacts.Checked)
    return found.invocation.env


def echoed(invocation: Invocation) -> Invocation:
    """The same call of a program that only prints its arguments."""
    return replace(invocation, argv=("/bin/echo", *invocation.argv[1:]), parser="field:text")


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
    assert named == (["localhost"] if stated.name_option is not None else [])


@pytest.mark.parametrize(("tool", "name"), URLS, ids=lambda item: getattr(item, "name", item))
def test_inner_urls_are_refused_before_the_program_starts(tool: Tool, name: str) -> None:
    assert {item.name for item, _ in URLS} >= {"aws", "gcloud_compute", "helm_install"}
    for host in REFUSED.split():
        written = f"[{host}]" if ":" in host else host
        invocation = call_of(tool, name, f"http://{written}:8080/a")
        if not isinstance(invocation, Invocation):
            continue
        outcome = outcome_of(echoed(invocation))
        assert isinstance(outcome, Failure), host
        assert outcome.error_class == "refused_address", (host, outcome)


@pytest.mark.parametrize("tool", KUBECONFIGS, ids=lambda item: str(item.name))
def test_a_kubeconfig_of_the_callers_leads_to_checked_servers_only(
    tool: Tool, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    invocation = bind(tool, {**tool.example.parameters, "kubeconfig": str(file)})
    assert isinstance(invocation, Invocation)
    for key, url in [("server", "https://127.0.0.1:6443"), ("proxy-url", "http://10.0.0.1:3128")]:
        file.write_text(f"clusters: [{{name: a, cluster: {{{key}: '{url}'}}}}]")
        assert refusal(invocation) == "refused_address"
    for text in ("a: [", "clusters: 7"):
        file.write_text(text)
        assert refusal(invocation) == "invalid_parameters"
    file.write_text("clusters: [{name: a, cluster: {server: 'https://1.1.1.1:6443'}}]")
    assert refusal(invocation) is None
    both = bind(tool, {**tool.example.parameters, "kubeconfig": f"/nowhere:{tmp_path}/inner"})
    (tmp_path / "inner").write_text("clusters: [{cluster: {server: 'http://[::1]/'}}]")
    if isinstance(both, Invocation):
        assert refusal(both) == "refused_address"
    device = bind(tool, {**tool.example.parameters, "kubeconfig": "/dev/null"})
    if isinstance(device, Invocation):
        assert refusal(device) == "invalid_parameters"


@pytest.mark.parametrize(
    "path", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "/tmp/../dev//stdin", "/dev/./stdin"]
)
@pytest.mark.parametrize("name", ["kubectl", "kubectl_get", "helm"])
def test_the_kubeconfig_of_a_program_is_not_its_standard_input(
    name: str, path: str, tmp_path: Path
) -> None:
    """What is read to check it is another file than what the program gets: a manifest of the plan,
    which can have it start a program."""
    checked = tmp_path / "stdin"
    checked.write_text("clusters: [{name: a, cluster: {server: 'https://1.1.1.1:6443'}}]")
    tool = load().get(name)
    assert tool is not None
    invocation = bind(tool, {**tool.example.parameters, "kubeconfig": path})
    assert isinstance(invocation, Invocation)
    before = os.dup(0)
    try:
        with checked.open() as file:
            os.dup2(file.fileno(), 0)
        assert refusal(invocation) == "invalid_parameters"
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_a_program_that_takes_urls_gets_the_proxy_and_only_then() -> None:
    asked = bound("aws", {"service": "sts", "noun": "caller-identity", "verb": "get"})
    assert "HTTPS_PROXY" not in reached_env(asked)
    elsewhere = bound(
        "aws",
        {"service": "sts", "noun": "caller-identity", "verb": "get",
         "endpoint_url": "https://1.1.1.1/"},
    )  # fmt: skip
    env = reached_env(elsewhere)
    assert env["HTTPS_PROXY"] == env["http_proxy"] == env["all_proxy"]
    assert env["HTTPS_PROXY"].startswith("http://step:")
    assert env["NO_PROXY"] == ""


_TRIES = """
import os, socket, sys, urllib.parse
def says(port, text):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as peer:
            peer.sendall(text)
            return peer.recv(4096).split(b"\\r\\n")[0].decode()
    except OSError as error:
        return "refused"
proxy = urllib.parse.urlsplit(os.environ["HTTP_PROXY"]).port
print(os.getuid(), says(int(sys.argv[1]), b""), says(proxy, b"GET http://a/ HTTP/1.1\\r\\n\\r\\n"),
      sep="|")
"""


@pytest.mark.parametrize("own_user", [True, False])
def test_a_program_with_a_proxy_has_no_other_way_out(tmp_path: Path, own_user: bool) -> None:
    """It does not heed the proxy: a server of this machine is not there for it, the proxy is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(0.1)
        file = tmp_path / "kubeconfig"
        file.write_text("clusters: []")
        definition = load().get("kubectl_get")
        assert definition is not None
        invocation = bind(definition, {"resource": "pods", "kubeconfig": str(file)})
        assert isinstance(invocation, Invocation)
        words = (PYTHON, "-I", "-S", "-c", _TRIES, str(port))
        other = replace(invocation, argv=words, parser="field:text")
        users = set() if own_user else {definition.name}
        outcome = outcome_of(other, root_tools=users, config_folders=str(tmp_path))
        assert isinstance(outcome, Success), outcome
        uid, there, proxy = outcome.output["text"].strip().split("|")
        if os.geteuid() == 0:
            assert (uid != "0") is own_user
        assert proxy == "HTTP/1.1 407 Proxy Authentication Required"
        try:
            server.accept()
        except TimeoutError:
            assert there == "refused"
        else:
            pytest.skip("network namespaces cannot be made here")


@pytest.mark.parametrize("own_user", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_on_loopback_that_the_credentials_name_is_reached(
    tmp_path: Path, host: str, own_user: bool
) -> None:
    """Programs in Go never use a proxy for loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        port, file = server.getsockname()[1], tmp_path / "kubeconfig"

        def serve() -> None:
            with server.accept()[0] as peer:
                assert peer.recv(100) == b"GET http://a/ HTTP/1.1\r\n\r\n"
                peer.sendall(b"reached\r\n")

        served = threading.Thread(target=serve)
        served.start()
        file.write_text(f"clusters: [{{name: a, cluster: {{server: 'https://{host}:{port}'}}}}]")
        invocation = bound("kubectl_get", {"resource": "pods", "kubeconfig": str(file)})
        program = (PYTHON, "-I", "-S", "-c", _TRIES.replace("proxy = ", f"proxy = {port} or "), "1")
        outcome = outcome_of(
            replace(invocation, argv=program, parser="field:text"),
            root_tools=set() if own_user else {"kubectl_get"}, allow_private_addresses=True,
            config_folders=str(tmp_path),
        )  # fmt: skip
        served.join(30)
        assert isinstance(outcome, Success), outcome
        assert outcome.output["text"].strip().split("|")[1:] == ["refused", "reached"]


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
    assert reached.invocation.argv.count("-servername") == 1


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
