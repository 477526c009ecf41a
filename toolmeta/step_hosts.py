"""The fields of a step beside its parameters that say how it gets onto its host: `become` and
`connection`. What is wrong with them, which secrets and hosts they name, and which right they need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from streams.vocabulary import Permission
from toolmeta import secret_references
from toolmeta.check import checker_of
from toolmeta.hosts import split_port
from toolmeta.invocation import Problem
from toolmeta.model import Tool

Fields = Mapping[str, Any]

#: The drivers of the tools that log in to a host: to start a program there, or for its files.
DRIVERS: Final = frozenset({"command", "files", "script"})
#: Secrets of a step that fill no parameter: those of the SSH login.
LOGIN_SECRETS: Final = frozenset({"ssh_password", "ssh_key"})
_LOGIN: Final = ("key", "password")


def applies(tool: Tool) -> bool:
    """Whether `become` and `connection` of a step mean anything to this tool."""
    return tool.run.driver in DRIVERS


def problems(
    tool: Tool,
    parameters: Mapping[str, Any],
    assets: list[str] | None,
    become: Fields | None,
    connection: Fields | None,
) -> Iterator[Problem]:
    """What is wrong with the two fields; no problem names a value."""
    for name, value in (("become", become), ("connection", connection)):
        if value is None:
            continue
        if not applies(tool):
            yield Problem(name, f"{tool.name} starts no program on a host; leave {name} out")
        elif not assets and not _names_host(tool, parameters):
            message = (
                "is about a host that is reached over SSH, and the step names none: give host (a "
                "port makes it SSH, also for the executor's own machine: localhost:22)"
            )
            yield Problem(name, message)
    for field, value in _secrets(become, connection):
        told = None if secret_references.path_of(value) else secret_references.fault_of(value)
        if told is not None:
            yield Problem(field, told)
    for index, jump in enumerate(_jumps(connection)):
        port = split_port(jump["host"])[1]
        if port is not None and jump.get("port") not in (None, port):
            message = f"is not the port {port} that host names; give one of them"
            yield Problem(f"connection.jump[{index}].port", message)


def secrets(become: Fields | None, connection: Fields | None) -> Iterator[tuple[str, Any]]:
    """Every reference to a secret in the two fields, with its place."""
    for field, value in _secrets(become, connection):
        if secret_references.is_meant(value):
            yield field, value


def jump_hosts(connection: Fields | None) -> list[str]:
    """The hosts that the connection goes through, as they are written."""
    return [jump["host"] for jump in _jumps(connection)]


def permission(own: Permission, become: Fields | None, connection: Fields | None) -> Permission:
    """The right that a call needs which needs `own` by itself.

    Another account than the operator's login can do more, so naming one needs `execute`; where the
    program is the plan's own, that is to do anything as anybody: `admin`.
    """
    if become is None and not (connection or {}).get("user"):
        return own
    return "admin" if own in ("execute", "admin") else "execute"


def _names_host(tool: Tool, parameters: Mapping[str, Any]) -> bool:
    canonical = checker_of(tool).canonical
    return any(
        canonical.get(name) == "host" and value is not None for name, value in parameters.items()
    )


def _jumps(connection: Fields | None) -> list[dict[str, Any]]:
    return (connection or {}).get("jump") or []


def _secrets(become: Fields | None, connection: Fields | None) -> Iterator[tuple[str, Any]]:
    if become is not None and become.get("password") is not None:
        yield "become.password", become["password"]
    for index, jump in enumerate(_jumps(connection)):
        for name in _LOGIN:
            if jump.get(name) is not None:
                yield f"connection.jump[{index}].{name}", jump[name]
