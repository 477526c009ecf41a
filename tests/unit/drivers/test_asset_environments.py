"""Which hosts a step names, and what follows where one of them is stricter than the plan."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg_pool import PoolTimeout

from drivers.asset_environments import HOST_PARAMETERS, named_hosts, refusal
from drivers.context import Failure
from drivers.databases import inventory
from drivers.resources import Resources
from tests.driver_kit import Run, command, settings
from toolmeta import registry
from toolmeta.invocation import Invocation
from toolmeta.model import Tool

#: The target of a step that is no host: network interfaces, and what the asset driver checks.
NO_HOSTS = {"interface", "hostname", "asset_id", "ip_address"}


def named(host: str | None = None, assets: list[str] | None = None, **parameters: Any) -> set[str]:
    given = command(parameters=parameters, assets=assets)
    return named_hosts(Invocation("any", "command", host=host), given)


@pytest.mark.parametrize("tool", registry.load().all(), ids=lambda tool: tool.name)
def test_every_parameter_that_is_a_target_is_read_as_hosts(tool: Tool) -> None:
    for name in {*tool.target, *tool.targets} - NO_HOSTS:
        shape = tool.parameters.get(name)
        aliases = set(shape.aliases) if shape is not None else set()
        assert {name, *aliases} <= HOST_PARAMETERS


@pytest.mark.parametrize(
    "written",
    [
        *("web-01", "WEB-01", "web-01.", " web-01 ", "web-01:22", "root@web-01", "root@web-01:22"),
        *("https://web-01", "https://web-01:8443/a?b=c", "http://me:pw@Web-01./"),
        *("http://other@web-01/", "http://%77eb-01/", "\uff57eb-01", "http://web-01\\@x/"),
        *("mongodb://u:p@web-01:27017/db", "ssh://web-01"),
    ],
)
def test_every_spelling_of_a_host_is_the_same_host(written: str) -> None:
    assert "web-01" in named(host=written)
    assert "web-01" in named(server=written)
    assert "web-01" in named(targets=["db-01", written])
    assert "web-01" in named(assets=[written])


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:22", "192.0.2.7"),
        ("192.0.2.0/28", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[2001:DB8:0::7]:22", "2001:db8::7"),
        ("http://[2001:db8::7]/", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("db-01:5432,192.0.2.7:5432", "192.0.2.7"),
    ],
)
def test_addresses_are_in_the_form_of_the_inventory(written: str, address: str) -> None:
    assert address in named(host=written)


def test_a_url_is_found_wherever_it_stands() -> None:
    assert named(options={"deep": ["https://web-01/x"]}) == {"web-01"}
    assert named(text="see https://web-01/x", path="web-01") == set()


def test_this_machine_is_not_looked_up() -> None:
    assert named(host="localhost", url="http://127.0.0.1:80", server="::1") == set()


class FakeInventory:
    """One asset of prod; what it was asked for."""

    def __init__(
        self,
        names: set[str],
        stored: dict[str, list[str]] | None = None,
        jumps: dict[str, Any] | None = None,
    ) -> None:
        self.names, self.stored, self.jumps, self.asked = names, stored or {}, jumps or {}, 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        self.asked += 1
        yield self

    async def select(
        self, _: Any, tenant: str, filters: dict[str, Any], limit: int, offset: int
    ) -> list[dict[str, Any]]:
        name = filters["hostname"]
        if name not in self.jumps:
            return []
        return [{"hostname": name, "metadata": {"connection": {"jump": self.jumps[name]}}}]

    async def addresses(self, _: Any, tenant: str, hostnames: list[str]) -> list[str]:
        return [one for name in hostnames for one in self.stored.get(name, [])]

    async def first_outside(
        self, _: Any, tenant: str, environments: list[str], names: list[str]
    ) -> dict[str, Any] | None:
        outside = "prod" not in environments and self.names & set(names)
        return {"hostname": "web-01", "environment": "prod"} if outside else None


def refused(
    fake: FakeInventory,
    monkeypatch: pytest.MonkeyPatch,
    resolves: dict[str, str] | None = None,
    driver: str = "command",
    **changed: Any,
) -> Failure | None:
    def resolve(host: str, *rest: Any, **options: Any) -> list[Any]:
        if host not in (resolves or {}):
            raise socket.gaierror(host)
        return [(socket.AF_INET, 1, 6, "", ((resolves or {})[host], 0))]

    async def checked() -> Failure | None:
        resources = Resources(settings(assets_database_url="postgresql://h/d"))

        async def pool() -> Any:
            return fake

        monkeypatch.setattr(resources, "database", pool)
        given = changed.get("parameters", {})
        host = given.get("host") if driver in ("command", "winrm") else None
        invocation = Invocation("any", driver, host=host, arguments=given)
        return await refusal(invocation, Run(resources, invocation, command(**changed)).context)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(inventory, "select", fake.select)
    monkeypatch.setattr(inventory, "addresses", fake.addresses)
    monkeypatch.setattr(inventory, "first_outside", fake.first_outside)
    return asyncio.run(checked())


@pytest.mark.parametrize("planned", ["dev", "staging"])
def test_a_stricter_asset_stops_the_step(planned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, given = FakeInventory({"web-01"}), {"host": "Web-01:22"}
    found = refused(fake, monkeypatch, parameters=given, environment=planned)
    assert found is not None
    assert (found.error_class, found.transient) == ("environment", False)
    assert "web-01 belongs to prod" in found.message
    assert f"environment is {planned}" in found.message
    assert "`environment: prod`" in found.message


def test_an_asset_that_is_only_named_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = refused(FakeInventory({"web-01"}), monkeypatch, assets=["web-01"])
    assert found is not None and found.error_class == "environment"


@pytest.mark.parametrize("host", ["alias.example.org", "3221225991", "0xc0.0.2.7"])
def test_what_resolves_to_the_address_of_an_asset_is_the_asset(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, resolves = FakeInventory({"192.0.2.7"}), {host: "192.0.2.7"}
    found = refused(fake, monkeypatch, resolves, parameters={"host": host})
    assert found is not None and found.error_class == "environment"


def test_an_asset_of_dev_at_the_address_of_one_of_prod_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeInventory({"192.0.2.7"}, {"harmless": ["hop.example.org"]})
    resolves = {"hop.example.org": "192.0.2.7"}
    found = refused(fake, monkeypatch, resolves, parameters={"host": "harmless"})
    assert found is not None and found.error_class == "environment"


@pytest.mark.parametrize(
    ("jump", "resolves"),
    [
        ("Web-01.:2222", {}),
        (["inner", "web-01"], {}),
        (["bastion.example.org"], {"bastion.example.org": "192.0.2.7"}),
        (["192.0.2.7"], {}),
    ],
)
@pytest.mark.parametrize("named", [{"parameters": {"host": "DEV-01.:22"}}, {"assets": ["dev-01"]}])
def test_a_jump_host_that_only_the_inventory_names_counts_too(
    named: dict[str, Any], jump: Any, resolves: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeInventory({"web-01", "192.0.2.7"}, jumps={"dev-01": jump})
    found = refused(fake, monkeypatch, resolves, **named)
    assert found is not None and found.error_class == "environment"


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": {"host": "dev-01"}, "connection": {"jump": []}},
        {"parameters": {"host": "dev-01"}, "connection": {"jump": ["harmless"]}},
        {"parameters": {"url": "http://dev-01/"}, "driver": "http"},
        {"parameters": {"host": "dev-02"}, "assets": ["dev-01"]},
    ],
    ids=["none instead", "another one instead", "no SSH", "a host goes before an asset"],
)
def test_a_jump_host_that_is_not_gone_through_does_not_count(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeInventory({"web-01"}, jumps={"dev-01": ["web-01"]})
    assert refused(fake, monkeypatch, **changed) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": {"host": "web-01"}, "environment": "prod"},
        {"parameters": {"path": "/"}},
        {"parameters": {"hostname": "web-01"}, "driver": "asset"},
    ],
    ids=["plan of prod", "names no host", "the driver checks it"],
)
def test_the_inventory_is_not_asked_without_need(
    changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeInventory({"web-01"})
    assert refused(fake, monkeypatch, **changed) is None
    assert fake.asked == 0


def test_a_host_that_is_no_asset_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeInventory({"web-01"})
    assert refused(fake, monkeypatch, parameters={"host": "web-02"}) is None
    assert fake.asked


@pytest.mark.parametrize("targets", [["10.0.0.0/8"], [f"web-{n}" for n in range(257)]])
def test_more_than_can_be_looked_up_is_refused(
    targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = refused(FakeInventory(set()), monkeypatch, parameters={"targets": targets})
    assert found is not None and found.error_class == "invalid_parameters"


def test_an_inventory_that_does_not_answer_stops_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(FakeInventory):
        async def addresses(self, _: Any, tenant: str, hostnames: list[str]) -> list[str]:
            raise PoolTimeout("secret host name")

    found = refused(Away(set()), monkeypatch, parameters={"host": "web-01"})
    assert found is not None and (found.error_class, found.transient) == ("unreachable", True)
    assert "secret" not in found.message
