"""What secrets look like where their value is not known: the patterns, as data.

Each pattern is looked for at its anchors only, and every repetition in it is bounded and takes what
it can without giving it back, so the work per byte of input is bounded. What is masked is the last
group of the match, all of it where there is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: The longest value that is masked as one.
LONGEST: Final = 8_192
#: Behind an anchor, the most bytes after which it is known whether a secret follows.
_NEAR: Final = 128

_PLAIN: Final = rb"(?<![A-Za-z0-9])"
#: Between the name of a secret and its value: `=`, `:`, `=>`, in JSON within JSON too.
_IS: Final = rb"[\"'\]\\]{0,8}+[ \t]{0,8}+(?::=|=>|==?|:)[ \t]{0,8}+"
#: No secret: what documentation, schemas and masks have in its place.
_NO_VALUE: Final = (
    rb"(?![\\\"']{0,8}+(?:(?:null|none|nil|true|false|yes|no|undefined)(?![A-Za-z0-9_-])|\*{3}))"
)


def _value(least: int, bare: bytes = rb"[^\s\"'\\,;&<>(){}\[\]|]") -> bytes:
    """Quoted, quoted and escaped, or bare text of at least so many characters."""
    times = b"{%d,%d}+" % (least, LONGEST)
    return _NO_VALUE + b"|".join(
        (
            rb"(?:\\{1,7}[\"']([^\"'\\\r\n]" + times + b")",
            rb"\"((?:[^\"\\\r\n]|\\.)" + times + b")",
            rb"'((?:[^'\\\r\n]|\\.)" + times + b")",
            b"(" + bare + times + b"))",
        )
    )


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of secret."""

    name: str
    #: In lower case; each match begins at one, whatever the case of the text.
    anchors: tuple[bytes, ...]
    regex: re.Pattern[bytes]
    #: How many bytes from the anchor on may be needed to know whether there is a match.
    near: int = _NEAR


def _pattern(name: str, anchors: str, regex: bytes, near: int = _NEAR) -> Pattern:
    given = tuple(anchor.encode() for anchor in anchors.split())
    return Pattern(name, given, re.compile(regex), near)


def _named(name: str, anchors: str, words: bytes, least: int, **bare: bytes) -> Pattern:
    """A value behind a name; as an option of a program, behind a blank too."""
    option = rb"(?:(?<=-)%s[ \t]{1,4}+(?!-)|%s%s)" % (words, words, _IS)
    return _pattern(name, anchors, b"(?i:" + option + b")" + _value(least, **bare))


