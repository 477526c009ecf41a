"""Permissions: which right a call needs: read, write, execute, delete or admin.

The right follows from what the call can do: a call that only reads needs `read`, one that changes
`write`, one that destroys `delete`. Two kinds of change are more than that and have a word of their
own: running a program or script that the plan itself writes (`execute`), which can do whatever its
user can, and changing who may do what or how a machine is reached (`admin`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal

from streams.vocabulary import Permission
from toolmeta.check import apply_defaults
from toolmeta.effects import Effect, worst
from toolmeta.model import Tool
from toolmeta.risk import effect_of, effects_of, is_set

_OF_EFFECT: Final[dict[Effect, Permission]] = {
    "read": "read",
    "modify": "write",
    "destroy": "delete",
}

#: Tools whose calls need more than their effect says, unless they only read; each with the reason.
ABOVE_EFFECT: Final[dict[str, tuple[Literal["execute", "admin"], str]]] = {
    "at": ("execute", "runs the plan's script later"),
    "aws_lambda": ("execute", "runs a function, or removes it"),
    "ansible_playbook": ("execute", "runs what the playbook says, on every host that it reaches"),
    "argv": ("execute", "runs the plan's program"),
    "crictl": ("execute", "runs programs in containers"),
    "crontab": ("execute", "runs the plan's lines again and again"),
    "docker": ("execute", "runs programs in containers, which may have the host's files"),
    "docker_compose": ("execute", "runs what the project says"),
    "docker_exec": ("execute", "runs the plan's program"),
    "directory": ("execute", "changes who may put what into a folder, such as keys to log in with"),
    "file_copy": ("execute", "what is written may be run: a unit, a crontab, a key to log in with"),
    "file_put": ("execute", "what is written may be run: a unit, a crontab, a key to log in with"),
    "helm": ("execute", "runs what the chart says"),
    "helm_install": ("execute", "runs what the chart says"),
    "helm_upgrade": ("execute", "runs what the chart says"),
    "invoke_command": ("execute", "runs the plan's script"),
    "kubectl": ("execute", "runs what a manifest says, or a program in a pod"),
    "kubectl_exec": ("execute", "runs the plan's program"),
    "measure_command": ("execute", "runs the plan's script"),
    "nice": ("execute", "runs the plan's program"),
    "podman": ("execute", "runs programs in containers, which may have the host's files"),
    "powershell": ("execute", "runs the plan's script"),
    "register_scheduledtask": ("execute", "runs the plan's program later"),
    "schtasks": ("execute", "runs the plan's program later"),
    "start_job": ("execute", "runs the plan's script"),
    "terraform_apply": ("execute", "does what the configuration says, and runs its providers"),
    "terraform_plan": ("execute", "runs the providers and data sources of the configuration"),
    "aws": ("admin", "any call of the account, users and rights included"),
    "az": ("admin", "any call of the subscription, users and rights included"),
    "gcloud": ("admin", "any call of the project, users and rights included"),
    "axis_vapix_network_settings": ("admin", "changes how the camera is reached"),
    "chmod": ("admin", "changes who may read and write a file"),
    "chown": ("admin", "changes whose a file is"),
    "ifconfig": ("admin", "changes how the machine is reached"),
    "ip": ("admin", "changes how the machine is reached"),
    "iptables": ("admin", "changes what may reach the machine"),
    "passwd": ("admin", "changes who may log in"),
    "sudo": ("admin", "runs the plan's program as another user"),
    "group": ("admin", "changes groups"),
    "user": ("admin", "changes who may log in, and groups"),
    "useradd": ("admin", "changes who may log in"),
    "usermod": ("admin", "changes who may log in, and groups"),
}

#: What raises a call to `destroy` and needs another right than `execute`; each with the reason.
RAISED: Final[dict[str, tuple[Literal["admin"], str]]] = {
    "metadata.connection": ("admin", "changes how a machine is reached, and by which login"),
}


def permission_of(tool: Tool, parameters: dict[str, Any]) -> Permission:
    """The right that this call needs; what is not known before the run counts as the worst."""
    if tool.risk.effect_by is None and not tool.risk.raised_by:
        return _of_every_call(tool)
    return _of_call(tool, parameters)


def worst_permission(tool: Tool) -> Permission:
    """The right that the worst call of the tool needs."""
    effects = effects_of(tool)
    if effects != {"read"} and tool.name in ABOVE_EFFECT:
        return ABOVE_EFFECT[tool.name][0]
    raised = [place for place, effect in tool.risk.raised_by.items() if effect == "destroy"]
    return _right_of(raised) if raised else _OF_EFFECT[worst(*effects)]


@lru_cache(maxsize=1_024)
def _of_every_call(tool: Tool) -> Permission:
    """The right of a tool whose calls are all alike."""
    return _of_call(tool, {})


def _of_call(tool: Tool, parameters: dict[str, Any]) -> Permission:
    effect = effect_of(tool, parameters)
    if effect == "read":
        return "read"
    above = ABOVE_EFFECT.get(tool.name)
    if above is not None:
        return above[0]
    raised = _raising(tool, parameters) if effect == "destroy" else []
    return _right_of(raised) if raised else _OF_EFFECT[effect]


def _raising(tool: Tool, parameters: dict[str, Any]) -> list[str]:
    """What is set that makes the call destroy, wherever the rest of the call does less."""
    raised = tool.risk.raised_by
    if "destroy" not in raised.values():
        return []
    given = apply_defaults(tool, parameters)
    return [
        place for place, effect in raised.items() if effect == "destroy" and is_set(given, place)
    ]


def _right_of(raised: list[str]) -> Permission:
    """A path to a configuration, plug-in or socket is code."""
    if all(place in RAISED for place in raised):
        return "admin"
    return "execute"
