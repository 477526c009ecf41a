"""`runstream approve`: what is approved is shown first, and nothing is sent without a yes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import pytest

from authority.key_files import write_private
from authority.keys import KeyUse, PrivateKey
from console import control, eventlog
from console.cli import main
from console.exits import Exit
from tests.unit.router.simulation import Simulation
from toolmeta import scripts

SCRIPT = "echo begin\n" + "# filler\n" * 60 + "rm -rf /srv/shop"
STEPS: list[dict[str, Any]] = [
    {"id": "find", "tool": "noop", "parameters": {"value": "old\x1b[2J"}},
    {
        "id": "restart", "tool": "systemctl",
        "parameters": {"host": "{{ item }}", "action": "restart", "unit": "nginx"},
        "for_each": ["web-01", "web-02"], "when": "steps.find.output.value > 1",
        "become": True, "connection": {"jump": ["bastion"]},
        "compensate": {"tool": "systemctl", "parameters": {
            "host": "{{ item }}", "action": "{{ steps.find.output.value }}", "unit": "old"}},
    },
    {
        "id": "tell", "tool": "curl", "assets": ["shop-db"],
        "parameters": {"url": "https://example.org/", "method": "POST", "body": SCRIPT,
                       "headers": {"Authorization": {"type": "secret", "path": "env/TOKEN"}}},
    },
    {"id": "clean", "tool": "script", "parameters": {"script": SCRIPT, "interpreter": "bash"}},
]  # fmt: skip


class Log:
    """The event log as it stands; nothing is added to it."""

    def __init__(self, values: list[bytes]) -> None:
        self._values = values

    def __call__(self, settings: Any, route: str, *, since_ms: int | None = None) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    @property
    def caught_up(self) -> bool:
        return not self._values

    def next(self, timeout: float) -> bytes | None:
        return self._values.pop(0) if self._values else None


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The control messages that are produced; there is no broker."""
    monkeypatch.chdir(tmp_path)
    write_private(tmp_path / "ann.jwk", PrivateKey.generate(KeyUse(role="actor", actor="ann")))
    monkeypatch.setenv("RUNSTREAM_SIGNING_KEY", str(tmp_path / "ann.jwk"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    found: list[Any] = []
    monkeypatch.setattr(control, "_produce", lambda settings, command, key: found.append(command))
    return found


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The request for an approval of a plan that is on the log."""
    router = Simulation()
    plan = {"name": "patch", "environment": "prod", "steps": STEPS}
    router.submit({"actor": "mallory", "plan": plan})
    assert router.events[-1]["type"] == "execution.approval_requested", router.events
    values = [orjson.dumps(event) for event in router.events]
    monkeypatch.setattr(eventlog, "EventLog", Log(values))
    return router.events[-1]


def types(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Somebody sits at a terminal and types this."""
    monkeypatch.setattr(sys, "stdin", Terminal(text))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)


def test_literals_and_what_the_run_fills_in_are_shown_apart(
    sent: list[Any], waiting: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approve", waiting["execution_id"], "--no-wait"]) == Exit.OK
    shown = capsys.readouterr().err
    lines = [line.strip() for line in shown.splitlines()]
    assert "filled during the run: host = {{ item }}" in lines
    assert "literal: action = restart" in lines
    assert "literal: unit = nginx" in lines
    # Of the compensation, too; and no text of the plan controls the terminal.
    assert "filled during the run: action = {{ steps.find.output.value }}" in lines
    assert "literal: unit = old" in lines
    assert "literal: value = old\ufffd[2J" in lines
    assert "\x1b[2J" not in shown
    # Which items, when, on what, with which secrets.
    assert any("web-02" in line and line.startswith("for each of") for line in lines)
    assert "only if: steps.find.output.value > 1" in lines
    assert "assets: shop-db" in lines
    # As whom and over which way, of the compensation too.
    assert lines.count('become: {"user": "root"}') == 2
    assert lines.count('connection: {"jump": [{"host": "bastion"}]}') == 2
    assert any("env/TOKEN" in line for line in lines)
    # The end of a long text is no less approved than its beginning.
    assert "rm -rf /srv/shop" in shown
    assert f"script sha256: {scripts.digest('bash', SCRIPT)}" in shown
    assert waiting["data"]["plan_hash"] in shown
    assert "mallory" in shown


@pytest.mark.parametrize("answer", ["n\n", "no\n", "\n", "N\n", ""])
def test_without_a_yes_nothing_is_approved(
    sent: list[Any], waiting: dict[str, Any], monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    types(monkeypatch, answer)
    assert main(["approve", waiting["execution_id"], "--no-wait"]) != Exit.OK
    assert sent == []


def test_a_yes_approves_the_plan_that_was_shown(
    sent: list[Any], waiting: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    types(monkeypatch, "y\n")
    assert main(["approve", waiting["execution_id"], "--no-wait"]) == Exit.OK
    (command,) = sent
    assert (command.type, command.actor) == ("approve", "ann")
    assert command.execution_id == waiting["execution_id"]
    assert command.plan_hash == waiting["data"]["plan_hash"]


def test_nothing_is_asked_where_nothing_waits(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    router = Simulation()
    ident = router.submit({"plan": {"steps": [{"tool": "noop"}]}})[0]["execution_id"]
    monkeypatch.setattr(eventlog, "EventLog", Log([orjson.dumps(one) for one in router.events]))
    types(monkeypatch, "y\n")
    assert main(["approve", ident]) == Exit.REJECTED
    assert "needs no approval" in capsys.readouterr().err
    assert sent == []
