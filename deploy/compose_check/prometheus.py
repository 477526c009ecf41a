"""What the Prometheus of compose.yaml sees of the processes."""

from __future__ import annotations

import time
from typing import Final

import httpx

from deploy.compose_check.commands import CheckFailed
from deploy.compose_check.project import Project

_SECONDS: Final = 60.0


def scrapes(project: Project) -> None:
    """Wait until every target is up; then every alert rule must have been evaluated well."""
    address = f"http://127.0.0.1:{project.port('PROMETHEUS_PORT')}/api/v1"
    deadline = time.monotonic() + _SECONDS
    while True:
        targets = httpx.get(f"{address}/targets", timeout=20).json()["data"]["activeTargets"]
        down = {one["labels"]["instance"]: one["lastError"] for one in targets
                if one["health"] != "up"}  # fmt: skip
        if targets and not down:
            break
        if time.monotonic() > deadline:
            raise CheckFailed(f"not scraped: {down}")
        time.sleep(1)
    groups = httpx.get(f"{address}/rules", timeout=20).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    wrong = [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] == "err"]
    if not rules or wrong:
        raise CheckFailed(f"{len(rules)} rules are loaded; not evaluated: {wrong}")
    print(f"    {len(targets)} targets are up, {len(rules)} rules are loaded")
