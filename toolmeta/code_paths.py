"""Code paths: the configurations and sockets that a call names, which decide what it does. Pure."""

from __future__ import annotations

from typing import Any, Final

from toolmeta.invocation import CodePath
from toolmeta.model import Tool

_SOCKET: Final = "unix://"


def code_paths_of(tool: Tool, values: dict[str, Any]) -> tuple[CodePath, ...]:
    """Every path in `values`; a host or an address in place of a path is none.

    Each part between colons is one, since KUBECONFIG may name several files.
    """
    return tuple(
        CodePath(name, path)
        for name in tool.run.code_paths
        if type(text := values.get(name)) is str
        for path in _paths(text.removeprefix(_SOCKET))
    )


def _paths(text: str) -> list[str]:
    return [part for part in text.split(":") if part] if text.startswith("/") else []
