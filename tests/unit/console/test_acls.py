"""What `runstream topics acls` writes for the users that it makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.acls import options_of
from console.cli import main
from console.exits import Exit
from runtime.settings import CommonSettings

CALLER: dict[str, str | int | float | bool] = {
    "security.protocol": "sasl_ssl",
    "sasl.mechanisms": "PLAIN",
    "sasl.username": "root",
    "sasl.password": "of-root",
    "ssl.ca.location": "/etc/ca.pem",
    "ssl.key.pem": "the key of root",
    "ssl.certificate.location": "/etc/root.pem",
    "socket.keepalive.enable": True,
}


def test_a_user_gets_nothing_that_proves_who_made_it() -> None:
    settings = CommonSettings(kafka_options=dict(CALLER))
    assert options_of(settings, "sink", "of-the-sink") == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "sink",
        "sasl.password": "of-the-sink",
        "ssl.ca.location": "/etc/ca.pem",
        "socket.keepalive.enable": True,
    }


def test_without_tls_a_user_logs_in_over_plain_tcp() -> None:
    options = options_of(CommonSettings(), "sink", "of-the-sink")
    assert options["security.protocol"] == "SASL_PLAINTEXT"


def test_users_without_a_cluster_to_make_them_on_are_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["topics", "acls", "--users", str(tmp_path / "users")]) == Exit.USAGE
    assert "--users needs --apply" in capsys.readouterr().err
    assert not (tmp_path / "users").exists()