PATTERNS: Final = (
    _named("password", "password passwd passphrase", rb"(?:password|passwd|passphrase)", 1),
    _named("password", "pwd", rb"(?<![A-Za-z])pwd", 1, bare=rb"[^\s\"'\\,;&<>(){}\[\]|/~]"),
    _pattern("password", "sshpass", rb"(?i:sshpass)[ \t]{1,4}+-p[ \t]{0,4}+" + _value(1)),
    Pattern(
        "password", (b"-u ", b"--user "),
        re.compile(
            rb"(?<![A-Za-z0-9-])(?:-u|--user)[ \t]{1,4}+[\"']?([^\s:\"']{1,64}+):([^\s\"']{1,512}+)"
        ),
        200,
    ),
    _named("api_key", "api_key api-key apikey", rb"api[_-]?key", 6),
    _named("token", "token", rb"(?<!next)(?<!next_)(?<!next-)(?<!continuation)token", 8),
    _pattern("aws_access_key", "akia asia", _PLAIN + rb"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _named(
        "aws_secret_key", "secret_access_key secret-access-key secretaccesskey",
        rb"secret[_-]?access[_-]?key", 16,
    ),
    _pattern(
        "private_key", "-----begin",
        rb"-----BEGIN (?:[A-Z0-9]{1,12}+ ){0,4}PRIVATE KEY(?: BLOCK)?-----",
    ),
    _pattern(
        "ssh_key", "b3blbnnzac1rzxktdje",
        rb"b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]{0,8192}+",
    ),
    _pattern(
        "ssh_key", "private-lines:",
        rb"(?i:private-lines:)[ \t]{0,4}+[0-9]{1,4}+\r?\n"
        rb"([A-Za-z0-9+/=]{16,80}+(?:\r?\n[A-Za-z0-9+/=]{16,80}+){0,200})",
    ),
    _pattern(
        "db_connection", "://",
        rb"://([^\s:@/\"'<>\\]{0,128}+):([^\s/\"'<>\\]{1,512})@", 800,
    ),
    _named(
        "generic_secret",
        "secret credential private_key private-key privatekey access_key access-key accesskey "
        "accountkey account_key auth_key encryption_key signing_key",
        rb"(?:secret(?:[_-]?key)?|credentials?|private[_-]?key|(?:shared)?access[_-]?key"
        rb"|account[_-]?key|(?:auth|encryption|signing)_key)", 6,
    ),
    _pattern(
        "authorization", "authorization",
        rb"(?i:authorization)" + _IS + rb"[\\\"']{0,8}+(?:(?i:basic|bearer|digest|negotiate|ntlm"
        rb"|token|apikey|aws4-hmac-sha256)[ \t]{1,4}+([^\r\n\"'\\]{4,8192}+)"
        rb"|([^\s\"'\\]{12,8192}+))",
    ),
    _pattern(
        "authorization", "bearer",
        _PLAIN + rb"(?i:bearer)[ \t]{1,4}+((?=[A-Za-z._~+/-]{0,64}+[0-9=])"
        rb"[A-Za-z0-9._~+/=-]{12,8192}+)",
    ),
    _pattern(
        "authorization", "basic",
        _PLAIN + rb"(?i:basic)[ \t]{1,4}+((?=[A-Za-z+/]{0,64}+[0-9=])[A-Za-z0-9+/=]{12,8192}+)",
    ),
    _pattern(
        "cookie", "cookie",
        rb"(?i:cookie)" + _IS + rb"[\\\"']{0,8}+((?=[^\s=\"']{1,128}+=)[^\r\n\"'\\]{4,8192}+)", 200,
    ),
    _pattern(
        "signed_url", "sig= signature=",
        rb"(?<=[?&-])(?i:sig|signature)=([A-Za-z0-9%+/=_-]{16,1024}+)",
    ),
    _pattern(
        "jwt", "eyj",
        rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}+\.[A-Za-z0-9_-]{8,8192}+"
        rb"(?:\.[A-Za-z0-9_-]{0,4096}+)?", 4_200,
    ),
    _pattern(
        "github_token", "ghp_ gho_ ghu_ ghs_ ghr_",
        _PLAIN + rb"gh[opusr]_[A-Za-z0-9]{20,255}+",
    ),
    _pattern("github_token", "github_pat_", _PLAIN + rb"github_pat_[A-Za-z0-9_]{22,255}+"),
    _pattern(
        "gitlab_token", "glpat- gldt- glrt- glft- glsoat- glcbt- glptt- glagent-",
        _PLAIN + rb"gl(?:pat|dt|rt|ft|soat|cbt|ptt|agent)-[A-Za-z0-9_.-]{20,255}+",
    ),
    _pattern("slack_token", "xox", _PLAIN + rb"xox[abeoprs]-[A-Za-z0-9-]{10,255}+"),
    _pattern("slack_token", "xapp-", _PLAIN + rb"xapp-[A-Za-z0-9-]{10,255}+"),
    _pattern(
        "webhook_url", "hooks.slack.com/",
        rb"(?i:hooks\.slack\.com/[a-z]{1,12}+/)([A-Za-z0-9/_-]{20,256}+)",
    ),
    _pattern(
        "webhook_url", "webhook.office.com/ discord.com/api/webhooks/",
        rb"(?i:webhook\.office\.com/|discord\.com/api/webhooks/)([^\s\"'<>\\]{20,1024}+)",
    ),
    _pattern("google_key", "aiza", _PLAIN + rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    _pattern("google_key", "ya29. gocspx-", _PLAIN + rb"(?:ya29\.|GOCSPX-)[A-Za-z0-9_-]{20,512}+"),
    _pattern("vault_token", "hvs. hvb. hvr.", _PLAIN + rb"hv[sbr]\.[A-Za-z0-9_-]{20,512}+"),
    _pattern(
        "vendor_token", "sk_live_ sk_test_ rk_live_ rk_test_ npm_ pypi-ageii dckr_pat_ dop_v1_",
        _PLAIN + rb"(?:[sr]k_(?:live|test)_|npm_|pypi-AgEI|dckr_pat_|dop_v1_)"
        rb"[A-Za-z0-9_-]{20,512}+",
    ),
    _pattern(
        "vendor_token", "sk-",
        rb"(?<![A-Za-z0-9_-])sk-(?=[A-Za-z_-]{0,64}+[0-9])[A-Za-z0-9_-]{32,512}+",
    ),
    _pattern("vendor_token", "sg.", _PLAIN + rb"SG\.[A-Za-z0-9_-]{16,64}+\.[A-Za-z0-9_-]{32,128}+"),
    _pattern("vendor_token", "age-secret-key-1", rb"AGE-SECRET-KEY-1[A-Z0-9]{20,128}+"),
)  # fmt: skip

#: Around the character @; the part before it is looked for backwards.
EMAIL: Final = "email"
EMAIL_LOCAL: Final = re.compile(rb"[A-Za-z0-9._%+-]{1,64}+\Z")
EMAIL_DOMAIN: Final = re.compile(rb"@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9-])")

#: Digits in shapes: found in text in which every digit is 0, and a blank is a dash.
CARD: Final = "credit_card"
SSN: Final = "ssn"
IP_ADDRESS: Final = "ip_address"
CARD_SHAPES: Final = (b"0000-0000-0000-0000", b"0000-000000-00000", b"0" * 15)
SSN_SHAPES: Final = (b"000-00-0000",)
CARD_REGEX: Final = re.compile(
    rb"(?<![\w.-])(?:(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6011|65[0-9]{2})"
    rb"([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[47][0-9]{2}([ -]?)[0-9]{6}\2[0-9]{5})(?![\w-])"
)
SSN_REGEX: Final = re.compile(
    rb"(?<![\w.-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])"
)
IP_REGEX: Final = re.compile(
    rb"(?<![\w.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}"
    rb"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?![\w.]*[\w])"
)

#: The name of a field whose text is a secret, at the end of it.
FIELD: Final = re.compile(
    r"(?i)(?<!next)(?<!next_)(?:password|passwd|passphrase|token|secret|api[_-]?key|credentials?"
    r"|(?:access|private|secret|account|signing|encryption|auth)[_-]?key|authorization|cookie)\Z"
)
#: A shorter text in such a field is a flag or a placeholder.
FIELD_LEAST: Final = 4

#: The names of all patterns, as the setting that turns them off has them.
NAMES: Final = tuple(dict.fromkeys([*(one.name for one in PATTERNS), EMAIL, CARD, SSN, IP_ADDRESS]))
