"""Tools of the operator's own at an executor: run by the plan's definition, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streams.reports import Refused, Succeeded
from streams.topics import EXECUTORS_CONTROL, OUTPUT, REPORTS, STEPS, dead_letter_topic
from tests.integration.executor_lab import lab
from tests.own_tools import SAY_GOODBYE, SAY_HELLO, write
from toolmeta.registry import read

BULK = STEPS["test", "bulk"]
NEEDED = (
    BULK, STEPS["test", "immediate"], dead_letter_topic(BULK), REPORTS, OUTPUT, EXECUTORS_CONTROL,
)  # fmt: skip


def test_a_changed_definition_is_taken_up_without_a_restart(
    kafka: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    first = read(SAY_HELLO, "automation", "say_hello").digest
    second = read(SAY_GOODBYE, "automation", "say_hello").digest
    folder = tmp_path / "tools"
    folder.mkdir(mode=0o755)
    write(folder, SAY_HELLO)
    with lab(kafka, topics(*NEEDED), tmp_path) as executors:
        executors.start(tools_path=folder)

        def ended(definition: str) -> Succeeded | Refused:
            command = executors.command(
                "say_hello", parameters={"name": "Ada"}, definition=definition
            )
            execution = executors.send(command)
            executors.until(lambda: executors.kinds(execution)[-1:] in (["succeeded"], ["refused"]))
            report = executors.of(execution)[-1]
            assert isinstance(report, Succeeded | Refused)
            return report

        one = ended(first)
        assert isinstance(one, Succeeded) and (one.output or {})["text"] == "hello Ada\n"
        # At once: the router may have read the file a moment before.
        write(folder, SAY_GOODBYE)
        two = ended(second)
        assert isinstance(two, Succeeded) and (two.output or {})["text"] == "goodbye Ada\n"
        three = ended(first)
        assert isinstance(three, Refused)
        assert "is not the one of the plan" in three.model_dump_json()
