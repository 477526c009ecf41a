"""`openssl x509` and `openssl s_client` in the forms of the definition.

Subject and issuer are the program's text; names and times come from the certificate itself, since
text of a certificate can look like any line of the program.
"""

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
    "protocol": re.compile(r"^New, (TLSv[\d.]+)", re.M),
    "cipher": re.compile(r"^New, .*Cipher is (\S+)", re.M),
    "verification": re.compile(r"^Verif(?:ication|y return code): (.*)$", re.M),
}
#: With -showcerts the first one is the server's own.
_PEM: Final = re.compile(
    r"^-----BEGIN (?:TRUSTED )?CERTIFICATE-----$.+?^-----END (?:TRUSTED )?CERTIFICATE-----$",
    re.M | re.S,
)
_VERSION: Final = re.compile(r"(?:OpenSSL|LibreSSL) (\S+).*", re.S)
_DAY_SECONDS: Final = 86_400


def parse(stdout: str, now: datetime | None = None) -> dict[str, Any]:
    """Fields of the certificate or connection; times in ISO 8601, UTC.

    `days_left` is the whole days from `now` to the certificate's end, below zero after it.
    """
    version = _VERSION.fullmatch(stdout)
    if version is not None:
        return {"version": version[1]}
    pem = _PEM.search(stdout)
    if "CONNECTED(" in stdout:
        found: dict[str, Any] = {
            name: match[1].strip()
            for name, pattern in _CLIENT.items()
            if (match := pattern.search(stdout)) is not None
        }
        # Without a certificate the program says OK too: there was nothing to find fault with.
        found["verified"] = pem is not None and found.get("verification") == "OK"
    else:
        found = _printed(stdout if pem is None else stdout[: pem.start()])
    if pem is not None:
        found |= _contents(pem[0].replace("TRUSTED ", ""), now)
    return found or {"text": stdout}


def _printed(stdout: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in stdout.split("\n"):
        key, equals, value = line.partition("=")
        if equals and key in _FIELDS:
            found[_FIELDS[key]] = value.strip()
    for name in ("not_before", "not_after"):
        if name in found:
            moment = datetime.strptime(found[name], _DATE).replace(tzinfo=UTC)
            found[name] = moment.isoformat()
    return found


def _contents(pem: str, now: datetime | None) -> dict[str, Any]:
    """What the certificate holds; what cannot be decoded is left out."""
    # An executor that never sees a certificate needs no cryptography here.
    from cryptography import x509

    found: dict[str, Any] = {}
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        found |= {"not_before": begin.isoformat(), "not_after": end.isoformat()}
        if now is not None:
            found["days_left"] = int((end - now).total_seconds() // _DAY_SECONDS)
        found["names"] = _names(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        pass
    return found


def _names(certificate: Any) -> list[str]:
    from cryptography import x509

    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    kinds = (x509.DNSName, x509.IPAddress)
    return [str(name.value) for name in listed.value if isinstance(name, kinds)]
