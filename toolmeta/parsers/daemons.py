"""Daemons: JSON of their HTTP interfaces, checks of their configurations."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_VERSION: Final = re.compile(r"^rsyslogd:? +(?:version )?(\d[\w.]*)", re.MULTILINE)
_ERROR: Final = re.compile(r"\berrors?\b|\bfail(ed|ure)?\b|could not|cannot|not found", re.I)


def http_api(text: str) -> dict[str, Any]:
    """A list as `items`, an object as `data`, anything else as text."""
    if not text.lstrip().startswith(("[", "{")):
        return {"text": text.strip()}
    document = orjson.loads(text)
    if isinstance(document, list):
        return {"items": document, "count": len(document)}
    return {"data": document}


def fluentd(text: str) -> dict[str, Any]:
    """The plugins of the monitor agent, and which outputs retry; else the object."""
    document = orjson.loads(text)
    plugins = document.get("plugins")
    if plugins is None:
        return {"data": document}
    retrying = [item["plugin_id"] for item in plugins if item.get("retry_count")]
    return {"plugins": plugins, "count": len(plugins), "retrying": retrying}


def config_check(text: str) -> dict[str, Any]:
    """The messages of a check, errors in a list of their own."""
    messages = [line.strip() for line in text.split("\n") if line.strip()]
    output: dict[str, Any] = {
        "messages": messages,
        "errors": [line for line in messages if _ERROR.search(line)],
    }
    version = _VERSION.search(text)
    if version is not None:
        output["version"] = version[1]
    return output
