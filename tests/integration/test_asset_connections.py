"""The login in an asset's connection: who may store one, and where its secret may go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Outcome, Success
from drivers.resources import Resources
from drivers.secret_config import config_of
from drivers.secret_resolver import Resolver
from sinks.migrate import migrate
from tests.certificates import Authority
from tests.driver_kit import Run, command, settings
from tests.fakes.psrp import security
from tests.fakes.psrp.server import FakeWindows
from tests.secret_kit import secret_file
from tests.tools.windows.kit import Lab, bound
from toolmeta.secret_references import pointers

Step = Callable[..., Outcome]
REFERENCE = {"type": "secret", "path": "file/winrm"}


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    made = Lab(Authority(tmp_path), [])
    yield made
    for host in made.made:
        host.close()


@pytest.fixture
def step(database: str, lab: Lab, tmp_path: Path) -> Step:
    """Runs one step on an inventory, with the secret; `recorded` is as the router recorded it."""
    migrate(database)
    folder = tmp_path / "secrets"
    folder.mkdir()
    secret_file(folder, "winrm", security.PASSWORD)
    rules = tmp_path / "rules.yaml"
    rules.touch(mode=0o600)

    def run(
        tool: str,
        recorded: tuple[str, ...] | None = None,
        destinations: str = "['*']",
        **parameters: Any,
    ) -> Outcome:
        rules.write_text(f"rules: [{{id: one, effect: allow, destinations: {destinations}}}]\n")
        paths = pointers(parameters) if recorded is None else recorded

        async def inside() -> Outcome:
            given = settings(
                assets_database_url=database,
                secrets_dir=str(folder),
                secrets_policy=str(rules),
                winrm_ca_file=str(lab.authority.ca_file),
            )
            resources = Resources(given, Resolver(config_of(given, {})))
            try:
                made = command(tool=tool, parameters=parameters, secret_paths=paths)
                return await Run(resources, bound(tool, parameters), made).outcome()
            finally:
                await resources.close()

        return asyncio.run(inside())

    return run


def connection(host: FakeWindows, **changed: Any) -> dict[str, Any]:
    """One that leads to the fake host, as an attacker or the operator would write it."""
    return {
        "connection": {
            "type": "powershell", "address": "127.0.0.1", "port": host.port, "auth": "basic",
            "tls": True, "user": security.USER, "password": REFERENCE, **changed,
        }
    }  # fmt: skip


def test_what_rendering_made_never_becomes_a_login(step: Step, lab: Lab) -> None:
    host = lab.host()
    assert isinstance(step("asset_create", hostname="web-01", ip_address="192.0.2.7"), Success)
    for tool, name in (("asset_update", "web-01"), ("asset_create", "web-02")):
        refused = step(tool, recorded=(), hostname=name, metadata=connection(host))
        assert isinstance(refused, Failure) and refused.error_class == "invalid_parameters"
        assert "metadata.connection.password" in refused.message
    # Without its login, the connection leads to the host, and nothing of a secret goes there.
    stored = connection(host, password=None)
    assert isinstance(step("asset_update", hostname="web-01", metadata=stored), Success)
    after = step("test_path", host="web-01", path="C:\\a")
    assert isinstance(after, Failure) and after.error_class == "not_configured"
    assert bytes(host.wire) == b""


def test_a_login_goes_where_the_rules_know_both_name_and_address(step: Step, lab: Lab) -> None:
    host = lab.host()
    made = step("asset_create", hostname="web-01", metadata=connection(host))
    assert isinstance(made, Success), made
    for rule in ("[web-01]", "['127.0.0.*']"):
        denied = step("test_path", destinations=rule, host="web-01", path="C:\\a")
        assert isinstance(denied, Failure) and denied.error_class == "secret_denied", denied
    assert bytes(host.wire) == b""
    found = step("test_path", destinations="[web-01, '127.0.0.*']", host="web-01", path="C:\\a")
    assert isinstance(found, Success), found
    assert len(host.calls) == 1


def test_a_stored_login_stays_with_its_host(step: Step, lab: Lab) -> None:
    login = connection(lab.host())
    assert isinstance(step("asset_create", hostname="web-01", metadata=login), Success)
    for change in ({"ip_address": "192.0.2.66"}, {"new_hostname": "evil.example.org"}):
        refused = step("asset_update", hostname="web-01", **change)
        assert isinstance(refused, Failure), refused
        assert "needs the right admin" in refused.message
        stated = step("asset_update", hostname="web-01", **change, metadata=login)
        assert isinstance(stated, Success), stated
    kept = step("asset_update", hostname="evil.example.org", metadata={"rack": 3})
    assert isinstance(kept, Success)
    assert kept.output["asset"]["metadata"] == {"rack": 3, **login}
    gone = step("asset_update", hostname="evil.example.org", metadata={"connection": None})
    assert isinstance(gone, Success) and gone.output["asset"]["metadata"] == {}
