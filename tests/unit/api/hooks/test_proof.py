"""Who has the secret of a hook: by the published examples of those who sign, and by forgeries."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest

from api.hooks.definitions import Hook
from api.hooks.proof import Incomplete, Outcome, Proven, Unproven, check, key_of

NOW = 1_614_265_330.0
#: GitHub, "Validating webhook deliveries", "Testing the webhook payload validation".
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB: dict[str, str] = {
    "x-hub-signature-256": "sha256="
    "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "x-github-event": "push",
}
#: Standard Webhooks, the example of its verification libraries.
GENERIC_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GENERIC_BODY = b'{"test": 2432232314}'
GENERIC: dict[str, str] = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
BEARER = "a-bearer-token-of-alerts"


def hook(kind: str, **fields: Any) -> Hook:
    return Hook.model_validate({"name": "h", "kind": kind, "secret": "env/X", **fields})


def proof(
    made: Hook, secret: str, headers: dict[str, str], body: bytes, now: float = NOW
) -> Outcome:
    return check(made, [key_of(made, secret)], headers, body, now)


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {one: value for one, value in headers.items() if one != name}


def test_the_example_of_github() -> None:
    assert proof(hook("github"), GITHUB_SECRET, GITHUB, GITHUB_BODY) == Proven(
        "72d3162e-cc78-11e3-81ab-4c9367dc0958", "push"
    )
    odd = {**GITHUB, "x-github-event": "a b\x00"}
    found = proof(hook("github"), GITHUB_SECRET, odd, GITHUB_BODY)
    assert isinstance(found, Proven) and found.event is None


@pytest.mark.parametrize(
    "changed",
    [
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": GITHUB["x-hub-signature-256"].upper()},
        {"x-hub-signature-256": GITHUB["x-hub-signature-256"][:-1] + "8"},
        {"x-hub-signature-256": GITHUB["x-hub-signature-256"] + "\n"},
        {"x-hub-signature-256": GITHUB["x-hub-signature-256"][7:]},
        {"x-hub-signature-256": "sha256=" + "\u0660" * 64},
        # By SHA-1, which GitHub sends too and nobody should believe.
        {
            "x-hub-signature-256": "sha1="
            + hmac.new(GITHUB_SECRET.encode(), GITHUB_BODY, "sha1").hexdigest()
        },
    ],
)
def test_another_signature_of_github_proves_nothing(changed: dict[str, str]) -> None:
    found = proof(hook("github"), GITHUB_SECRET, {**GITHUB, **changed}, GITHUB_BODY)
    assert isinstance(found, Unproven)
    assert GITHUB_SECRET not in found.why


def test_another_body_or_secret_of_github_proves_nothing() -> None:
    made = hook("github")
    assert isinstance(proof(made, GITHUB_SECRET, GITHUB, GITHUB_BODY + b" "), Unproven)
    assert isinstance(proof(made, GITHUB_SECRET + ".", GITHUB, GITHUB_BODY), Unproven)
    assert isinstance(proof(made, GITHUB_SECRET, {}, GITHUB_BODY), Unproven)


@pytest.mark.parametrize("ident", ["", "a b", "x" * 129, "id\n", "\u00fcber"])
def test_a_delivery_of_github_has_an_id(ident: str) -> None:
    headers = {**GITHUB, "x-github-delivery": ident}
    found = proof(hook("github"), GITHUB_SECRET, headers, GITHUB_BODY)
    assert isinstance(found, Incomplete) and "X-GitHub-Delivery" in found.what


def test_the_example_of_standard_webhooks() -> None:
    made = hook("generic")
    assert proof(made, GENERIC_SECRET, GENERIC, GENERIC_BODY) == Proven(GENERIC["webhook-id"])
    several = {**GENERIC, "webhook-signature": f"v1a,xx v1,?? {GENERIC['webhook-signature']}"}
    assert isinstance(proof(made, GENERIC_SECRET, several, GENERIC_BODY), Proven)


@pytest.mark.parametrize("name", list(GENERIC))
def test_everything_that_is_signed_counts(name: str) -> None:
    made = hook("generic")
    missing = proof(made, GENERIC_SECRET, without(GENERIC, name), GENERIC_BODY)
    assert isinstance(missing, Unproven)
    last = GENERIC[name][-1]
    other = {**GENERIC, name: GENERIC[name][:-1] + ("1" if last != "1" else "2")}
    assert isinstance(proof(made, GENERIC_SECRET, other, GENERIC_BODY), Unproven)
    assert isinstance(proof(made, GENERIC_SECRET, GENERIC, GENERIC_BODY + b" "), Unproven)


def test_only_the_version_that_is_known_is_compared_and_not_without_end() -> None:
    made = hook("generic")
    signature = GENERIC["webhook-signature"]
    for text in (
        signature.removeprefix("v1,"),
        signature.replace("v1,", "v2,"),
        "v1," + " ".join(["v1,x"] * 8) + f" {signature}",
    ):
        headers = {**GENERIC, "webhook-signature": text}
        assert isinstance(proof(made, GENERIC_SECRET, headers, GENERIC_BODY), Unproven), text


@pytest.mark.parametrize(("off", "counts"), [(299, True), (300, True), (301, False)])
def test_an_old_or_early_timestamp_counts_for_nothing(off: int, counts: bool) -> None:
    made = hook("generic")
    for now in (NOW + off, NOW - off):
        found = proof(made, GENERIC_SECRET, GENERIC, GENERIC_BODY, now)
        assert isinstance(found, Proven if counts else Unproven)
    short = hook("generic", tolerance_seconds=10)
    assert isinstance(proof(short, GENERIC_SECRET, GENERIC, GENERIC_BODY, NOW + off), Unproven)


@pytest.mark.parametrize("sent_at", ["1614265330.0", "-1614265330", "1e9", "\u0661", " 1614265330"])
def test_a_timestamp_is_whole_seconds(sent_at: str) -> None:
    key = key_of(hook("generic"), GENERIC_SECRET)
    signed = f"{GENERIC['webhook-id']}.{sent_at}.".encode() + GENERIC_BODY
    made = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    headers = {**GENERIC, "webhook-timestamp": sent_at, "webhook-signature": f"v1,{made}"}
    assert isinstance(proof(hook("generic"), GENERIC_SECRET, headers, GENERIC_BODY), Unproven)


def test_the_token_of_alertmanager() -> None:
    made, body = hook("alertmanager"), b'{"alerts": []}'
    for shown in (f"Bearer {BEARER}", f"bearer {BEARER}"):
        found = proof(made, BEARER, {"authorization": shown}, body)
        assert found == Proven(hashlib.sha256(body).hexdigest())
    for shown in ("", BEARER, f"Bearer {BEARER}x", f"Bearer {BEARER[:-1]}", "Bearer", "Bearer \xff",
                  f"Basic {base64.b64encode(BEARER.encode()).decode()}"):  # fmt: skip
        assert isinstance(proof(made, BEARER, {"authorization": shown}, body), Unproven), shown


def test_the_password_of_alertmanager() -> None:
    made, body = hook("alertmanager", username="am"), b"{}"

    def shown(login: str) -> Outcome:
        header = f"Basic {base64.b64encode(login.encode()).decode()}"
        return proof(made, BEARER, {"authorization": header}, body)

    assert isinstance(shown(f"am:{BEARER}"), Proven)
    for login in (f"other:{BEARER}", f"am:{BEARER}:", BEARER, f"am:am:{BEARER}", ""):
        assert isinstance(shown(login), Unproven), login
    for header in (f"Bearer {BEARER}", f"Basic am:{BEARER}", "Basic"):
        assert isinstance(proof(made, BEARER, {"authorization": header}, body), Unproven)


def test_the_former_secret_counts_while_a_sender_changes_to_the_new_one() -> None:
    made = hook("github", secret=["file/new", "file/old"])
    keys = [key_of(made, "the-new-secret-of-it"), key_of(made, GITHUB_SECRET)]
    assert isinstance(check(made, keys, GITHUB, GITHUB_BODY, NOW), Proven)
    assert isinstance(check(made, keys[:1], GITHUB, GITHUB_BODY, NOW), Unproven)


@pytest.mark.parametrize("secret", ["", "x" * 15, "whsec_MfKQ9r8GKYqr", "whsec_%%%"])
def test_a_secret_that_is_none_is_refused_without_its_text(secret: str) -> None:
    with pytest.raises(ValueError) as found:
        key_of(hook("generic"), secret)
    assert not secret or secret not in str(found.value)
