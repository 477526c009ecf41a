"""No report, row, dead letter or log line holds a value that was resolved for a step."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import orjson
import pytest
import structlog
from structlog.testing import capture_logs

from drivers.context import Failure, Outcome, RunContext, Success
from processors.executors import resolving
from processors.executors.claim import Start
from processors.executors.lane import Claimed
from runtime import clock
from tests.driver_kit import command, until
from tests.secret_kit import Given, bound
from tests.unit.executors_agent.test_agent import Lab
from toolmeta import registry
from toolmeta.invocation import Invocation
from toolmeta.model import Tool
from toolmeta.secret_references import pointers

CANARY = "w7-f3ak-\x01zq9x-" + "quartz-jumbled-vexing-fowl/" * 4
REGISTRY = registry.load()
STORE = Given({"env/CANARY": CANARY})
REFERENCE = {"type": "secret", "path": "env/CANARY"}
CASES = [(tool, name) for tool in REGISTRY.all() for name in sorted(tool.secret_parameters)]


def leaks(text: str) -> bool:
    """Whether six characters of the value, one after another, are in the text."""
    return any(CANARY[at : at + 6] in text for at in range(len(CANARY) - 5))


@pytest.mark.parametrize(("tool", "name"), CASES, ids=lambda one: getattr(one, "name", one))
def test_what_bind_says_of_a_wrong_value(tool: Tool, name: str) -> None:
    """The value has a control character, which most parameters refuse."""
    shape = tool.parameters[name]
    value: Any = REFERENCE
    if shape.items is not None and shape.items.secret:
        value = [REFERENCE]
    elif shape.values is not None and shape.values.secret:
        value = {"a": REFERENCE}
    parameters = {**tool.example.parameters, name: value}
    given = command(tool=tool.name, parameters=parameters, secret_paths=pointers(parameters))
    found = bound(STORE, given)
    if isinstance(found, Invocation):
        assert CANARY in found.secrets
        assert not leaks(repr(found.argv))
    else:
        assert not leaks(repr(found)), found


def test_what_bind_raises_shows_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is logged with its traceback when a command cannot be decided about."""

    def broken(tool: Tool, parameters: dict[str, Any]) -> Any:
        raise ValueError(f"unexpected {parameters}")

    monkeypatch.setattr(resolving, "bind", broken)
    parameters = {"url": "https://example.org/", "headers": {"A": REFERENCE}}
    given = command(tool="curl", parameters=parameters, secret_paths=pointers(parameters))
    with pytest.raises(RuntimeError) as caught:
        bound(STORE, given)
    shown = "".join(traceback.format_exception(caught.value))
    assert not leaks(shown)
    assert "ValueError" in shown and "broken" in shown


async def _raises(context: RunContext) -> Outcome:
    raise ValueError(f"no such {CANARY}")


async def _fails(context: RunContext) -> Outcome:
    await context.output.write("stderr", f"sent {CANARY}".encode())
    # Cut before it is masked, as drivers cut what a server answers.
    return Failure("remote_error", f"refused: {CANARY}", False, {"body": f"x {CANARY}"[:40]})


async def _waits(context: RunContext) -> Outcome:
    context.report_progress(50, f"half of {CANARY}")
    with context.hold("rate_limit", f"too many to {CANARY}"):
        await asyncio.sleep(0)
    return Success({CANARY: [CANARY, f'{{"a": "{CANARY}"}}']})


@pytest.mark.parametrize("act", [_raises, _fails, _waits])
def test_what_a_driver_says(act: Any) -> None:
    texts: list[bytes] = []

    async def story() -> None:
        lab = Lab(act)
        lab.publisher.gate.set()
        sent = lab.publisher.publish_soon

        def keep(topic: str, key: bytes, value: bytes, headers: Any, delivered: Any = None) -> None:
            texts.extend((value, repr(headers).encode()))
            sent(topic, key, value, headers, delivered)

        async def output(topic: str, key: bytes, value: bytes, headers: Any) -> None:
            texts.append(value)

        lab.publisher.publish_soon = keep  # type: ignore[method-assign]
        lab.publisher.publish = output  # type: ignore[method-assign]
        start = Start(command(step="one"), "one", Invocation("any", "fake", secrets=(CANARY,)))
        lab.lane.slots.acquire(1)
        lab.agent.begin(lab.lane, [Claimed(start, None, clock.monotonic())])
        await until(lambda: lab.agent.running == 0)

    with capture_logs() as logged:
        structlog.get_logger().info("begun")
        asyncio.run(story())
    assert texts
    for text in texts:
        assert not leaks(text.decode())
        if text.startswith(b"{"):
            assert not leaks(repr(orjson.loads(text)))
    assert not leaks(repr(logged))
