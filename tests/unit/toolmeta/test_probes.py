"""Programs that probe the network: which ones they are, and what the scope and the rate read."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.rates import DEFAULTS
from tests.unit.toolmeta.samples import BASE, running, sample
from toolmeta.bind import bind
from toolmeta.definitions import CatalogueError
from toolmeta.invocation import Invocation
from toolmeta.registry import load

PROBES = {"dig", "host", "nslookup", "openssl", "pg_isready", "ping", "traceroute"}


def test_every_program_that_probes_says_so_and_shares_one_rate() -> None:
    assert {tool.name for tool in load().all() if tool.run.contacts.probe} == PROBES
    (rate,) = [one for one in DEFAULTS if one.name == "probes"]
    assert set(rate.tools) == PROBES
    assert rate.per == () and not rate.by_receiver


def test_a_program_of_the_network_domain_that_is_sent_to_a_host_is_a_probe() -> None:
    run = {**BASE["run"], "contacts": {"hosts": ["path"]}}
    with pytest.raises(CatalogueError, match="a program of the network domain"):
        sample(domain="network", run=run)


@pytest.mark.parametrize(
    ("contacts", "said"),
    [
        ({"probe": True}, "a probe names the hosts that it asks"),
        ({"hosts": ["path"], "probed_ports": [1, 2]}, "only a probe has probed_ports"),
        ({"hosts": ["path"], "probe": True, "probed_ports": [2, 1]}, "beyond the last one"),
    ],
)
def test_what_a_probe_states_must_have_an_effect(contacts: dict[str, Any], said: str) -> None:
    with pytest.raises(CatalogueError, match=said):
        running(contacts=contacts)


@pytest.mark.parametrize(
    ("tool", "parameters", "ports"),
    [
        ("ping", {"target": "10.1.2.3"}, ()),
        ("traceroute", {"target": "10.1.2.3"}, ((33434, 34073),)),
        ("dig", {"name": "a.example", "server": "10.1.2.3"}, ((53, 53),)),
        ("openssl", {"server": "10.1.2.3", "port": 8443}, ((8443, 8443),)),
        ("pg_isready", {"server": "10.1.2.3:22"}, ((22, 22), (5432, 5432))),
    ],
)
def test_the_ports_that_a_probe_asks(tool: str, parameters: Any, ports: Any) -> None:
    definition = load().get(tool)
    assert definition is not None
    found = bind(definition, parameters)
    assert isinstance(found, Invocation)
    (contact,) = found.contacts.hosts
    assert found.contacts.probe
    assert found.contacts.ports_of(contact) == ports
