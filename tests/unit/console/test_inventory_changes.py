"""What an import changes: what the file says counts, and everything else stays."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console.inventory_changes import Changes, changes_of, plans
from console.inventory_files import parse
from console.inventory_model import BadFile, HostFound
from streams.limits import MAX_REQUEST_BYTES
from toolmeta.registry import load

TOOLS = load()
KEY = {"type": "secret", "path": "file/web_key"}


def row(**fields: Any) -> dict[str, Any]:
    return {
        "hostname": "a", "ip_address": None, "asset_type": "server", "status": "active",
        "environment": "dev", "location": None, "owner": None, "os_type": None, "os_version": None,
        "service_type": None, "tags": {}, "metadata": {}, "version": 3, **fields,
    }  # fmt: skip


def changes(text: str, *rows: dict[str, Any], **more: Any) -> Changes:
    stored = {one["hostname"]: one for one in rows}
    return changes_of(parse("ansible-ini", text).hosts, stored, more.get("environment"), TOOLS)


def test_what_the_file_does_not_say_stays() -> None:
    stored = row(
        tags={"role": "web", "group:old": "", "group:web": ""},
        metadata={"rack": 3, "connection": {"user": "root", "key": KEY, "port": 22}},
        owner="ops",
    )
    (one,) = changes("[web]\na ansible_user=deploy\n", stored).changed
    assert one.parameters == {
        "hostname": "a", "version": 3, "tags": {"role": "web", "group:web": ""},
        "metadata": {"rack": 3, "connection": {"user": "deploy", "key": KEY, "port": 22}},
    }  # fmt: skip
    after = row(tags=one.parameters["tags"], metadata=one.parameters["metadata"], owner="ops")
    again = changes("[web]\na ansible_user=deploy\n", after)
    assert (again.all, again.unchanged) == ([], 1)


def test_a_login_moves_with_its_connection_only() -> None:
    stored = row(ip_address="192.0.2.1", metadata={"connection": {"key": KEY}})
    (one,) = changes("a ansible_host=192.0.2.2\n", stored).changed
    assert one.parameters["metadata"] == {"connection": {"key": KEY}}
    (one,) = changes("a ansible_host=192.0.2.2\n", row(ip_address="192.0.2.1")).changed
    assert "metadata" not in one.parameters


def test_a_form_without_groups_leaves_their_tags() -> None:
    hosts = [HostFound("a", 1, {"owner": "ops"})]
    stored = {"a": row(tags={"group:web": ""})}
    (one,) = changes_of(hosts, stored, None, TOOLS).changed
    assert one.parameters == {"hostname": "a", "version": 3, "owner": "ops"}


@pytest.mark.parametrize(
    ("text", "stored", "said"),
    [
        ("\na owner=x\n", row(environment="prod"), "line 2: a is an asset of prod"),
        ("a owner=x ansible_user=u\n", row(metadata={"note": "{{ x }}"}), "holds {{"),
        ("a asset_type='two words'\n", None, "line 1: a: asset_type: "),
        ("a\n" + "".join(f"[g{n}]\na\n" for n in range(101)), None, "line 1: a: tags: "),
    ],
)
def test_what_a_plan_would_not_do_is_refused_before(text: str, stored: Any, said: str) -> None:
    with pytest.raises(BadFile) as error:
        changes(text, *([] if stored is None else [stored]))
    assert said in str(error.value)


def test_an_asset_of_prod_is_changed_by_a_plan_of_prod() -> None:
    found = changes("a owner=x\nb\n", row(environment="staging"), environment="prod")
    assert found.changed[0].parameters["environment"] == "prod"
    (plan,) = plans(found, "prod")
    assert plan["plan"]["environment"] == "prod"
    assert found.new[0].parameters == {"hostname": "b", "environment": "prod"}


def test_two_thousand_hosts_are_plans_that_the_router_takes() -> None:
    found = changes("[web]\nw[0001:2000] owner=" + "x" * 190 + "\n")
    made = list(plans(found, "dev"))
    names = [step["parameters"]["hostname"] for plan in made for step in plan["plan"]["steps"]]
    assert names == [f"w{number:04}" for number in range(1, 2001)]
    assert max(len(json.dumps(plan)) for plan in made) < MAX_REQUEST_BYTES
    assert max(len(plan["plan"]["steps"]) for plan in made) <= 500
