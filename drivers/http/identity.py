"""Whom a request trusts and as whom it comes: authorities and a client certificate of a step.

They are the PEM texts themselves and no paths, since the executor reads files that a plan may not.
"""

from __future__ import annotations

import os
import secrets
import ssl
import tempfile
from pathlib import Path
from typing import Any, Final

from drivers.resources import trusted

#: In the certificate it would be a secret that nobody has marked as one.
_KEY: Final = "PRIVATE KEY-----"


class Unusable(Exception):
    """A certificate or key cannot be used; the message names the parameter and quotes nothing."""


def identity_of(arguments: dict[str, Any]) -> ssl.SSLContext | None:
    """The TLS of `ca`, `client_certificate` and `client_key`; None where none of them is set.

    Reads files and derives a key: call it in a thread. Raises Unusable.
    """
    authorities, certificate = arguments.get("ca"), arguments.get("client_certificate")
    if authorities is None and certificate is None:
        return None
    if authorities is None:
        context = trusted()
    else:
        try:
            context = ssl.create_default_context(cadata=str(authorities))
        except (ssl.SSLError, ValueError):
            raise Unusable("ca: no certificates in PEM") from None
    if certificate is not None:
        _present(context, str(certificate), str(arguments.get("client_key") or ""))
    return context


def _present(context: ssl.SSLContext, certificate: str, key: str) -> None:
    from cryptography.hazmat.primitives import serialization

    if _KEY in certificate:
        raise Unusable("client_certificate: holds a private key, which belongs into client_key")
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        raise Unusable("client_key: no private key in PEM that opens without a password") from None
    password = secrets.token_hex(32)
    # The library takes files only, so what lies in one for a moment is encrypted.
    hidden = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    handle, path = tempfile.mkstemp(prefix="runstream-tls-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate.encode() + b"\n" + hidden)
        context.load_cert_chain(path, password=password)
    except ssl.SSLError:
        raise Unusable("client_certificate: no certificate in PEM that fits client_key") from None
    finally:
        Path(path).unlink()
