"""Mail, Slack, Teams and webhooks through the whole system, to servers that check what they get.

STARTTLS, implicit TLS and login are settings of the executor; tests/integration/test_drivers_smtp
has them, against the same kind of server.
"""

from __future__ import annotations

import email
import email.policy
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.fakes.hooks import KEY, Hooks
from tests.harness import Harness
from tests.tools.conftest import Execute
from tests.tools.planned import planned

#: Two attempts, one soon after the other.
TWICE = {"max_attempts": 2, "backoff_seconds": 0.1}


class Inbox:
    """Keeps what it is sent; refuses `bad@…` and defers the first mail to `later@…`."""

    def __init__(self) -> None:
        self.mails: list[tuple[Envelope, Any]] = []
        self.deferred = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@") and not self.deferred:
            self.deferred += 1
            return "451 4.7.1 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.mails.append((envelope, message))
        return "250 2.0.0 queued"


@pytest.fixture
def inbox(stack: tuple[object, Path]) -> Iterator[Inbox]:
    """A mail server at the port that the executor was started with."""
    box = Inbox()
    port = int((stack[1].parent / "smtp_port").read_text())
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as running:
        yield running


def test_a_mail_with_everything(execute: Execute, inbox: Inbox) -> None:
    result = execute(
        "sendmail",
        {
            "to": ["ops@example.org", "two@example.org"],
            "cc": ["three@example.org"],
            "bcc": ["hidden@example.org"],
            "subject": "Größe: 97 %",
            "body": "web-01: / is full",
            "html": "<b>full</b>",
            "reply_to": "answers@example.org",
            "attachments": [
                {"name": "df.txt", "content": "Größe\n"},
                {"name": "a.png", "content_base64": b64encode(b"\x00\x01").decode(),
                 "content_type": "image/png"},
            ],
        },
    )  # fmt: skip
    assert result.status == "succeeded", result
    ((envelope, message),) = inbox.mails
    assert sorted(envelope.rcpt_tos) == sorted(result.output["accepted"])
    assert "hidden@example.org" in envelope.rcpt_tos
    assert "hidden" not in str(message)
    assert message["Subject"] == "Größe: 97 %"
    assert message["Message-ID"] == result.output["message_id"]
    assert message.get_body(("plain",)).get_content().strip() == "web-01: / is full"
    assert message.get_body(("html",)).get_content().strip() == "<b>full</b>"
    text, picture = message.iter_attachments()
    assert (text.get_filename(), text.get_content_type()) == ("df.txt", "text/plain")
    assert text.get_payload(decode=True).decode() == "Größe\n"
    assert picture.get_content() == b"\x00\x01"


@pytest.mark.parametrize(
    "parameters",
    [
        {"subject": "S\r\nBcc: evil@example.org"},
        {"to": ["a@example.org\nBcc: evil@example.org"]},
        {"from": "a@example.org, b@example.org"},
        {"reply_to": "a@example.org\r\nX: y"},
    ],
)
def test_nothing_gets_into_the_headers(
    execute: Execute, inbox: Inbox, parameters: dict[str, Any]
) -> None:
    with pytest.raises(AssertionError, match="rejected"):
        execute("sendmail", {"to": ["ops@example.org"], **parameters})
    assert inbox.mails == []


@pytest.mark.parametrize(
    "attachment",
    [
        {"name": "a\r\nX: y", "content": ""},
        {"name": "../a", "content": ""},
        {"name": "a", "content": "", "content_type": "text/plain\r\nX: y"},
        {"name": "a", "content_base64": "%%%"},
        {"filename": "a", "content": ""},
    ],
)
def test_attachments_are_checked(
    execute: Execute, inbox: Inbox, attachment: dict[str, str]
) -> None:
    result = execute("sendmail", {"to": ["ops@example.org"], "attachments": [attachment]})
    assert (result.status, result.error_class) == ("failed", "invalid_parameters")
    assert inbox.mails == []


