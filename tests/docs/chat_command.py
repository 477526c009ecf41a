"""A slash command of Slack, as its servers send it to the bot of docs/approve-from-chat.md."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Final

from tests.docs.live_stack import SECONDS, Stack

_BOT: Final = "http://127.0.0.1:18090/"


@dataclass(frozen=True)
class Said:
    """What the bot answers."""

    status: int
    text: str


def say(live: Stack, member: str, text: str, *, secret: bytes | None = None, age: int = 0) -> Said:
    """What a member of the chat sees for `/runstream TEXT`, signed as the platform does."""
    key = secret or (live.folder / "signing-secret").read_bytes()
    body = urllib.parse.urlencode({"user_id": member, "text": text}).encode()
    at = str(int(time.time()) - age)
    signature = hmac.new(key, f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={signature}"}
    until = time.monotonic() + SECONDS
    while True:
        try:
            request = urllib.request.Request(_BOT, body, headers)
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return Said(answer.status, json.load(answer)["text"])
        except urllib.error.HTTPError as refused:
            return Said(refused.code, "")
        except urllib.error.URLError:
            # The bot has been started just now.
            assert time.monotonic() < until, "the bot does not answer"
            time.sleep(0.1)
