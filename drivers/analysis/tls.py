"""TLS: versions, ciphers, names, certificates with their dates, failed handshakes; pure.

In TLS 1.3 the certificate is encrypted: then there is none in the findings, and
`certificate_visible` is false.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import ExtensionOID
from dpkt.ssl_ciphersuites import BY_CODE

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.findings import Anomalies, Options, Traffic, milliseconds, readable
from drivers.analysis.packets import Packet
from drivers.analysis.tls_records import VERSIONS, Hello, Side, read_side

PORTS: Final = frozenset({443, 465, 636, 853, 990, 993, 995, 4443, 5061, 6514, 8443, 8883, 9443})
_OLD: Final = frozenset({0x0300, 0x0301, 0x0302})
_WEAK: Final = re.compile(r"RC4|3DES|_DES_|NULL|EXPORT|_anon_|MD5")
_SOON: Final = timedelta(days=14)
_FATAL: Final = 2
_ALERTS: Final = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure",
    42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
    45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter",
    48: "unknown_ca", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 90: "user_canceled",
    109: "missing_extension", 112: "unrecognized_name", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every session with version, cipher and names, and what is weak or failed."""
    traffic = Traffic()
    # A stored capture shows them at any port, where a listening one takes only the usual ports.
    begins = b"" if options.ports else b"\x16\x03"
    streams = Connections(options.ports or PORTS, begins=begins)
    streams.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    anomalies = Anomalies()
    rows = []
    for one in streams.end():
        client = read_side(bytes(one.from_client.data))
        server = read_side(bytes(one.from_server.data))
        if client.is_tls or server.is_tls:
            rows.append(_session(one, client, server, anomalies))
    versions, ciphers, names = (
        dict(Counter(row[field] for row in rows if row[field] is not None).most_common(50))
        for field in ("version", "cipher", "server_name")
    )
    return {
        **traffic.summary(),
        "complete": streams.complete,
        "session_count": len(rows),
        "completed": sum(bool(row["completed"]) for row in rows),
        "failed": sum(row["alert"] not in (None, "close_notify") for row in rows),
        "versions": versions,
        "ciphers": ciphers,
        "server_names": names,
        "sessions": rows[: options.limit],
        "anomalies": anomalies.rows(),
    }


def _session(one: Connection, client: Side, server: Side, anomalies: Anomalies) -> dict[str, Any]:
    asked, given = client.hello, server.hello
    # A capture that begins late, or is damaged, may show a hello on the wrong side.
    given = given if given is not None and given.of_server and not given.retry else None
    asked = asked if asked is not None and not asked.of_server else None
    version = given.versions[0] if given else None
    cipher = _cipher(given.ciphers[0]) if given else None
    certificate = _certificate(server.certificates[0]) if server.certificates else None
    alert = next(
        (
            (by, _ALERTS.get(code, str(code)))
            for by, side in (("client", client), ("server", server))
            for level, code in side.alerts
            if level == _FATAL
        ),
        None,
    )
    row = {
        **one.ends(),
        "complete": one.complete,
        "server_name": asked.server_name if asked else None,
        "offered_versions": _versions(asked),
        "offered_ciphers": len(asked.ciphers) if asked else None,
        "offered_protocols": asked.protocols if asked else [],
        "version": VERSIONS.get(version, hex(version)) if version is not None else None,
        "cipher": cipher,
        "protocol": given.protocols[0] if given and given.protocols else None,
        "hello_ms": milliseconds(_hello_seconds(one, client, server)),
        "certificate_visible": certificate is not None,
        "certificate": certificate,
        "chain_length": len(server.certificates),
        "client_certificate_requested": server.certificate_requested,
        "completed": client.application_at is not None and server.application_at is not None,
        "alert": alert[1] if alert else None,
        "alert_by": alert[0] if alert else None,
        "bytes_from_client": one.from_client.payload_bytes,
        "bytes_from_server": one.from_server.payload_bytes,
    }
    _add_anomalies(one, row, version, certificate, anomalies)
    return row


def _add_anomalies(
    one: Connection,
    row: dict[str, Any],
    version: int | None,
    certificate: dict[str, Any] | None,
    anomalies: Anomalies,
) -> None:
    name = f"{one.server[0]}:{one.server[1]}"
    if version in _OLD:
        anomalies.add("old_version", name, f"{name} speaks {row['version']}")
    if row["cipher"] and _WEAK.search(row["cipher"]):
        anomalies.add("weak_cipher", f"{name} {row['cipher']}", f"{name} chose {row['cipher']}")
    if row["alert"] is not None:
        text = f"the {row['alert_by']} ended a handshake with {row['alert']}"
        anomalies.add("handshake_failed", f"{name} {row['alert']}", f"{name}: {text}")
    if certificate is not None and certificate.get("not_after"):
        seen = datetime.fromtimestamp(one.start, UTC)
        ends = datetime.fromisoformat(certificate["not_after"])
        begins = datetime.fromisoformat(certificate["not_before"])
        if seen > ends:
            text = f"the certificate of {name} expired at {certificate['not_after']}"
            anomalies.add("certificate_expired", name, text)
        elif seen + _SOON > ends:
            text = f"the certificate of {name} expires at {certificate['not_after']}"
            anomalies.add("certificate_expires_soon", name, text)
        if seen < begins:
            text = f"the certificate of {name} is valid from {certificate['not_before']} on"
            anomalies.add("certificate_not_yet_valid", name, text)
        if certificate["self_signed"]:
            anomalies.add("self_signed", name, f"the certificate of {name} is its own issuer's")


def _versions(hello: Hello | None) -> list[str]:
    return [VERSIONS.get(number, hex(number)) for number in hello.versions] if hello else []


def _cipher(code: int) -> str:
    known = BY_CODE.get(code)
    return str(known.name) if known is not None else f"0x{code:04x}"


def _hello_seconds(one: Connection, client: Side, server: Side) -> float | None:
    if client.hello is None or server.hello is None:
        return None
    asked = one.from_client.time_at(client.hello_at)
    given = one.from_server.time_at(server.hello_at)
    return None if asked is None or given is None else max(0.0, given - asked)


def _certificate(der: bytes) -> dict[str, Any] | None:
    """The fields of a certificate; None if it is none."""
    try:
        found = x509.load_der_x509_certificate(der)
        subject, issuer = found.subject.rfc4514_string(), found.issuer.rfc4514_string()
        dates = found.not_valid_before_utc, found.not_valid_after_utc
        names = _names(found)
    # Malformed certificates make the library raise several classes of exceptions.
    except (ValueError, TypeError, KeyError, x509.UnsupportedGeneralNameType):
        return None
    return {
        "subject": readable(subject.encode("utf-8", "replace")),
        "issuer": readable(issuer.encode("utf-8", "replace")),
        "serial": f"{found.serial_number:x}",
        "not_before": dates[0].isoformat(),
        "not_after": dates[1].isoformat(),
        "names": [readable(name.encode("utf-8", "replace")) for name in names[:50]],
        "self_signed": subject == issuer,
    }


def _names(found: x509.Certificate) -> list[str]:
    try:
        extension = found.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return []
    value = extension.value
    if not isinstance(value, x509.SubjectAlternativeName):
        return []
    addresses = [str(item) for item in value.get_values_for_type(x509.IPAddress)]
    return [*value.get_values_for_type(x509.DNSName), *addresses]
