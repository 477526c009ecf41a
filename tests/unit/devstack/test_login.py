"""The broker's settings and what clients are told, without a broker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devstack.errors import LocalStackError
from devstack.kafka_config import BrokerPorts, server_properties
from devstack.login import Login, client_properties, java_properties, new_login, stored_login
from devstack.state import StateFolder

LOGIN = Login("runstream", "kept-from-the-screen")
PORTS = BrokerPorts(15_001, 15_002)


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_no_listener_is_open() -> None:
    found = settings(server_properties(Path("data"), PORTS, LOGIN))
    protocols = dict(pair.split(":") for pair in found["listener.security.protocol.map"].split(","))
    assert set(protocols.values()) == {"SASL_PLAINTEXT"}
    for listener in found["listeners"].split(","):
        assert listener.partition("://")[0] in protocols
        assert "127.0.0.1" in listener
    assert found["listener.name.clients.sasl.enabled.mechanisms"] == "SCRAM-SHA-256"
    assert found["super.users"] == "User:runstream"
    assert "allow.everyone.if.no.acl.found" not in found


def test_the_password_of_the_controller_is_another_one_at_each_start() -> None:
    name = "listener.name.controller.plain.sasl.jaas.config"
    first, second = (
        settings(server_properties(Path("data"), PORTS, LOGIN))[name] for _ in range(2)
    )
    assert first != second
    assert LOGIN.password not in first


def test_kcat_logs_in_by_plain_and_the_owner_never_does() -> None:
    kcat = Login("local-people", "of-this-start")
    found = settings(server_properties(Path("data"), PORTS, LOGIN, kcat))
    assert found["listener.name.clients.sasl.enabled.mechanisms"] == "SCRAM-SHA-256,PLAIN"
    accepted = found["listener.name.clients.plain.sasl.jaas.config"]
    assert accepted.endswith(' required user_local-people="of-this-start";')
    assert LOGIN.password not in accepted
    assert found["super.users"] == "User:runstream"
    told = settings(client_properties("127.0.0.1:15001", kcat))
    assert told == {
        "bootstrap.servers": "127.0.0.1:15001",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "local-people",
        "sasl.password": "of-this-start",
    }


def test_java_and_librdkafka_are_told_the_same() -> None:
    found = settings(java_properties("127.0.0.1:15001", LOGIN))
    options = LOGIN.options()
    assert found["bootstrap.servers"] == "127.0.0.1:15001"
    for name in ("security.protocol", "sasl.mechanism"):
        assert found[name] == options[name]
    user, password = options["sasl.username"], options["sasl.password"]
    assert f'username="{user}" password="{password}"' in found["sasl.jaas.config"]


def test_a_password_does_not_show_where_a_login_is_printed(tmp_path: Path) -> None:
    assert LOGIN.password not in repr(LOGIN)
    assert new_login("a").password != new_login("a").password
    assert stored_login(tmp_path / "none") is None


def test_a_state_folder_that_others_may_write_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    StateFolder(folder).make()
    assert folder.stat().st_mode & 0o777 == 0o711
    assert (folder / "logs").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_state_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 65_534, 65_534)
    with pytest.raises(LocalStackError, match="belongs to another user"):
        StateFolder(folder).make()
