"""Hosts of the inside and targets beyond the scope, for every tool, in a namespace with a trap:
no packet leaves. The namespace has a default route, so that whatever is sent can be seen."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.integration.corpus_inside import REDIRECTING
from tests.tools.netns import need

ROOT = Path(__file__).parents[2]


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A network namespace whose every address is reached over a device that leads nowhere."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    need("ip", "iproute2")
    name = f"rs-{secrets.token_hex(3)}-trap"
    made = _run("ip", "netns", "add", name)
    if made.returncode != 0:
        pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
    try:
        inside = ("ip", "-n", name)
        for argv in (
            ("link", "set", "lo", "up"),
            ("link", "add", "trap0", "type", "veth", "peer", "name", "trap1"),
            ("addr", "add", "198.18.7.1/24", "dev", "trap0"),
            # Without ARP, so that packets leave for neighbours who do not exist.
            ("link", "set", "trap0", "arp", "off", "up"),
            ("link", "set", "trap1", "up"),
            ("route", "add", "default", "dev", "trap0"),
            ("addr", "add", f"{REDIRECTING}/32", "dev", "lo"),
        ):
            done = _run(*inside, *argv)
            if done.returncode != 0:
                pytest.skip(f"ip {' '.join(argv)}: {done.stderr.strip()}")
        _run(*inside, "-6", "addr", "add", "fd00:7::1/64", "dev", "trap0", "nodad")
        _run(*inside, "-6", "route", "add", "default", "dev", "trap0")
        yield name
    finally:
        _run("ip", "netns", "del", name)


def inside(namespace: str, what: str) -> tuple[dict[str, Any], list[list[str]]]:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-W", "ignore", "-m",
         "tests.integration.corpus_inside", what],
        capture_output=True, text=True, timeout=400, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3_000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["found"], answer["packets"]


def test_the_trap_sees_what_is_sent_where_it_is_allowed(namespace: str) -> None:
    found, packets = inside(namespace, "control")
    targets = {target for _, target in packets}
    assert {"127.0.0.1", "10.0.0.1"} <= targets, found


def test_no_tool_sends_anything_to_the_inside(namespace: str) -> None:
    found, packets = inside(namespace, "addresses")
    assert packets == []
    assert set(found) <= {"refused_address", "invalid_parameters", "unreachable"}, found
    assert found["refused_address"] > 2_000


def test_metadata_services_are_out_of_reach_where_inner_addresses_are_allowed(
    namespace: str,
) -> None:
    found, packets = inside(namespace, "metadata")
    assert packets == []
    logins = found.pop("logins")
    assert set(found) <= {"refused_address", "invalid_parameters", "unreachable"}, found
    assert set(logins) <= {"refused_address", "invalid_parameters"}, logins
    assert found["refused_address"] > 500
    assert logins["refused_address"] > 60


def test_a_redirect_of_an_allowed_server_leads_nowhere_else(namespace: str) -> None:
    found, packets = inside(namespace, "redirects")
    assert {target for _, target in packets} == {REDIRECTING}
    assert found["curl refused_address"] > 40
    assert not [name for name in found if name.endswith(" success")], found
    # Of some spellings the HTTP library itself says that they are no address.
    assert found["webhook_sender http_status"] > 40


def test_no_probe_sends_a_packet_beyond_the_scope(namespace: str) -> None:
    found, packets = inside(namespace, "probes")
    # In place of the programs one runs that takes their numbers for addresses, too: 53 is 0.0.0.53.
    assert {to for _, to in packets if not to.startswith("0.")} == {"198.18.7.2"}, found
    assert found["inside success"] >= 10
    refused = {"out_of_scope", "refused_address", "invalid_parameters", "unreachable"}
    assert {name.partition(" ")[2] for name in found if name.startswith("beyond")} <= refused, found
    assert found["beyond out_of_scope"] > 120


def test_a_name_that_changes_after_the_check_leads_nowhere(namespace: str) -> None:
    """What was checked is a public address, and that is where packets go, if anywhere."""
    found, packets = inside(namespace, "rebinding")
    assert {target for _, target in packets if target != "127.0.0.1"} <= {"1.1.1.1"}
    # The proxy is on loopback, and connects nowhere there: port 8080 gets no packet of ours.
    for tool in ("aws", "kubectl_get"):
        assert found[tool] in ("refused_address", "program_missing"), found


def test_no_scan_sends_a_packet_beyond_its_scope(namespace: str) -> None:
    found, packets = inside(namespace, "scans")
    for name, outcome in found.items():
        if name.startswith("inside"):
            assert outcome in ("success", "program_missing"), found
        else:
            assert outcome in ("out_of_scope", "invalid_parameters", "unreachable"), (name, outcome)
    scope = ip_network("198.18.7.0/29")
    beyond = [
        pair for pair in packets
        if ip_address(pair[1]) not in scope and pair[1] != "127.0.0.1"
    ]  # fmt: skip
    assert beyond == []
