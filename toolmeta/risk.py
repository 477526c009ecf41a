"""The risk of one call: by its effect, which may depend on the operation it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from streams.vocabulary import ActionClass, Environment
from toolmeta.check import apply_defaults
from toolmeta.effects import ACTION_CLASS_OF, Effect, worst
from toolmeta.model import Tool
from toolmeta.template import as_text

#: Tools whose changes need no approval in prod, each with the reason; see docs/approvals.md.
UNATTENDED: Final[dict[str, str]] = {
    "sendmail": "a message to people",
    "slack_cli": "a message to people",
    "teams_cli": "a message to people",
    "terraform_plan": "a file with a plan; nothing that the configuration manages is changed",
    "asset_create": "a record of the inventory; no machine is touched",
}
#: What a call of these may not name without an approval all the same.
ATTENDED_WITH: Final[dict[str, tuple[str, ...]]] = {
    "sendmail": ("server",),  # The plan chooses who gets the message.
}


def effect_of(tool: Tool, parameters: dict[str, Any]) -> Effect:
    """What this call does; an operation that is not known yet counts as the tool's worst."""
    if tool.risk.effect_by is None and not tool.risk.raised_by:
        return tool.risk.effect
    given = apply_defaults(tool, parameters)
    raised = [effect for name, effect in tool.risk.raised_by.items() if is_set(given, name)]
    return worst(_by_operation(tool, given), *raised, *_by_headers(tool, given))


def is_set(given: dict[str, Any], place: str) -> bool:
    """Whether the parameter has a value; a switch that is off has none.

    A field of a parameter (`metadata.connection`) is set with null too, which removes it; text in
    place of the object is not known yet, so it may have the field.
    """
    name, _, field = place.partition(".")
    value = given.get(name)
    if value is None or value is False:
        return False
    return not field or type(value) is not dict or field in value


def effects_of(tool: Tool) -> frozenset[Effect]:
    """Every effect that a call of the tool may have."""
    risk = tool.risk
    listed = () if risk.effect_by is None else risk.effect_by.effects.values()
    return frozenset(
        (risk.effect, *listed, *risk.raised_by.values(), *risk.raised_by_headers.values())
    )


def _by_operation(tool: Tool, given: dict[str, Any]) -> Effect:
    rule = tool.risk.effect_by
    if rule is None:
        return tool.risk.effect
    worst_of_all = worst(tool.risk.effect, *rule.effects.values())
    operation = given.get(rule.parameter)
    # Text is no switch: what is not of the parameter's own type is not what the table lists.
    wanted = bool if tool.parameters[rule.parameter].type == "boolean" else str
    if type(operation) is not wanted:
        return worst_of_all
    return rule.effects.get(as_text(operation), worst_of_all)


def _by_headers(tool: Tool, given: dict[str, Any]) -> Iterator[Effect]:
    """The effects of the headers that are set; of all where which they are is not known yet."""
    rules, headers = tool.risk.raised_by_headers, given.get("headers")
    if not rules or not headers:
        return
    if type(headers) is not dict:
        yield from rules.values()
        return
    for name in headers:
        # Servers that hand headers on as variables take both signs for the same.
        effect = rules.get(str(name).strip().lower().replace("_", "-"))
        if effect is not None:
            yield effect


def action_class_of(tool: Tool, parameters: dict[str, Any]) -> ActionClass:
    """`read` for a call that only reads, else the action class of the tool."""
    effect = effect_of(tool, parameters)
    return "read" if effect == "read" else tool.stated_action_class or ACTION_CLASS_OF[effect]


def approval_required(tool: Tool, parameters: dict[str, Any], environment: Environment) -> bool:
    """Whether this call needs an approval in this environment; one that only reads never does."""
    if environment != "prod" and environment not in tool.risk.approval_in:
        return False  # Whatever it does: executors ask this of every command.
    effect = effect_of(tool, parameters)
    if effect == "read":
        return False
    named = ATTENDED_WITH.get(tool.name, ())
    if named and environment == "prod":
        given = apply_defaults(tool, parameters)
        if any(is_set(given, name) for name in named):
            return True
    return environment in approval_environments(tool, effect)


def approval_environments(tool: Tool, effect: Effect) -> frozenset[Environment]:
    """Where a call of this effect needs an approval: where the definition says, and in prod.

    In prod only a tool of UNATTENDED goes without, and only for what it does not destroy.
    """
    if effect == "read":
        return frozenset()
    if effect == "modify" and tool.name in UNATTENDED:
        return tool.risk.approval_in
    return tool.risk.approval_in | {"prod"}


def may_repeat(tool: Tool, parameters: dict[str, Any]) -> bool:
    """Whether repeating this call is safe though the first one may have had its effect."""
    return tool.risk.idempotent or tool.risk.retry_safe or effect_of(tool, parameters) == "read"
