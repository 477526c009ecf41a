"""`openssl x509` and `openssl s_client` in the forms of the definition."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

_DATE: Final = "%b %d %H:%M:%S %Y %Z"
_FIELDS: Final = {
    "subject": "subject",
    "issuer": "issuer",
    "serial": "serial",
    "notBefore": "not_before",
    "notAfter": "not_after",
    "sha256 Fingerprint": "sha256_fingerprint",
    "SHA256 Fingerprint": "sha256_fingerprint",
}
_CLIENT: Final = {
    "subject": re.compile(r"^subject=(.*)$", re.M),
    "issuer": re.compile(r"^issuer=(.*)$", re.M),
    "not_before": re.compile(r"NotBefore: ([^;\n]+);"),
    "not_after": re.compile(r"NotAfter: ([^;\n]+)"),
    "protocol": re.compile(r"^New, (TLSv[\d.]+)", re.M),
    "cipher": re.compile(r"^New, .*Cipher is (\S+)", re.M),
    "verification": re.compile(r"^Verif(?:ication|y return code): (.*)$", re.M),
}
_VERSION: Final = re.compile(r"(?:OpenSSL|LibreSSL) (\S+).*", re.S)


def parse(stdout: str) -> dict[str, Any]:
    """Fields of the certificate or connection; times in ISO 8601, UTC."""
    version = _VERSION.fullmatch(stdout)
    if version is not None:
        return {"version": version[1]}
    if "CONNECTED(" in stdout:
        found: dict[str, Any] = {
            name: match[1].strip()
            for name, pattern in _CLIENT.items()
            if (match := pattern.search(stdout)) is not None
        }
        found["verified"] = found.get("verification") == "OK"
    else:
        found = _certificate(stdout)
    for name in ("not_before", "not_after"):
        if name in found:
            found[name] = _time(found[name])
    return found


def _certificate(stdout: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in stdout.split("\n"):
        key, equals, value = line.partition("=")
        if equals and key in _FIELDS:
            found[_FIELDS[key]] = value.strip()
    names = re.findall(r"(?:DNS|IP Address):([^,\s]+)", stdout)
    return {**found, "names": names} if found else {"text": stdout}


def _time(text: str) -> str:
    return datetime.strptime(text.strip(), _DATE).replace(tzinfo=UTC).isoformat()
