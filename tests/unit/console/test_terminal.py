"""No text of a plan, a tool or a record reaches the terminal as a control character."""

from __future__ import annotations

import ast
import json
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.live import Live
from rich.table import Table
from rich.text import Text

import console
from console import dead_letters, dlq, outcome, report, terminal
from console.board import Board
from console.dead_letters import DeadLetterRecord, Headers
from console.display import Display
from console.exits import Exit, Failure
from console.view import ExecutionView
from reading.sentences import document
from reading.text import json_text, plain
from streams import topics
from streams.events import Event, decode_event
from streams.payloads import EVENT_TYPES

IDENT = "01a1f7c1-4180-8a94-9234-56783662e997"
EXAMPLES = files("streams").joinpath("examples")
#: Sets a title, clears, C1's CSI and OSC, turns text round, ends lines, erases and bells.
EVIL = (
    "\x1b]0;owned\x07\x1b[2J\x9b31m\x9d0;owned\x9c\u202egnp.exe\u202c\u2066x\u2069"
    "\u200e\u200f\u061c\u2028\u2029\x85\x7f\x08\r"
)
Capture = pytest.CaptureFixture[str]


def controls(text: str) -> set[str]:
    """The characters of `text` that control a terminal or turn the direction of text."""
    turning = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    marks = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029"}
    return {
        char
        for char in text
        if (unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t")
        or unicodedata.bidirectional(char) in turning
        or char in marks
    }


def printed(capsys: Capture) -> str:
    """All that was printed; it holds no control character."""
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert text
    assert controls(text) == set()
    return text


def poisoned(value: Any) -> Any:
    """The same JSON, every text of it hostile where that is allowed."""
    if isinstance(value, dict):
        return {name: poisoned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value + EVIL if isinstance(value, str) else value


def hostile(kind: str) -> Event:
    """The example of the event with as many hostile texts as its types allow."""
    example = json.loads(EXAMPLES.joinpath(f"event.{kind}.json").read_bytes())
    example |= {"execution_id": IDENT, "seq": 1}
    for field in list(example["data"]):
        changed = {**example, "data": {**example["data"], field: poisoned(example["data"][field])}}
        try:
            decode_event(json.dumps(changed).encode())
        except ValueError:  # a field that takes no such text
            continue
        example = changed
    if example.get("step") is not None:
        example["step"] += EVIL
    return decode_event(json.dumps(example).encode())


ANYTHING = st.text(
    st.characters(codec=None) | st.sampled_from(EVIL + "\ud800\x00\x1b\n\t"), max_size=40
)


@given(ANYTHING)
def test_plain_text_controls_nothing(text: str) -> None:
    assert controls(plain(text)) == set()


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner) | st.dictionaries(ANYTHING, inner)))
def test_json_controls_nothing_and_keeps_its_value(value: Any) -> None:
    for indent in (None, 2):
        text = json_text(value, indent)
        assert controls(text) == set()
        assert json.loads(text) == value
    assert "\n" not in json_text(value)


@given(ANYTHING)
def test_what_rich_draws_controls_nothing(text: str) -> None:
    table = Table("A")
    table.add_row(text)
    table.add_row(Text(text))
    with terminal.out().capture() as drawn:
        terminal.out().print(table)
        terminal.out().print(text, soft_wrap=True)
        terminal.out().print(Text(text))
    assert controls(drawn.get()) == set()


@pytest.mark.parametrize("kind", EVENT_TYPES)
@pytest.mark.parametrize("jsonl", [True, False])
def test_run_and_watch(kind: str, jsonl: bool, capsys: Capture) -> None:
    event = hostile(kind)
    view = ExecutionView(IDENT)
    view.apply(hostile("execution.accepted"))
    view.apply(replace(event, seq=2))
    shown = Display(view, jsonl=jsonl, quiet=False)
    shown.event(event)
    shown.note(EVIL)
    terminal.data(outcome.document(view))
    outcome.tell(view, live=True)
    text = printed(capsys)
    if jsonl:
        assert json.loads(text.splitlines()[0]) == document(event)


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_the_live_board(kind: str) -> None:
    view = ExecutionView(IDENT)
    view.apply(hostile("execution.accepted"))
    view.apply(replace(hostile(kind), seq=2))
    with terminal.err().capture() as drawn, Live(Board(view), console=terminal.err()):
        pass
    assert controls(drawn.get()) == set()


NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Row(dict[str, Any]):
    """A row of the database; columns that the test does not name are absent."""

    def __missing__(self, name: str) -> Any:
        return None


def test_list_and_show(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Row(step=EVIL, status="failed", attempt=1, executor=EVIL, error_message=EVIL,
                  error_class=EVIL, output={EVIL: EVIL}, started_at=NOW)  # fmt: skip
    step = Row(step=EVIL, tool=EVIL, status="failed", attempt=2, target=EVIL, output_data=EVIL,
               error_message=EVIL, error_class=EVIL, status_reason=EVIL)  # fmt: skip
    row = Row(execution_id=EVIL, status=f"failed{EVIL}", name=EVIL, tenant=EVIL, actor=EVIL,
              created_at=NOW, error_message=EVIL, environment=EVIL, idempotency_key=EVIL,
              rerun_of=EVIL, conflicts_with=EVIL, steps=[step], attempts=[attempt, attempt.copy()],
              approval={"state": EVIL, "decided_by": EVIL})  # fmt: skip
    row["attempts"] = [attempt]
    for columns in ("80", "160"):
        monkeypatch.setenv("COLUMNS", columns)
        terminal._console.cache_clear()
        report.executions([row])
        report.execution(row)
        terminal.data(row)
    printed(capsys)


def test_dead_letters(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    source = topics.REQUESTS
    headers: Headers = [
        ("runstream-error-class", EVIL.encode()),
        ("runstream-error-message", EVIL.encode()),
        (f"x{EVIL}", b"\n" + EVIL.encode()),
        ("ce_subject", EVIL.encode()),
    ]
    record = DeadLetterRecord(source, source.dlq, 0, 1, 0, EVIL.encode(), EVIL.encode(), headers)
    monkeypatch.setattr(dlq, "_settings", lambda: None)
    monkeypatch.setattr(dlq, "_newest", lambda *_: [record])
    monkeypatch.setattr(dead_letters, "source_of", lambda *_: source)
    monkeypatch.setattr(dead_letters, "one", lambda *_: record)
    for as_json_, jsonl in ((True, False), (False, True), (False, False)):
        dlq.list_(as_json=as_json_, jsonl=jsonl)
    for as_json_ in (True, False):
        dlq.show(source.dlq, 0, 1, as_json=as_json_)
    printed(capsys)


def test_failures_and_answers(capsys: Capture) -> None:
    terminal.print_failure(Failure(EVIL, Exit.FAILED, EVIL))
    terminal.say(EVIL, "red")
    terminal.tell(EVIL)
    terminal.line({EVIL: EVIL})
    printed(capsys)


def test_nothing_else_writes_to_the_terminal() -> None:
    """Every other module prints through `terminal`, whose functions are tested above."""
    found = []
    for path in sorted(Path(console.__file__).parent.glob("*.py")):
        if path.name in ("terminal.py", "guarded.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            call = ast.unparse(node.func)
            if call in ("print", "Console", "typer.echo", "click.echo", "typer.secho") or (
                call.startswith(("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer"))
            ):
                found.append(f"{path.name}:{node.lineno} {call}")
    assert found == []
