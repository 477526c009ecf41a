"""An attempt begins only with a lock of every name that the inventory has for its assets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg_pool import PoolTimeout

from drivers.context import Failure
from drivers.databases import inventory
from drivers.lock_names import refusal
from drivers.masking import Masker
from drivers.resources import Resources
from processors.executors.masked_output import masked
from tests.driver_kit import Run, command, settings
from toolmeta.invocation import Invocation

WEB = {"asset_id": 17, "hostname": "Web-01.", "ip_address": "192.0.2.10",
       "metadata": {"connection": {"address": None}}}  # fmt: skip


class FakeInventory:
    """These rows, whoever asks; by which names it was asked."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows, self.asked = list(rows), []  # type: ignore[var-annotated]

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        yield self

    async def having(self, _: Any, tenant: str, names: list[str], most: int) -> list[Any]:
        self.asked.append((tenant, names))
        return self.rows[:most]


def refused(
    monkeypatch: pytest.MonkeyPatch, fake: FakeInventory, pool_fails: bool = False, **changed: Any
) -> Failure | None:
    async def checked() -> Failure | None:
        resources = Resources(settings(assets_database_url="postgresql://h/d"))

        async def pool() -> Any:
            if pool_fails:
                raise PoolTimeout
            return fake

        monkeypatch.setattr(resources, "database", pool)
        invocation = Invocation("any", "command")
        return await refusal(invocation, Run(resources, invocation, command(**changed)).context)

    monkeypatch.setattr(inventory, "having", fake.having)
    return asyncio.run(checked())


@pytest.mark.parametrize("named", [{"target": "web-01"}, {"assets": ["WEB-01:22"]}])
def test_a_lock_without_all_names_is_refused_and_the_names_are_said(
    named: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeInventory(WEB)
    found = refused(monkeypatch, fake, fencing_tokens={"web-01": 5, "db-01": 6}, **named)
    assert found is not None
    assert (found.error_class, found.transient) == ("lock_names", False)
    assert "192.0.2.10" in found.message and "17" in found.message
    assert found.output == {"assets": [WEB]}
    assert fake.asked == [("acme", ["web-01"])]


def test_every_host_of_a_list_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeInventory(WEB)
    hosts = {"hosts": ["db-01", "Web-01.:22", "web-02"]}
    tokens = {"web-01": 5, "db-01": 6}
    found = refused(monkeypatch, fake, parameters=hosts, fencing_tokens=tokens)
    assert found is not None and found.error_class == "lock_names"
    assert fake.asked == [("acme", ["db-01", "web-01"])]


def test_many_hosts_are_not_one_name_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"web-{number}" for number in range(200)]
    fake = FakeInventory(*({"asset_id": n + 900, "hostname": h} for n, h in enumerate(names)))
    tokens = dict.fromkeys(names, 5) | {str(n + 900): 5 for n in range(200)}
    given: dict[str, Any] = {"parameters": {"hosts": names}, "fencing_tokens": tokens}
    assert refused(monkeypatch, fake, **given) is None


def test_a_lock_with_all_names_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {"web-01": 5, "192.0.2.10": 5, "17": 5}
    assert refused(monkeypatch, FakeInventory(WEB), target="web-01", fencing_tokens=tokens) is None


def test_what_is_not_in_the_inventory_has_no_further_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(monkeypatch, FakeInventory(), target="a", fencing_tokens={"a": 5}) is None


def test_a_step_that_locks_nothing_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeInventory(WEB)
    assert refused(monkeypatch, fake, target="web-01") is None
    assert fake.asked == []


def test_a_name_that_too_many_assets_have_fails_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{**WEB, "asset_id": number} for number in range(1, 100)]
    given = {"192.0.2.10": 5}
    found = refused(monkeypatch, FakeInventory(*rows), target="192.0.2.10", fencing_tokens=given)
    assert found is not None and found.error_class == "conflict"
    assert "an address of its own" in found.message


def test_an_inventory_that_does_not_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"target": "web-01", "fencing_tokens": {"web-01": 5}}
    found = refused(monkeypatch, FakeInventory(WEB), pool_fails=True, **given)
    assert found is not None and (found.error_class, found.transient) == ("unreachable", True)


def test_the_names_reach_the_router_as_they_are() -> None:
    failure = Failure("lock_names", "further names", output={"assets": [WEB]})
    masker = Masker(("192.0.2.10",))
    assert masked(masker, failure) == failure
    assert masked(masker, Failure("exit_status", "192.0.2.10")) == Failure("exit_status", "***")