def test_recipients_that_are_refused_or_put_off(execute: Execute, inbox: Inbox) -> None:
    some = execute("sendmail", {"to": ["ops@example.org", "bad@example.org"]})
    assert some.output["accepted"] == ["ops@example.org"]
    assert some.output["refused"]["bad@example.org"]["code"] == 550
    none = execute("sendmail", {"to": "bad@example.org"}, retry=TWICE)
    assert (none.error_class, attempts(none.events)) == ("mail_refused", 1)
    # Nothing was taken, so trying again is safe even for a mail.
    later = execute("sendmail", {"to": "later@example.org"}, retry=TWICE)
    assert (later.status, attempts(later.events)) == ("succeeded", 2)
    assert len(inbox.mails) == 2


def test_no_mail_server(execute: Execute) -> None:
    result = execute("sendmail", {"to": "ops@example.org"}, retry=TWICE)
    assert (result.error_class, attempts(result.events)) == ("connection_refused", 2)


def test_slack(execute: Execute, hooks: Hooks) -> None:
    url = hooks.url("/slack")
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "*full*"}}
    result = execute(
        "slack_cli",
        {"webhook_url": url, "message": "web-01 is full", "channel": "#ops", "blocks": [block]},
    )
    assert result.output == {"status": 200, "response": "ok", "truncated": False}
    assert hooks.taken[0].document == {
        "text": "web-01 is full", "username": "Runstream", "icon_emoji": ":robot_face:",
        "channel": "#ops", "blocks": [block],
    }  # fmt: skip
    wrong = execute("slack_cli", {"webhook_url": url, "message": "x", "blocks": [{}]}, retry=TWICE)
    assert (wrong.error_class, attempts(wrong.events)) == ("http_status", 1)
    assert wrong.output["response"] == "invalid_blocks"
    assert "127.0.0.1" not in repr((wrong.error, wrong.output))


def test_teams(execute: Execute, hooks: Hooks) -> None:
    action = {"@type": "OpenUri", "name": "Show", "targets": []}
    result = execute(
        "teams_cli",
        {"webhook_url": hooks.url("/connector"), "title": "Disk", "message": "full",
         "theme_color": "#ff0000", "sections": [{"facts": []}], "actions": [action]},
    )  # fmt: skip
    assert result.output["status"] == 200
    card = hooks.taken[0].document
    assert (card["title"], card["text"], card["themeColor"]) == ("Disk", "full", "ff0000")
    assert card["potentialAction"] == [action]

    more = {"type": "FactSet", "facts": [{"title": "host", "value": "web-01"}]}
    result = execute(
        "teams_cli",
        {"webhook_url": hooks.url("/workflow"), "message": "full", "format": "adaptive_card",
         "body": [more], "actions": [{"type": "Action.OpenUrl", "title": "Show", "url": "x"}]},
    )  # fmt: skip
    assert result.output["status"] == 202
    content = hooks.taken[1].document["attachments"][0]["content"]
    assert [element["type"] for element in content["body"]] == ["TextBlock", "TextBlock", "FactSet"]
    assert content["actions"][0]["title"] == "Show"
    wrong = execute("teams_cli", {"webhook_url": hooks.url("/workflow"), "message": "full"})
    assert wrong.error_class == "http_status"


def test_webhook(execute: Execute, hooks: Hooks) -> None:
    payload = {"state": "done", "größe": [1, 2.5, None]}
    signed = execute(
        "webhook_sender",
        {"url": hooks.url("/signed"), "payload": payload, "hmac_secret": KEY,
         "headers": {"X-Source": "runstream"}},
    )  # fmt: skip
    assert signed.output == {"status": 202, "response": "accepted", "truncated": False}
    message = hooks.taken[0]
    assert (message.document, message.headers["x-source"]) == (payload, "runstream")
    assert KEY not in repr(signed)
    unsigned = execute("webhook_sender", {"url": hooks.url("/signed"), "payload": payload})
    assert (unsigned.error_class, unsigned.output["status"]) == ("http_status", 403)
    named = {"url": hooks.url("/plain"), "hmac_secret": KEY, "hmac_header": "X-Mine", "payload": ""}
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        result = execute("webhook_sender", {**named, "method": method})
        assert (result.output["response"], result.output["truncated"]) == ("y" * 500, True)
        assert hooks.taken[-1].method == method
        assert hooks.taken[-1].headers["x-mine"].startswith("sha256=")


