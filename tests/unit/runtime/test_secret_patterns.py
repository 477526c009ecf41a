"""Patterns of secrets: what each masks, what harmless text it leaves, and streams cut anywhere."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from drivers.masking import Masker
from runtime import pattern_matcher
from runtime.pattern_matcher import PatternMatcher
from runtime.secret_patterns import NAMES

ALL = PatternMatcher(())
USUAL = PatternMatcher()

_KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"
_PEM = f"-----BEGIN PRIVATE KEY-----\n{_KEY}\n{_KEY}=\n-----END PRIVATE KEY-----"
_B64 = "dXNlcjpwYXNzd29yZDEyMw=="
_JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"

#: By pattern: the text, and what has to be gone from it.
HITS: dict[str, list[tuple[str, str]]] = {
    "password": [
        ("password=hunter2", "hunter2"),
        ("PASSWORD: hunter2 next", "hunter2"),
        ("db_password = 'hun ter2' # c", "hun ter2"),
        ('{"password": "hun\\"ter2", "a": 1}', "ter2"),
        ("{'passwd': 'hunter2'}", "hunter2"),
        (json.dumps(json.dumps({"password": "hunter2"})), "hunter2"),
        ("passphrase => hunter2", "hunter2"),
        ("Server=db;Uid=sa;Pwd=hunter2;", "hunter2"),
        ("mysql --password hunter2 -h db", "hunter2"),
        ("mysql --password=hunter2", "hunter2"),
        ("sshpass -p hunter2 ssh web-01", "hunter2"),
        ("curl -u ann:hunter2 https://x", "hunter2"),
    ],
    "api_key": [
        ("api_key=abcdef123456", "abcdef123456"),
        ('X-Api-Key: "abcdef123456"', "abcdef123456"),
        ("apikey: abcdef123456", "abcdef123456"),
    ],
    "token": [
        ("access_token=abcdefgh12", "abcdefgh12"),
        ('"refresh_token":"abcdefgh12"', "abcdefgh12"),
        ("https://x/?token=abcdefgh12&a=b", "abcdefgh12"),
    ],
    "aws_access_key": [("id AKIAIOSFODNN7EXAMPLE.", "AKIAIOSFODNN7EXAMPLE"),
                       ("ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE")],
    "aws_secret_key": [
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
        ('"SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"', "K7MDENG"),
    ],
    "private_key": [
        (_PEM, _KEY),
        (_PEM.replace("PRIVATE", "RSA PRIVATE").replace("\n", "\r\n"), _KEY),
        (json.dumps({"k": _PEM.replace("PRIVATE", "OPENSSH PRIVATE")}), _KEY),
        (_PEM.replace("PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), _KEY),
        (_PEM.partition("-----END")[0], _KEY),
    ],
    "ssh_key": [
        ("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ", "AAAAABG5vbmU"),
        ("Private-Lines: 1\nAAAAgQDGhZ8SgBFvHbVVVBBzKZ\n", "gQDGhZ8SgBFvHbVVVBBzKZ"),
    ],
    "db_connection": [
        ("postgresql://app:hunter2@db/x", "hunter2"),
        ("redis://:hunter2@cache:6379/0", "hunter2"),
        ("amqps://u:p@ss@mq/", "p@ss"),
        ("https://ann:hunter2@example.org/a", "hunter2"),
    ],
    "email": [("mail bob.smith@example.org now", "bob.smith@example.org")],
    "credit_card": [
        ("card 4111111111111111.", "4111111111111111"),
        ("4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("5500-0000-0000-0004", "5500-0000-0000-0004"),
        ("amex 378282246310005", "378282246310005"),
        ("3782 822463 10005", "3782 822463 10005"),
    ],
    "ssn": [("ssn 078-05-1120", "078-05-1120")],
    "ip_address": [("from 192.0.2.17 port", "192.0.2.17")],
    "generic_secret": [
        ("client_secret=abcdef-123", "abcdef-123"),
        ('"private_key": "abcdef123"', "abcdef123"),
        ("AccountKey=abcdef123456==;", "abcdef123456=="),
        ("encryption_key: abcdef123", "abcdef123"),
        ("secret_key=abcdef123", "abcdef123"),
    ],
    "authorization": [
        (f"Authorization: Basic {_B64}", _B64),
        (f"authorization: Bearer {_B64}", _B64),
        (f'"Authorization": "Token {_B64}"', _B64),
        (f"Proxy-Authorization: Negotiate {_B64}", _B64),
        (f"curl -H 'Authorization: {_B64}'", _B64),
        (f"sent Bearer {_B64} to it", _B64),
        (f"sent Basic {_B64} to it", _B64),
    ],
    "cookie": [
        ("Cookie: session=abc123; theme=dark", "abc123"),
        ("Set-Cookie: sid=abc123; HttpOnly", "abc123"),
    ],
    "signed_url": [
        ("https://x.blob/y?sv=2&sig=abcd%2Fefghijklmnop&se=1", "abcd%2Fefghijklmnop"),
        ("https://x/?X-Amz-Signature=0123456789abcdef01", "0123456789abcdef01"),
    ],
    "jwt": [(f"got {_JWT} .", _JWT), (f'{{"t":"{_JWT}"}}', _JWT)],
    "github_token": [("ghp_" + "a1B2" * 9, "a1B2a1B2"), ("github_pat_" + "a1_B" * 9, "a1_Ba1_B")],
    "gitlab_token": [("glpat-" + "a1B2" * 5, "a1B2a1B2")],
    "slack_token": [("xoxb-123456789012-abcdefABCDEF", "123456789012-abc"),
                    ("xapp-1-A012-345-abcdef", "A012-345")],
    "webhook_url": [
        ("https://hooks.slack.com/services/T0123/B0123/abcdefghijkl", "T0123/B0123"),
        ("https://acme.webhook.office.com/webhookb2/0123456789abcdef@0/Incoming/1", "cdef@0"),
    ],
    "google_key": [("AIza" + "Sy1_-" * 7, "Sy1_-Sy1"), ("ya29." + "a0Ab_" * 5, "a0Ab_a0")],
    "vault_token": [("hvs." + "CAESI" * 6, "CAESICAESI")],
    "vendor_token": [
        ("sk_live_" + "a1B2" * 6, "a1B2a1B2"),
        ("npm_" + "a1B2" * 9, "a1B2a1B2"),
        ("sk-ant-api03-" + "a1B2" * 8, "a1B2a1B2"),
        ("SG." + "a1B2" * 5 + "." + "c3D4" * 9, "c3D4c3D4"),
    ],
}  # fmt: skip

#: Text in which the usual patterns find nothing.
HARMLESS = [
    "PasswordAuthentication yes",
    "Enter password: ",
    "password: null, token: none",
    "password=*** token=***",
    '{"password": null, "password_expires": "never", "PasswordLastSet": "2026-01-01"}',
    "the password is wrong; passwords are bad",
    "PWD=/root/work OLDPWD=/home/ann",
    "next_token=abcdefgh12345 NextToken: abcdefgh12345",
    "token_count=12345678 tokenizer: abcdefgh tokens: 12345678",
    "SecretName: web-tls, kind: Secret",
    '{"type": "secret", "path": "env/TOKEN"}',
    "https://example.org:8443/a/b@c?x=y",
    "ssh root@web-01 uptime",
    "git@github.com:acme/shop.git"[4:],
    "Basic authentication is required",
    "Bearer authentication failed",
    "401: authorization: required",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1W ann",
    "at 1732240000000 ms, 1732240000000000 us, 1732240000000000000 ns",
    "4111111111111112 is no card: its check digit is wrong",
    "id 01a1f7c1-4180-8a94-9234-56783662e997",
    "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "phone 555-12-34, version 1.2.3-45-6789, 000-12-3456, 900-12-3456",
    "from 192.0.2.17 to 2001:db8::1",
    "task-abcdefghijklmnopqrstuvwxyz0123456789 disk-1",
    "AKIA is the beginning of a key id; XAKIAIOSFODNN7EXAMPLE is none",
    "cookie: accepted",
    "eyJ is how a JSON object begins in base64",
    "/dev/sda1  41152736 18374200 20658756  48% /",
]


def masked(text: str, matcher: PatternMatcher = ALL) -> str:
    return matcher.text(text)


def test_every_pattern_has_examples() -> None:
    assert set(HITS) == set(NAMES)


@pytest.mark.parametrize(
    ("name", "text", "secret"), [(name, *hit) for name, hits in HITS.items() for hit in hits]
)
def test_hits(name: str, text: str, secret: str) -> None:
    shown = masked(text)
    assert secret not in shown and "***" in shown
    # It is this pattern, and no other one by chance.
    only = PatternMatcher(set(NAMES) - {name})
    assert secret not in masked(text, only)
    before, after = "before \u00fc\n", "\nafter the secret"
    framed = masked(f"{before}{text}{after}")
    assert secret not in framed and framed.startswith(before)
    if "PRIVATE KEY" not in text or "-----END" in text:
        assert framed.endswith(after)
    assert masked(shown) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text(text: str) -> None:
    assert masked(text, USUAL) == text
    assert USUAL.spans(text.encode()) == []


def test_a_pattern_that_is_off_masks_nothing() -> None:
    for name, hits in HITS.items():
        if name in ("password", "token", "generic_secret", "authorization", "aws_secret_key"):
            continue  # Others are about the same texts.
        off = PatternMatcher({name})
        assert any(masked(text, off) == text for text, _ in hits), name
    with pytest.raises(ValueError, match="there is no pattern 'mail'"):
        PatternMatcher({"mail"})


@pytest.mark.parametrize(("text", "secret"), [hit for hits in HITS.values() for hit in hits])
def test_a_stream_that_is_cut_anywhere(text: str, secret: str) -> None:
    data = f"one line\n{text}\nanother line\n".encode()
    for cut in range(len(data) + 1):
        masker = Masker((), None, ALL)
        first, held = masker.split(data[:cut])
        second, rest = masker.split(held + data[cut:])
        shown = (first + second + masker.data(rest)).decode()
        assert secret not in shown, (cut, shown)
        assert shown.startswith("one line\n") and "***" in shown


def test_one_byte_at_a_time() -> None:
    source = random.Random(11)
    hits = [hit for hits in HITS.values() for hit in hits]
    for _ in range(20):
        chosen = source.sample(hits, 3)
        data = "".join(f"a line\n{text}\n" for text, _ in chosen).encode()
        masker = Masker((), None, ALL)
        shown, held = b"", b""
        for at in range(len(data)):
            ready, held = masker.split(held + data[at : at + 1])
            shown += ready
        shown += masker.data(held)
        for _, secret in chosen:
            assert secret.encode() not in shown


def test_whole_lines_are_not_kept_back() -> None:
    masker = Masker((), None, USUAL)
    for line in (b"an ordinary line\n", b"password is asked for\n", b"50 % done\r", b"eyJ\n"):
        assert masker.split(line) == (line, b"")


@pytest.mark.parametrize(
    "piece",
    ["://", "://a:b", "eyJ", "password", "password=", "@a.", "-----BEGIN PRIVATE KEY-----",
     "a@b", "bearer ", "cookie: ", "0000-0000-0000-0000", "4", "sk-", "Basic a", "secret:\"\\",
     "-----BEGIN ", "token=aaaaaaa", "b3BlbnNzaC1rZXktdjE", "hooks.slack.com/a/", "eyJaaaaaaaa."],
)  # fmt: skip
def test_the_work_is_linear_in_hostile_input(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: how often a pattern is tried, and over how many bytes it can look."""
    tried = 0
    real = PatternMatcher._match

    def counted(self: PatternMatcher, *given: Any) -> Any:
        nonlocal tried
        tried += 1
        return real(self, *given)

    monkeypatch.setattr(pattern_matcher.PatternMatcher, "_match", counted)
    counts = []
    for size in (20_000, 40_000):
        tried = 0
        data = (piece * (size // len(piece) + 1))[:size].encode()
        ALL.spans(data)
        counts.append(tried)
        assert ALL.held(data) <= pattern_matcher.MAX_HELD
    assert counts[1] <= 2 * counts[0] + 40


def test_values_are_masked_by_the_name_of_their_field_too() -> None:
    masker = Masker((), None, USUAL)
    given = {
        "db_password": "hunter2x", "note": "token=abcdefgh12", "rows": [{"apiKey": "abcd1234"}],
        "password_set": True, "password": "x", "next_token": "abcdefgh12", "n": 4111111111111111,
        "owner": "bob@example.org", "text": "ask bob@example.org",
    }  # fmt: skip
    assert masker.value(given) == {
        "db_password": "***", "note": "token=***", "rows": [{"apiKey": "***"}],
        "password_set": True, "password": "x", "next_token": "abcdefgh12", "n": 4111111111111111,
        "owner": "bob@example.org", "text": "ask ***",
    }  # fmt: skip
    harmless = {"a": [1, 2.5, None, "text"], "b": {"c": True}}
    assert masker.value(harmless) is harmless


def test_known_values_come_first() -> None:
    masker = Masker(["hunter2, and more"], None, USUAL)
    assert masker.text("password=hunter2, and more words") == "password=*** words"
