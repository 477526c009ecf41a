"""The inventory through the whole system, on the real Postgres of the test stack."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest

from tests.harness import Harness
from tests.tools.conftest import Execute, Result


class Inventory:
    """The asset tools for one tenant, whose names nobody else uses."""

    def __init__(self, execute: Execute, tenant: str) -> None:
        self._execute = execute
        self.tenant = tenant

    def run(self, verb: str, **parameters: Any) -> Result:
        return self._execute(f"asset_{verb}", parameters, tenant=self.tenant)

    def __call__(self, verb: str, **parameters: Any) -> dict[str, Any]:
        result = self.run(verb, **parameters)
        assert result.status == "succeeded", result
        return result.output

    def refused(self, verb: str, **parameters: Any) -> str:
        result = self.run(verb, **parameters)
        assert result.status == "failed", result
        assert result.error["transient"] is False
        return result.error_class


@pytest.fixture
def inventory(execute: Execute) -> Inventory:
    return Inventory(execute, f"t-{uuid.uuid4().hex[:12]}")


def test_an_asset_lives(inventory: Inventory) -> None:
    facts: dict[str, Any] = {
        "ip_address": "192.0.2.10", "asset_type": "server", "os_type": "linux", "os_version": "12",
        "tags": {"role": "web"}, "metadata": {"rack": {"row": 3}},
    }  # fmt: skip
    made = inventory("create", hostname="Web-01.example.org", **facts)
    assert made["created"] is True
    asset = made["asset"]
    assert {name: asset[name] for name in facts} == facts
    assert (asset["hostname"], asset["version"]) == ("web-01.example.org", 1)

    # The same again changes nothing; other facts under the same name are not taken silently.
    again = inventory("create", hostname="web-01.example.org", **facts)
    assert again == {"created": False, "asset": asset}
    other = inventory.run("create", hostname="web-01.example.org", os_version="13")
    assert other.error_class == "conflict"
    assert "os_version" in other.error["message"]

    number = asset["asset_id"]
    changed = inventory("update", asset_id=number, status="maintenance", os_version="13", version=1)
    assert (changed["changed"], changed["updated"]) == (["os_version", "status"], True)
    assert (changed["asset"]["version"], changed["asset"]["tags"]) == (2, {"role": "web"})
    # A repetition of the same attempt is no conflict, but another change on the old version is.
    same = inventory("update", asset_id=number, status="maintenance", version=1)
    assert (same["updated"], same["changed"]) == (False, [])
    assert inventory.refused("update", asset_id=number, status="active", version=1) == "conflict"
    wrong = inventory.refused("update", asset_id=number, hostname="db-01", status="active")
    assert wrong == "conflict"

    renamed = inventory("update", hostname="WEB-01.example.org", new_hostname="web-02")
    assert (renamed["asset"]["hostname"], renamed["changed"]) == ("web-02", ["hostname"])
    inventory("create", hostname="web-03")
    taken = inventory.refused("update", hostname="web-03", new_hostname="web-02")
    assert taken == "conflict"

    assert inventory.refused("delete", hostname="web-01.example.org", confirm=True) == "not_found"
    stale = inventory.refused("delete", hostname="web-02", confirm=True, version=1)
    assert stale == "conflict"
    assert inventory("delete", hostname="web-02", confirm=True)["deleted"] is True
    assert [one["hostname"] for one in inventory("list")["assets"]] == ["web-03"]


@pytest.mark.parametrize("parameters", [{}, {"confirm": False}, {"confirm": "true"}])
def test_a_delete_must_be_confirmed(inventory: Inventory, parameters: dict[str, Any]) -> None:
    inventory("create", hostname="web-01")
    with pytest.raises(AssertionError, match="rejected"):
        inventory.run("delete", hostname="web-01", **parameters)
    assert inventory("list")["total"] == 1


@pytest.mark.tried("asset_create", "asset_delete", inputs=("IPv6 peer",))
def test_a_delete_by_address_takes_one_or_none(inventory: Inventory) -> None:
    for name in ("a", "b"):
        inventory("create", hostname=name, ip_address="192.0.2.1")
    inventory("create", hostname="c", ip_address="2001:DB8::0:1")
    assert inventory.refused("delete", ip_address="192.0.2.1", confirm=True) == "conflict"
    gone = inventory("delete", ip_address="2001:db8::1", confirm=True)
    assert gone["asset"]["hostname"] == "c"
    assert inventory("list")["total"] == 2


def test_filters_and_pages(inventory: Inventory) -> None:
    for number in (3, 1, 2, 4):
        inventory(
            "create",
            hostname=f"web-0{number}",
            environment="staging" if number == 4 else "production",
            os_version="12" if number % 2 else "11",
            tags={"role": "web", **({"canary": "yes"} if number == 2 else {})},
        )
    inventory("create", hostname="db-01", environment="production", tags={"role": "db"})
    # The environment of the plan, which is dev here, where an asset names none.
    inventory("create", hostname="lab-01")

    def found(**filters: Any) -> list[str]:
        output = inventory("query", **filters)
        assert output["count"] == output["total"] == len(output["assets"])
        return [asset["hostname"] for asset in output["assets"]]

    assert found(hostname="EB-0") == ["web-01", "web-02", "web-03", "web-04"]
    assert found(hostname="web", os_version="12") == ["web-01", "web-03"]
    assert found(environment="staging", hostname="web") == ["web-04"]
    # Both spellings mean one environment.
    production = ["db-01", "web-01", "web-02", "web-03"]
    assert found(environment="production") == found(environment="prod") == production
    [lab] = inventory("query", environment="dev")["assets"]
    assert (lab["hostname"], lab["environment"]) == ("lab-01", "dev")
    assert found(tags={"role": "db"}) == ["db-01"]
    assert found(tags={"role": "web", "canary": "yes"}) == ["web-02"]
    assert found(tag_names="canary") == ["web-02"]
    assert found(tag_names=["role", "absent"]) == []
    # Wild cards of SQL are ordinary characters here.
    assert found(hostname="web_0") == []

    page = inventory("list", limit=2, offset=1)
    assert [asset["hostname"] for asset in page["assets"]] == ["lab-01", "web-01"]
    assert (page["count"], page["total"], page["offset"]) == (2, 6, 1)
    assert inventory("list", offset=9)["count"] == 0


def test_tenants_do_not_see_each_other(inventory: Inventory, execute: Execute) -> None:
    other = Inventory(execute, f"{inventory.tenant}-other")
    ours = inventory("create", hostname="web-01")["asset"]
    theirs = other("create", hostname="web-01", owner="them")["asset"]
    assert ours["asset_id"] != theirs["asset_id"]
    assert [one["owner"] for one in inventory("query", hostname="web")["assets"]] == [None]
    number = theirs["asset_id"]
    assert inventory("query", asset_id=number)["count"] == 0
    assert inventory.refused("update", asset_id=number, status="x") == "not_found"
    assert inventory.refused("delete", asset_id=number, confirm=True) == "not_found"
    assert other("list")["total"] == 1


def test_many_writers_at_once(inventory: Inventory, harness: Harness) -> None:
    """Side by side, one of the updates from version 1 wins and the others learn that they lost."""
    number = inventory("create", hostname="web-01")["asset"]["asset_id"]
    key = uuid.uuid4().hex
    steps = [
        {"id": f"s{n}", "tool": "asset_update", "depends_on": [], "on_failure": "continue",
         "parameters": {"asset_id": number, "owner": f"o{n}", "version": 1},
         "retry": {"max_attempts": 1}}
        for n in range(8)
    ]  # fmt: skip
    plan = {"steps": steps, "timeout_seconds": 120}
    request = {"idempotency_key": key, "tenant": inventory.tenant, "plan": plan}
    harness.produce(orjson.dumps(request))
    harness.flush()
    (execution,) = harness.wait_ended({key}).values()
    events = harness.log.events[execution]
    won = [event for event in events if event["type"] == "step.succeeded"]
    lost = [event["data"]["error"]["class"] for event in events if event["type"] == "step.failed"]
    assert (len(won), lost) == (1, ["conflict"] * 7)
    asset = inventory("query", asset_id=number)["assets"][0]
    assert (asset["version"], asset["owner"]) == (2, won[0]["data"]["output"]["asset"]["owner"])