@pytest.mark.parametrize(
    ("answer", "error_class", "tried"),
    [
        ((429, {"Retry-After": "2"}), "rate_limited", 2),
        ((503, {"Retry-After": "1"}), "rate_limited", 2),
        ((500, {}), "http_unavailable", 2),
        ((404, {}), "http_status", 1),
        ((302, {"Location": "http://127.0.0.1:1/"}), "http_status", 1),
    ],
)
def test_what_is_tried_again(
    execute: Execute, hooks: Hooks, answer: tuple[int, dict[str, str]], error_class: str, tried: int
) -> None:
    hooks.instead.append(answer)
    result = execute("webhook_sender", {"url": hooks.url("/plain"), "payload": {}}, retry=TWICE)
    assert attempts(result.events) == tried
    failed = next(event for event in result.events if event["type"] == "step.failed")
    assert failed["data"]["error"]["class"] == error_class
    asked = answer[1].get("Retry-After")
    if asked is not None:
        again = next(e for e in result.events if e["type"] == "step.retry_scheduled")
        assert again["data"]["delay_seconds"] >= int(asked)
    assert result.status == ("succeeded" if tried == 2 else "failed")


def test_a_receiver_that_does_not_answer(execute: Execute, hooks: Hooks) -> None:
    hooks.slow = 3.0
    given = {"url": hooks.url("/plain"), "payload": {}, "timeout_seconds": 0.5}
    result = execute("webhook_sender", given, retry=TWICE)
    # It may have had its effect, and no_answer is not among what this tool repeats.
    assert (result.error_class, attempts(result.events)) == ("no_answer", 1)


def steps(count: int, url: str, **more: Any) -> list[dict[str, Any]]:
    """That many messages side by side."""
    return [
        {"id": f"s{number}", "tool": "slack_cli", "depends_on": [], "on_failure": "continue",
         "parameters": planned("slack_cli", {"webhook_url": url, "message": f"{number}"}),
         "retry": {"max_attempts": 1}, **more}
        for number in range(count)
    ]  # fmt: skip


def test_a_chat_gets_no_more_than_it_takes(harness: Harness, hooks: Hooks) -> None:
    """Five at once, then one a second."""
    keys = harness.submit(1, steps(8, hooks.url("/slack"), timeout_seconds=60))
    (execution,) = harness.wait_ended(keys).values()
    assert harness.log.ends(execution) == ["execution.completed"]
    times = sorted(message.at for message in hooks.taken)
    assert len(times) == 8
    # Sent a second apart; on its way the first may lose most of one to the load.
    assert all(
        later - times[0] > wait - 0.8 for later, wait in zip(times[5:], (1, 2, 3), strict=True)
    )


def test_the_time_limit_does_not_run_while_the_rate_holds_a_message_back(
    harness: Harness, hooks: Hooks
) -> None:
    keys = harness.submit(1, steps(9, hooks.url("/slack"), timeout_seconds=2))
    (execution,) = harness.wait_ended(keys).values()
    assert harness.log.ends(execution) == ["execution.completed"]
    assert hooks.requests == len(hooks.taken) == 9
    waits = [one for one in harness.log.events[execution] if one["type"] == "step.waiting"]
    assert {one["data"]["reason"] for one in waits} == {"rate_limit"} and len(waits) >= 3


def attempts(events: list[dict[str, Any]]) -> int:
    """How many attempts were started."""
    return sum(event["type"] == "step.started" for event in events)
