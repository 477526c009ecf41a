"""Hosts from the inventory: a real sshd under the name, port, user and key of an asset."""

from __future__ import annotations

import asyncio
import getpass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from drivers import asset_environments
from drivers.context import Failure, Success
from drivers.resources import Resources
from drivers.secret_config import config_of
from drivers.secret_resolver import Resolver
from sinks.migrate import migrate
from tests.driver_kit import Run, command, settings
from tests.integration.test_drivers_ssh import SSHD, Sshd, running_sshd, sshd
from tests.secret_kit import secret_file
from toolmeta.invocation import Invocation

__all__ = ["sshd"]

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")


@pytest.fixture
def inventory(database: str) -> str:
    """The DSN of a database with an empty inventory."""
    migrate(database)
    return database


def put(dsn: str, hostname: str, tenant: str = "acme", **fields: Any) -> None:
    """An asset, as the asset tools store it."""
    connection = fields.pop("connection", None)
    metadata = {} if connection is None else {"connection": connection}
    with psycopg.connect(dsn) as database:
        database.execute(
            "INSERT INTO execution.assets (tenant, hostname, ip_address, os_type, service_type,"
            " metadata, environment) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (tenant, hostname, fields.get("ip_address"), fields.get("os_type"),
             fields.get("service_type"), Jsonb(metadata), fields.get("environment", "dev")),
        )  # fmt: skip


def attempt(
    server: Sshd, dsn: str, host: str | None, assets: list[str] | None = None, **changed: Any
) -> Any:
    """A program that shows its connection, on a host or asset; the executor has no key itself."""

    async def inside() -> Any:
        given = server.settings(
            assets_database_url=dsn, ssh_key_file=None, ssh_user=None, **changed
        )
        resources = Resources(given, Resolver(config_of(given, {})))
        try:
            run = Run(
                resources,
                Invocation("argv", "command", argv=("sh", "-c", "echo $SSH_CONNECTION"), host=host),
                command(tenant="acme", assets=assets),
            )
            return await run.outcome(), run
        finally:
            await resources.close()

    return asyncio.run(inside())


@pytest.fixture
def login(sshd: Sshd, tmp_path: Path) -> dict[str, Any]:
    """The connection of an asset, and its key as a secret."""
    secret_file(tmp_path, "web-key", (sshd.folder / "client").read_text())
    return {
        "port": sshd.port,
        "user": getpass.getuser(),
        "key": {"type": "secret", "path": "file/web-key"},
    }


def test_by_asset_and_by_host_name(
    sshd: Sshd, inventory: str, login: dict[str, Any], tmp_path: Path
) -> None:
    put(inventory, "web-01", ip_address="127.0.0.1", os_type="linux", connection=login)
    for host, assets in ((None, ["web-01"]), ("WEB-01.", None)):
        outcome, run = attempt(sshd, inventory, host, assets, secrets_dir=str(tmp_path))
        assert isinstance(outcome, Success), outcome
        assert outcome.output["text"].split()[-1] == str(sshd.port)
        # The key is known to the attempt, so it would be masked.
        key = (sshd.folder / "client").read_text()
        assert key.splitlines()[2] not in run.context.masker.text(key)


def test_the_port_of_the_settings(sshd: Sshd, inventory: str, tmp_path: Path) -> None:
    key = {"type": "secret", "path": "file/web-key"}
    secret_file(tmp_path, "web-key", (sshd.folder / "client").read_text())
    stated = {"key": key, "user": getpass.getuser()}
    put(inventory, "web-01", ip_address="127.0.0.1", connection=stated)
    outcome, _ = attempt(sshd, inventory, "web-01", secrets_dir=str(tmp_path), ssh_port=sshd.port)
    assert isinstance(outcome, Success), outcome


