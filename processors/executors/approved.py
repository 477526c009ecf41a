"""Whether a command carries the approval that its call needs; pure.

The router lets nothing out that waits for an approval. Asked again here, that holds where the
router has another catalogue than this executor, and where a command came about in another way.
"""

from __future__ import annotations

from collections.abc import Callable

from streams.actors import same_actor
from streams.commands import StepCommand
from toolmeta.model import Tool
from toolmeta.registry import Registry
from toolmeta.risk import approval_required

#: Why a command is not approved as its call must be; None where it is, or needs no approval.
Unapproved = Callable[[StepCommand], str | None]

_REMEDY = "nothing was started. Submit the plan again, and have it approved as it is now."


def approval_check(registry: Registry) -> Unapproved:
    """The check of commands against the catalogue of this process.

    What counts are the parameters as they were rendered. A tool that is not in the catalogue is
    nothing that could be started: binding says so.
    """

    def unapproved(command: StepCommand) -> str | None:
        tool = registry.get(command.tool)
        if tool is None:
            return None
        if command.approval is not None:
            fault = _fault(command, tool)
        elif approval_required(tool, command.parameters, command.environment):
            fault = (
                f"{tool.name} needs an approval in {command.environment} with these parameters, "
                "and the command carries none"
            )
        else:
            return None
        return None if fault is None else f"{fault}; {_REMEDY}"

    return unapproved


def _fault(command: StepCommand, tool: Tool) -> str | None:
    """What is wrong with the approval that the command carries, or None."""
    approval = command.approval
    assert approval is not None  # asked for where there is one only  # noqa: S101
    if command.plan_hash is None:
        return "the command carries an approval without plan_hash, that of the approved plan"
    if any(same_actor(actor, command.actor) for actor in approval.by):
        return f"{command.actor} is named as having approved the plan, and asked for it"
    people = len({actor.lower() for actor in approval.by})
    if people < approval.level:
        return f"the approval names {people} of the {approval.level} people that it needs"
    if approval.definition != tool.digest:
        return f"the definition of {tool.name} here is not the one that was approved"
    return None
