"""From the shared Kafka settings to Faust's: broker addresses and credentials.

Of `RUNSTREAM_KAFKA_OPTIONS`, Faust's client (aiokafka) understands TLS and SASL with PLAIN or
SCRAM. A security option beyond these is refused, since ignoring it would weaken what the
operator has set; options that only tune librdkafka do not concern this process.
"""

from __future__ import annotations

import ssl
from typing import Final

import faust
from faust.types.auth import CredentialsT
from yarl import URL

from runtime.settings import CommonSettings, SettingsError

_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_SECURITY: Final = ("security.", "sasl.", "ssl.", "enable.ssl", "enable.sasl", "https.")
_KNOWN: Final = frozenset(
    {
        "security.protocol",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.password",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.key.location",
        "ssl.key.password",
    }
)


def urls(settings: CommonSettings) -> list[URL]:
    """The brokers in the form in which Faust takes them."""
    return [URL(f"kafka://{server}") for server in settings.bootstrap_servers.split(",")]


def credentials(settings: CommonSettings) -> CredentialsT | None:
    """Faust's credentials; raises SettingsError for what Faust's client cannot do."""
    given = {name.lower(): str(value) for name, value in settings.kafka_options.items()}
    for name in given:
        if name.startswith(_SECURITY) and name not in _KNOWN:
            raise _refused(f"the projector cannot honour {name}")
    protocol = given.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in _PROTOCOLS:
        raise _refused(f"security.protocol must be one of {', '.join(_PROTOCOLS)}")
    context = _context(given) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL"):
        mechanism = given.get("sasl.mechanisms", given.get("sasl.mechanism", "")).upper()
        if mechanism not in _MECHANISMS:
            raise _refused(f"the projector's SASL mechanisms are {', '.join(_MECHANISMS)}")
        result: CredentialsT = faust.SASLCredentials(
            username=given.get("sasl.username"),
            password=given.get("sasl.password"),
            mechanism=mechanism,
            ssl_context=context,
        )
        return result
    return faust.SSLCredentials(context=context) if context is not None else None


def _context(given: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=given.get("ssl.ca.location"))
        if "ssl.certificate.location" in given:
            context.load_cert_chain(
                given["ssl.certificate.location"],
                given.get("ssl.key.location"),
                given.get("ssl.key.password"),
            )
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "not a PEM file"
        raise _refused(f"the files of the ssl options cannot be read: {reason}") from None
    return context


def _refused(message: str) -> SettingsError:
    return SettingsError(f"RUNSTREAM_KAFKA_OPTIONS: {message}")
