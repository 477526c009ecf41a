"""What is done with schedules and triggers alike: apply, pause, resume and remove."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from console import applying, terminal
from console.evaluating import evaluating
from console.exits import Exit, Failure
from console.session import Session
from console.starter_commands import Answer, Command, D, Kind, S, read, send
from console.starter_files import StarterFile
from streams.started import STARTER_NAME

if TYPE_CHECKING:
    from console.applied_files import Fault
    from reading.procedures import Applied

#: What would be refused by the applied procedures, and what is doubtful.
Against = Callable[
    [Sequence[StarterFile[D]], Mapping[str, "Applied"]], tuple[list["Fault"], list["Fault"]]
]


@dataclass(frozen=True, slots=True)
class Changes(Generic[D]):
    """What an apply would do."""

    written: list[StarterFile[D]]
    #: What is applied and not in the folder.
    removed: list[D]
    unchanged: int


@dataclass(frozen=True, slots=True)
class Options:
    """How to apply."""

    yes: bool
    prune: bool
    again: bool
    as_json: bool


def changes_of(
    found: Sequence[StarterFile[D]], there: Mapping[str, D], *, again: bool = False
) -> Changes[D]:
    """What the files would change of what is there; `again` applies the others too."""
    written = [one for one in found if again or there.get(one.name) != one.defined]
    names = {one.name for one in found}
    removed = [defined for name, defined in there.items() if name not in names]
    return Changes(written, removed, len(found) - len(written))


def apply(
    session: Session,
    kind: Kind[S, D],
    place: Path,
    found: Sequence[StarterFile[D]],
    against: Against[D],
    options: Options,
) -> None:
    """Make what is applied that of a folder, or of one file; raises Failure."""
    if options.prune and not place.is_dir():
        raise Failure("--prune needs a folder, and this is one file", Exit.USAGE)
    _against_procedures(session, found, against)
    there = definitions(read(session, kind), kind)
    changes = changes_of(found, there, again=options.again)
    missing = [one.name for one in changes.removed] if place.is_dir() else []
    for one in changes.written:
        before = there.get(one.name)
        applying.show_difference(
            f"{one.name} ({'nothing' if before is None else 'applied'})",
            one.file,
            None if before is None else document(before),
            document(one.defined),
        )
    applying.show_missing(missing, prune=options.prune)
    gone = missing if options.prune else []
    if (changes.written or gone) and not options.yes:
        applying.ask("apply this?", "nothing was applied")
    commands: list[Command] = [
        kind.apply(session.tenant, session.actor, one.defined) for one in changes.written
    ]
    commands += [
        kind.remove(tenant=session.tenant, actor=session.actor, name=name) for name in gone
    ]
    _report(kind, commands, send(session, kind, commands), changes, missing, options)


def _report(
    kind: Kind[S, D],
    commands: list[Command],
    answers: list[Answer[S]],
    changes: Changes[D],
    missing: list[str],
    options: Options,
) -> None:
    pairs = list(zip(commands, answers, strict=True))
    done = [command for command, answer in pairs if answer.refused is None]
    result = applying.Result(
        applied=[command.name for command in done if command.type == "apply"],
        removed=[command.name for command in done if command.type == "remove"],
        not_in_folder=[] if options.prune else missing,
        unchanged=changes.unchanged,
        refused=[
            f"{command.name}: {answer.refused}"
            for command, answer in pairs
            if answer.refused is not None
        ],
    )
    applying.report(result, kind.name, as_json=options.as_json)


def pause(
    session: Session, kind: Kind[S, D], name: str, reason: str | None, *, as_json: bool
) -> None:
    """Start nothing from now on; raises Failure."""
    named = checked_name(kind.name, name)
    asked = kind.pause(tenant=session.tenant, actor=session.actor, name=named, reason=reason)
    _said(session, kind, ask(session, kind, asked), "is paused", as_json=as_json)


def resume(session: Session, kind: Kind[S, D], name: str, *, as_json: bool) -> None:
    """Start again from now on; raises Failure."""
    named = checked_name(kind.name, name)
    asked = kind.resume(tenant=session.tenant, actor=session.actor, name=named)
    _said(session, kind, ask(session, kind, asked), "goes on", as_json=as_json)


def remove(session: Session, kind: Kind[S, D], name: str, *, yes: bool, as_json: bool) -> None:
    """Forget one; raises Failure."""
    applying.find(read(session, kind), name, kind.name)
    if not yes:
        applying.ask(f"remove {name}?", "nothing was removed")
    ask(session, kind, kind.remove(tenant=session.tenant, actor=session.actor, name=name))
    if as_json:
        terminal.data({"removed": name})
    else:
        terminal.say(f"{name} is removed", "green")


def ask(session: Session, kind: Kind[S, D], command: Command) -> S:
    """The state after a command; raises Failure where that is refused."""
    (answer,) = send(session, kind, [command])
    if answer.state is None:
        raise Failure(f"{command.type} refused: {answer.refused}", Exit.REJECTED)
    return answer.state


def checked_name(what: str, name: str) -> str:
    """`name` if a schedule or trigger may have it; raises Failure."""
    if re.search(STARTER_NAME, name) is None:
        raise Failure(f"{name!r} is no name of a {what}", Exit.USAGE, f"runstream {what}s list")
    return name


def definitions(found: Mapping[str, S], kind: Kind[S, D]) -> dict[str, D]:
    """As they were applied, by name."""
    pairs = ((name, kind.defined(state)) for name, state in found.items())
    return {name: defined for name, defined in pairs if defined is not None}


def document(defined: D) -> dict[str, Any]:
    """A definition as a file would have it."""
    return defined.model_dump(mode="json", exclude_defaults=True)


def _said(session: Session, kind: Kind[S, D], state: S, what: str, *, as_json: bool) -> None:
    if as_json:
        terminal.data(kind.document(session.settings, state))
    else:
        terminal.say(f"{state.name} {what}", "green")


def _against_procedures(
    session: Session, found: Sequence[StarterFile[D]], against: Against[D]
) -> None:
    """Refuse inputs that the procedures do not take, and warn of procedures that are not there."""
    from console import procedure_records

    procedures = procedure_records.read(session.settings, session.tenant)
    with evaluating():
        faults, doubts = against(found, procedures)
    applying.say(doubts[: applying.MAX_SHOWN], "yellow")
    applying.refuse(faults)
