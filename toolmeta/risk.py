"""The risk of one call: by its effect, which may depend on the operation it names."""

from __future__ import annotations

from typing import Any

from streams.vocabulary import ActionClass, Environment
from toolmeta.check import apply_defaults
from toolmeta.effects import ACTION_CLASS_OF, Effect, worst
from toolmeta.model import Tool
from toolmeta.template import as_text


def effect_of(tool: Tool, parameters: dict[str, Any]) -> Effect:
    """What this call does; an operation that is not known yet counts as the tool's worst."""
    given = apply_defaults(tool, parameters)
    raised = [effect for name, effect in tool.risk.raised_by.items() if _set(given, name)]
    return worst(_by_operation(tool, given), *raised)


def _set(given: dict[str, Any], name: str) -> bool:
    """Whether the parameter has a value; a switch that is off has none."""
    return given.get(name) is not None and given[name] is not False


def _by_operation(tool: Tool, given: dict[str, Any]) -> Effect:
    rule = tool.risk.effect_by
    if rule is None:
        return tool.risk.effect
    operation = given.get(rule.parameter)
    if type(operation) not in (str, bool):
        return tool.risk.effect
    return rule.effects.get(as_text(operation), tool.risk.effect)


def action_class_of(tool: Tool, parameters: dict[str, Any]) -> ActionClass:
    """`read` for a call that only reads, else the action class of the tool."""
    effect = effect_of(tool, parameters)
    return "read" if effect == "read" else tool.stated_action_class or ACTION_CLASS_OF[effect]


def approval_required(tool: Tool, parameters: dict[str, Any], environment: Environment) -> bool:
    """Whether this call requires an approval in this environment.

    In production what destroys does, whatever the definition says.
    """
    effect = effect_of(tool, parameters)
    if effect == "destroy" and environment == "prod":
        return True
    return environment in tool.risk.approval_in and effect != "read"


def may_repeat(tool: Tool, parameters: dict[str, Any]) -> bool:
    """Whether repeating this call is safe though the first one may have had its effect."""
    return tool.risk.idempotent or tool.risk.retry_safe or effect_of(tool, parameters) == "read"
