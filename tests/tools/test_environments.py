"""A plan and the assets of a stricter environment, through the whole system that serves `dev`."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.tools.conftest import Execute


@pytest.fixture
def stricter(execute: Execute) -> dict[str, str]:
    """An asset of prod in the inventory of a tenant of its own, by its name and its addresses."""
    tenant, name = f"t-{uuid.uuid4().hex[:12]}", f"web-{uuid.uuid4().hex[:8]}.example.org"
    connection = {"address": f"in-{name}", "user": "root"}
    made = execute(
        "asset_create",
        {
            "hostname": name, "ip_address": "203.0.113.77", "environment": "production",
            "metadata": {"connection": connection},
        },
        tenant=tenant,
    )  # fmt: skip
    assert made.status == "succeeded", made
    return {"tenant": tenant, "name": name}


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("df", {"path": "/", "host": "{name}"}),
        ("df", {"path": "/", "host": "{NAME}.:2222"}),
        ("df", {"path": "/", "host": "in-{name}"}),
        ("df", {"path": "/", "host": "203.0.113.77"}),
        ("df", {"path": "/", "host": "::ffff:203.0.113.77"}),
        ("ping", {"target": "203.0.113.77"}),
        ("curl", {"url": "http://{NAME}:8080/x"}),
        ("asset_update", {"hostname": "{NAME}", "environment": "dev"}),
        ("asset_delete", {"hostname": "{name}", "confirm": True}),
    ],
)
def test_a_plan_does_not_act_on_an_asset_that_is_stricter(
    execute: Execute, stricter: dict[str, str], tool: str, parameters: dict[str, Any]
) -> None:
    name = stricter["name"]
    given = {
        field: value.format(name=name, NAME=name.upper()) if isinstance(value, str) else value
        for field, value in parameters.items()
    }
    result = execute(tool, given, tenant=stricter["tenant"])
    assert (result.status, result.error_class) == ("failed", "environment"), result
    assert f"{name} belongs to prod" in result.error["message"]
    assert "environment is dev" in result.error["message"]
    assert result.error["transient"] is False
    asset = execute("asset_query", {"hostname": name}, tenant=stricter["tenant"])
    assert [one["environment"] for one in asset.output["assets"]] == ["prod"]


def test_an_asset_that_is_named_and_not_used_counts(
    execute: Execute, stricter: dict[str, str]
) -> None:
    named = [stricter["name"].upper()]
    result = execute("uptime", tenant=stricter["tenant"], assets=named)
    assert (result.status, result.error_class) == ("failed", "environment"), result


def test_an_asset_belongs_where_its_plan_does_unless_it_says_so(execute: Execute) -> None:
    tenant = f"t-{uuid.uuid4().hex[:12]}"
    made = execute("asset_create", {"hostname": "web-01"}, tenant=tenant)
    assert made.output["asset"]["environment"] == "dev"
    raised = execute("asset_update", {"hostname": "web-01", "environment": "prod"}, tenant=tenant)
    assert raised.status == "succeeded", raised
    lowered = execute("asset_update", {"hostname": "web-01", "environment": "dev"}, tenant=tenant)
    assert lowered.error_class == "environment"