def test_through_hosts_of_the_inventory(
    sshd: Sshd, inventory: str, login: dict[str, Any], tmp_path: Path
) -> None:
    """The asset names the hosts on the way; each has its own address, port and login there."""
    (tmp_path / "jump").mkdir()
    with running_sshd(tmp_path / "jump", "LogLevel VERBOSE") as jump:
        secret_file(tmp_path, "jump-key", (jump.folder / "client").read_text())
        key = {"type": "secret", "path": "file/jump-key"}
        way = {"port": jump.port, "user": getpass.getuser(), "key": key}
        put(inventory, "bastion", ip_address="127.0.0.1", connection=way)
        there = {**login, "jump": ["bastion"]}
        put(inventory, "web-01", ip_address="127.0.0.1", os_type="linux", connection=there)
        known = tmp_path / "known"
        known.write_text(
            (sshd.folder / "known_hosts").read_text() + (jump.folder / "known_hosts").read_text()
        )
        given: dict[str, Any] = {"secrets_dir": str(tmp_path), "ssh_known_hosts": str(known)}
        outcome, _ = attempt(sshd, inventory, "web-01", **given)
        assert isinstance(outcome, Success), outcome
        assert outcome.output["text"].split()[-1] == str(sshd.port)
        assert (jump.folder / "log").read_text().count("Accepted publickey") == 1


@pytest.mark.parametrize(("bastion", "planned", "refused"), [
    ("prod", "dev", True), ("prod", "staging", True), ("staging", "dev", True),
    ("prod", "prod", False), ("dev", "dev", False), ("staging", "prod", False),
])  # fmt: skip
def test_hosts_on_the_way_belong_to_the_environment(
    inventory: str, bastion: str, planned: str, refused: bool
) -> None:
    """The plan names `web-01` alone; that it is reached through `bastion` stands in the inventory.

    The check comes before any connection, so that no server is needed.
    """
    put(inventory, "bastion", environment=bastion, ip_address="192.0.2.1")
    # By its address: the asset is found all the same.
    put(inventory, "web-01", ip_address="192.0.2.10", connection={"jump": ["192.0.2.1:2222"]})

    async def checked() -> Failure | None:
        resources = Resources(settings(assets_database_url=inventory))
        try:
            call = Invocation("argv", "command", argv=("true",), host="web-01")
            asked = command(tenant="acme", environment=planned)
            return await asset_environments.refusal(call, Run(resources, call, asked).context)
        finally:
            await resources.close()

    failure = asyncio.run(checked())
    assert (failure is not None) == refused, failure
    if failure is not None:
        assert failure.error_class == "environment"
        assert f"bastion belongs to {bastion}" in failure.message


def test_refusals(sshd: Sshd, inventory: str, login: dict[str, Any], tmp_path: Path) -> None:
    put(inventory, "win-01", ip_address="127.0.0.1", os_type="windows", connection=login)
    put(inventory, "plain", ip_address="127.0.0.1", connection={**login, "key": "the key itself"})
    put(inventory, "odd", ip_address="127.0.0.1", connection={"port": "x"})
    put(inventory, "theirs", tenant="other", ip_address="127.0.0.1", connection=login)

    def refused(host: str | None, assets: list[str] | None = None) -> str:
        outcome, _ = attempt(sshd, inventory, host, assets, secrets_dir=str(tmp_path))
        assert isinstance(outcome, Failure), outcome
        assert "the key itself" not in outcome.message
        return outcome.error_class

    assert refused("win-01") == "invalid_parameters"
    assert refused("plain") == "secret_missing"
    assert refused("odd") == "invalid_parameters"
    assert refused(None, ["absent"]) == "not_found"
    # Another tenant's asset is none of ours.
    assert refused(None, ["theirs"]) == "not_found"
    assert refused(None, ["win-01", "plain"]) == "invalid_parameters"


def test_an_inventory_that_cannot_be_asked_is_said(sshd: Sshd) -> None:
    dsn = f"postgresql://127.0.0.1:{sshd.port}/none"
    outcome, _ = attempt(sshd, dsn, "web-01")
    assert isinstance(outcome, Failure)
    assert (outcome.error_class, outcome.transient) == ("unreachable", True)
