from __future__ import annotations

from typing import Any

import faust
import pytest

from processors.progress.broker import credentials, urls
from runtime.settings import CommonSettings, SettingsError


def settings(**options: Any) -> CommonSettings:
    return CommonSettings(bootstrap_servers="a:9092,b:9093", kafka_options=options)


def test_every_broker_becomes_a_url() -> None:
    assert [str(url) for url in urls(settings())] == ["kafka://a:9092", "kafka://b:9093"]


def test_tuning_options_of_librdkafka_do_not_matter() -> None:
    assert credentials(settings(**{"socket.keepalive.enable": True})) is None


def test_scram_over_tls_is_passed_on() -> None:
    found = credentials(
        settings(
            **{
                "security.protocol": "sasl_ssl",
                "sasl.mechanisms": "SCRAM-SHA-512",
                "sasl.username": "u",
                "sasl.password": "hunter2",
            }
        )
    )
    assert isinstance(found, faust.SASLCredentials)
    assert (found.username, found.password) == ("u", "hunter2")
    assert found.ssl_context is not None


@pytest.mark.parametrize(
    "options",
    [
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"},
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"},
        {"security.protocol": "TLS"},
        {"security.protocol": "SSL", "ssl.ca.location": "/nowhere.pem"},
        {"enable.ssl.certificate.verification": False},
        {"sasl.oauthbearer.method": "oidc"},
    ],
)
def test_security_that_cannot_be_honoured_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="RUNSTREAM_KAFKA_OPTIONS"):
        credentials(settings(**options))
