"""Whether a delivery is from whom the hook is for; pure.

Sources: GitHub, "Validating webhook deliveries"; Alertmanager, `http_config` of `webhook_config`;
Standard Webhooks, "Signature scheme".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from api.hooks.definitions import Hook
from streams.hooks import DELIVERY_ID

#: Signatures of one delivery that are compared; a sender that changes its secret sends two.
_MAX_SIGNATURES: Final = 8
_EVENT: Final = re.compile(r"[a-z0-9_.-]{1,100}")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_SHA256: Final = re.compile(r"sha256=([0-9a-f]{64})")
#: Begins a secret of Standard Webhooks, the rest of which is base64.
_ENCODED: Final = "whsec_"
#: Shorter ones could be guessed by whoever has one signature.
SHORTEST_SECRET: Final = 16


@dataclass(frozen=True, slots=True)
class Proven:
    """A delivery of whoever has the secret."""

    delivery: str
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Unproven:
    """A delivery that counts for nothing; `why` is for the log, and not for the sender."""

    why: str


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A delivery of whoever has the secret, without what makes it one of this kind."""

    what: str


Outcome = Proven | Unproven | Incomplete


def key_of(hook: Hook, secret: str) -> bytes:
    """The key that a secret stands for; raises ValueError where it is none, without its value."""
    if hook.kind == "generic" and secret.startswith(_ENCODED):
        try:
            key = base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
        except binascii.Error:
            raise ValueError(f"after {_ENCODED} it is no base64: copy it whole") from None
    else:
        key = secret.encode()
    if len(key) < SHORTEST_SECRET:
        raise ValueError(f"it has less than {SHORTEST_SECRET} bytes: make a longer one")
    return key


def check(
    hook: Hook, keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float
) -> Outcome:
    """What a delivery proves; `headers` are found whatever their case."""
    match hook.kind:
        case "github":
            return _github(keys, headers, body)
        case "alertmanager":
            return _alertmanager(hook, keys, headers, body)
        case "generic":
            return _generic(hook, keys, headers, body, now)


def _github(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes) -> Outcome:
    given = _SHA256.fullmatch(headers.get("x-hub-signature-256", ""))
    if given is None:
        return Unproven("X-Hub-Signature-256 is missing or is no signature")
    made = [hmac.digest(key, body, "sha256") for key in keys]
    if not _any(made, [bytes.fromhex(given[1])]):
        return Unproven("X-Hub-Signature-256 is not that of the body with this secret")
    ident = headers.get("x-github-delivery", "")
    if re.match(DELIVERY_ID, ident) is None or "\n" in ident:
        return Incomplete("X-GitHub-Delivery: the id of the delivery is missing or malformed")
    event = headers.get("x-github-event", "")
    return Proven(ident, event if _EVENT.fullmatch(event) else None)


def _alertmanager(
    hook: Hook, keys: Sequence[bytes], headers: Mapping[str, str], body: bytes
) -> Outcome:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    wanted = "bearer" if hook.username is None else "basic"
    if scheme.lower() != wanted:
        return Unproven(f"Authorization is missing or is not {wanted}")
    if hook.username is None:
        shown, expected = _bytes(given.strip()), list(keys)
    else:
        user = hook.username.encode()
        shown, expected = _decoded(given.strip()), [user + b":" + key for key in keys]
    # Equally long, so that the comparison tells nothing of the length.
    if not _any([_digest(one) for one in expected], [_digest(shown)]):
        return Unproven("Authorization shows another secret")
    return Proven(_digest(body).hex())


def _generic(
    hook: Hook, keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float
) -> Outcome:
    ident, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not ident or _TIMESTAMP.fullmatch(sent_at) is None:
        return Unproven("webhook-id or webhook-timestamp is missing or malformed")
    signed = b".".join((_bytes(ident), sent_at.encode(), body))
    made = [hmac.digest(key, signed, "sha256") for key in keys]
    words = headers.get("webhook-signature", "").split()[:_MAX_SIGNATURES]
    given = [_decoded(word.removeprefix("v1,")) for word in words if word.startswith("v1,")]
    if not _any(made, given):
        return Unproven("webhook-signature is not that of id, timestamp and body with this secret")
    off = abs(now - int(sent_at))
    if off > hook.tolerance:
        return Unproven(f"webhook-timestamp is {off:.0f} s off, and {hook.tolerance} are allowed")
    if re.match(DELIVERY_ID, ident) is None or "\n" in ident:
        return Incomplete("webhook-id: 1 to 128 letters, digits and . _ : -")
    return Proven(ident)


def _any(made: Sequence[bytes], given: Sequence[bytes]) -> bool:
    """Whether one of them is one of the others; each pair is compared in constant time."""
    equal = [hmac.compare_digest(ours, theirs) for ours in made for theirs in given]
    return any(equal)


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def _bytes(header: str) -> bytes:
    """The bytes of a header, which the server reads as Latin-1."""
    return header.encode("latin-1", "replace")


def _decoded(text: str) -> bytes:
    """What base64 stands for; nothing where it is none."""
    try:
        return base64.b64decode(_bytes(text), validate=True)
    except binascii.Error:
        return b""
