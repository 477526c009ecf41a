"""The table of odd inputs of docs/tools-coverage.md: by definitions, marks and reasons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.tools.odd.inputs import INPUTS, applying
from tests.tools.odd.tried import tried
from toolmeta.model import Tool
from toolmeta.registry import load

_REASONS = Path(__file__).with_name("reasons.yaml")


@dataclass(frozen=True)
class Reason:
    """Why some inputs of some tools are not tried."""

    inputs: frozenset[str]
    tools: frozenset[str]
    drivers: frozenset[str]
    text: str

    def holds(self, tool: Tool, what: str) -> bool:
        """Whether it is about this input of this tool."""
        named = tool.name in self.tools or tool.run.driver in self.drivers
        return named and what in self.inputs


def reasons() -> list[Reason]:
    """All of them, in the order of the file."""
    read = yaml.safe_load(_REASONS.read_text(encoding="utf-8"))
    return [
        Reason(
            frozenset(entry["inputs"]),
            frozenset(entry.get("tools", ())),
            frozenset(entry.get("drivers", ())),
            str(entry["reason"]),
        )
        for entry in read
    ]


def tools() -> list[Tool]:
    """Those of the specification, by name."""
    return sorted((t for t in load().all() if t.domain != "test"), key=lambda tool: tool.name)


def tried_of() -> dict[str, set[str]]:
    """The inputs that some test tries of each tool."""
    found: dict[str, set[str]] = defaultdict(set)
    for mark in tried():
        for tool in mark.tools:
            found[tool].update(mark.inputs)
    return found


def section(kinds: Mapping[str, str]) -> str:
    """The text that stands below the table of tools; `kinds` says how each is run, by its name."""
    every, marks, why = tools(), tried_of(), reasons()
    rows = []
    count = {"yes": 0, "no": 0}
    for tool in every:
        cells = []
        for what in INPUTS:
            if what not in applying(tool):
                cells.append("")
            elif what in marks[tool.name]:
                cells.append("yes")
                count["yes"] += 1
            else:
                numbers = [str(n) for n, one in enumerate(why, 1) if one.holds(tool, what)]
                cells.append(numbers[0] if numbers else "?")
                count["no"] += 1
        rows.append(f"| `{tool.name}` | {kinds.get(tool.name, '')} | {' | '.join(cells)} |\n")
    meanings = "".join(f"- {what}: {meaning}\n" for what, meaning in INPUTS.items())
    notes = "".join(f"{number}. {one.text}\n" for number, one in enumerate(why, 1))
    return (
        "\n## Odd inputs\n\n"
        "Which of these a tool takes follows from its definition; an empty cell is one that it "
        f"does not take. Of {sum(count.values())}, {count['yes']} are tried by a test, and the "
        f"number in each of the other {count['no']} is that of the reason below.\n\n"
        f"{meanings}\n"
        f"| tool | kind | {' | '.join(INPUTS)} |\n|---|---|{'---|' * len(INPUTS)}\n{''.join(rows)}"
        f"\n### Why not\n\n{notes}"
    )


def faults() -> list[str]:
    """What is wrong with marks and reasons: each a sentence."""
    marks, why = tried_of(), reasons()
    known = {tool.name: tool for tool in tools()}
    found = []
    for name, inputs in sorted(marks.items()):
        if name not in known:
            found.append(f"{name} is marked as tried and is no tool")
            continue
        found += [f"{name}: there is no input {what}" for what in sorted(inputs - set(INPUTS))]
    for tool in known.values():
        for what in sorted(applying(tool) - marks[tool.name]):
            if not any(one.holds(tool, what) for one in why):
                found.append(f"{tool.name}: {what} is neither tried nor is it said why not")
    for one in why:
        untried = any(
            what in applying(tool) - marks[tool.name] and one.holds(tool, what)
            for tool in known.values()
            for what in one.inputs
        )
        if not untried:
            found.append(f"the reason {one.text!r} is of nothing any more")
        found += [f"{name} of a reason is no tool" for name in sorted(one.tools - set(known))]
    return found
