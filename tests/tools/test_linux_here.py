"""Programs of this machine, run through the whole system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tools.conftest import Execute


@pytest.mark.parametrize(
    ("tool", "parameters", "field"),
    [
        ("df", {"path": "/"}, "use_percent"),
        ("du", {"path": "/etc/ssl"}, None),
        ("ps", {}, "processes"),
        ("free", {}, None),
        ("uptime", {}, None),
        ("uname", {}, None),
        ("hostname", {}, None),
        ("id", {}, None),
        ("whoami", {}, None),
        ("ls", {"path": "/etc"}, None),
        ("cat", {"path": "/etc/hostname"}, None),
        ("head", {"path": "/etc/passwd"}, None),
        ("tail", {"path": "/etc/passwd"}, None),
        ("grep", {"pattern": "root", "path": "/etc/passwd"}, None),
        ("find", {"path": "/etc/ssl", "name": "*.cnf"}, None),
        ("sort", {"path": "/etc/passwd"}, None),
        ("cut", {"path": "/etc/passwd", "delimiter": ":", "fields": "1"}, None),
        ("ss", {}, None),
        ("ip", {}, None),
    ],
)
def test_it_runs(
    execute: Execute, tool: str, parameters: dict[str, Any], field: str | None
) -> None:
    result = execute(tool, parameters)
    assert result.status == "succeeded", result
    assert result.output
    if field is not None:
        assert field in result.output


def test_it_changes_what_it_should(execute: Execute, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("x")
    assert execute("chmod", {"path": str(target), "mode": "0600"}).status == "succeeded"
    assert target.stat().st_mode & 0o777 == 0o600
