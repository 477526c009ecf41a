"""Start as its templates show it: procedures, the form of one, and what would become of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from reading.models.procedures import ProcedureDetail, ProcedureList, ProcedureSummary
from streams.explained import Explained, ExplainedCall
from streams.problems import Problem
from web.statuses import Look
from web.views.approvals import UNKNOWN_HOST
from web.views.inputs import Field, fields
from web.wording import counted, duration

_INPUT: Final = re.compile(r"^(?:request\.)?inputs\.([A-Za-z_][A-Za-z0-9_]*)")
_MAX_CALLED: Final = 400

#: What stands in the field of a plan before anybody has typed.
EXAMPLE_PLAN: Final = "name: first\nsteps:\n  - tool: uptime\n  - tool: df\n"


@dataclass(frozen=True, slots=True)
class ProcedureRow:
    """One procedure in the list."""

    procedure: ProcedureSummary
    href: str
    needs: str


@dataclass(frozen=True, slots=True)
class Procedures:
    """The page on which a procedure is chosen."""

    rows: list[ProcedureRow]
    text: str
    total: int
    shown: str


@dataclass(frozen=True, slots=True)
class PreviewCall:
    """One call that would be made."""

    name: str
    tool: str
    tool_href: str
    assets: str
    look: Look
    rule: str
    why: str | None
    called: str | None
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Preview:
    """What the router says would become of a request."""

    look: Look
    sentence: str
    facts: list[tuple[str, str]]
    problems: list[Problem]
    calls: list[PreviewCall]
    calls_left_out: int
    duplicate_of: str | None


@dataclass(frozen=True, slots=True)
class ProcedureForm:
    """The page of one procedure that is to be started."""

    procedure: ProcedureDetail
    fields: list[Field]
    #: Names this form, so that a second click starts nothing again.
    key: str
    preview: Preview | None
    #: What failed before the router answered.
    trouble: str | None

    @property
    def good(self) -> bool:
        """Whether the router would take it as it is."""
        return self.preview is not None and self.preview.look.tone != "fail"


@dataclass(frozen=True, slots=True)
class PlanForm:
    """The page on which a plan is pasted."""

    text: str
    key: str
    wrong: str | None
    preview: Preview | None
    trouble: str | None

    @property
    def good(self) -> bool:
        """Whether the router would take it as it is."""
        return self.preview is not None and self.preview.look.tone != "fail"


def procedures(found: ProcedureList, text: str) -> Procedures:
    """The procedures with this text."""
    words = text.lower().split()
    matching = [one for one in found.procedures if all(word in _words(one) for word in words)]
    return Procedures(
        [ProcedureRow(one, f"/start/{one.name}", _needs(one)) for one in matching],
        text,
        found.total,
        f"{len(matching)} of {counted(found.total, 'procedure')}",
    )


def procedure_form(
    procedure: ProcedureDetail,
    key: str,
    texts: Mapping[str, str],
    wrong: Mapping[str, str],
    explained: Explained | None = None,
    trouble: str | None = None,
) -> ProcedureForm:
    """The form of a procedure; what the router says of an input stands at its field."""
    told = {} if explained is None else of_inputs(explained.problems)
    at_fields = {one.name for one in procedure.input_list}
    return ProcedureForm(
        procedure,
        fields(procedure.input_list, texts, {**told, **wrong}),
        key,
        None if explained is None else preview(explained, at_fields),
        trouble,
    )


def of_inputs(problems: list[Problem]) -> dict[str, str]:
    """What is wrong with each input."""
    found: dict[str, str] = {}
    for problem in problems:
        place = _INPUT.match(problem.field)
        if place:
            found.setdefault(place[1], problem.message)
    return found


def preview(explained: Explained, at_fields: set[str] | None = None) -> Preview:
    """What would become of the request; problems that stand at a field are not repeated."""
    known = at_fields or set()
    problems = [
        one
        for one in explained.problems
        if not ((place := _INPUT.match(one.field)) and place[1] in known)
    ]
    return Preview(
        look=_look(explained),
        sentence=_sentence(explained),
        facts=_facts(explained),
        problems=problems,
        calls=[_call(one) for one in explained.calls],
        calls_left_out=explained.calls_left_out,
        duplicate_of=explained.duplicate_of,
    )


def _words(one: ProcedureSummary) -> str:
    return f"{one.name} {one.description or ''}".lower()


def _needs(one: ProcedureSummary) -> str:
    if not one.inputs:
        return "no inputs"
    required = len(one.required_inputs)
    return f"{counted(one.inputs, 'input')}, {required or 'none'} required"


def _look(explained: Explained) -> Look:
    if explained.answer == "rejected":
        return Look("fail", "ban", "It would be refused")
    if explained.answer == "duplicate":
        return Look("wait", "copy", "It has been started already")
    if explained.approval_level:
        return Look("person", "person", "It would wait for approval")
    return Look("ok", "check", "It would run")


def _sentence(explained: Explained) -> str:
    if explained.answer == "rejected":
        return explained.message or explained.reason or "the router says no more"
    if explained.answer == "duplicate":
        return "a request with the same idempotency key was accepted before"
    if explained.approval_level:
        people = counted(explained.approval_level, "person", "people")
        return f"{people} other than you must approve it"
    return "nothing was run yet"


def _facts(explained: Explained) -> list[tuple[str, str]]:
    facts: list[tuple[str, str | None]] = [
        ("As", explained.actor),
        ("Environment", explained.environment),
        ("SLA class", explained.sla_class),
        ("Action class", explained.action_class),
        ("Time limit", _seconds(explained.timeout_seconds)),
        ("Expected within", _seconds(explained.sla_seconds)),
        ("Time to approve", _seconds(explained.approval_seconds)),
        ("Plan hash", explained.plan_hash),
    ]
    return [(label, text) for label, text in facts if text is not None]


def _seconds(value: float | None) -> str | None:
    return None if value is None else duration(value)


def _call(call: ExplainedCall) -> PreviewCall:
    if not call.allowed:
        look = Look("fail", "ban", "Denied")
    elif call.approval:
        look = Look("person", "person", "Needs approval")
    else:
        look = Look("ok", "check", "Allowed")
    notes = []
    if call.templates:
        notes.append(f"filled during the run: {', '.join(call.templates)}")
    if call.become:
        notes.append(f"as {call.become} on the host")
    if call.secrets:
        notes.append(f"secrets: {', '.join(call.secrets)}")
    if call.locks:
        notes.append("locks what it acts on")
    return PreviewCall(
        name=call.step or call.field,
        tool=call.tool,
        tool_href=f"/tools/{call.tool}",
        assets=", ".join(one or UNKNOWN_HOST for one in call.assets),
        look=look,
        rule=call.rule,
        why=call.message,
        called=None if call.invocation is None else _called(call.invocation),
        notes=notes,
    )


def _called(invocation: dict[str, Any]) -> str:
    argv = invocation.get("argv")
    if isinstance(argv, list):
        text = shlex.join(str(part) for part in argv)
    else:
        rest = {name: value for name, value in invocation.items() if name != "driver"}
        text = f"{invocation.get('driver')} {rest}"
    return text if len(text) <= _MAX_CALLED else f"{text[:_MAX_CALLED]}…"


def example_text(plan: dict[str, Any]) -> str:
    """A plan as text that can be changed and sent."""
    return json.dumps(plan, ensure_ascii=False, indent=2)
