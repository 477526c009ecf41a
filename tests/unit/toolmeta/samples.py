"""A definition for tests, as YAML would give it."""

from __future__ import annotations

from typing import Any

import yaml

from toolmeta import registry
from toolmeta.model import Tool

BASE: dict[str, Any] = {
    "name": "sample",
    "domain": "automation",
    "platform": "linux",
    "kind": "linux_cli",
    "description": "Does something with a file.\nOnly for tests.",
    "program": "sample",
    "debian_package": "samples",
    "parameters": {
        "host": {"type": "string", "format": "host-port", "description": "where"},
        "path": {"type": "string", "required": True, "aliases": ["file"], "description": "what"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "port"},
        "ratio": {"type": "number", "description": "ratio"},
        "quiet": {"type": "boolean", "default": False, "description": "quiet"},
        "wait": {"type": "duration", "maximum": 60, "default": "5s", "description": "wait"},
        "tags": {
            "type": "array",
            "lone": True,
            "max_items": 3,
            "items": {"type": "string", "max_length": 8},
            "description": "tags",
        },
        "labels": {"type": "object", "values": {"type": "string"}, "description": "labels"},
        "mode": {
            "type": "string",
            "enum": ["fast", "slow"],
            "default": "fast",
            "description": "mode",
        },
        "key": {"type": "string", "secret": True, "description": "key"},
    },
    "run": {
        "driver": "command",
        "argv": [
            "sample",
            {"flag": "-q", "when": "quiet"},
            "--wait={wait}",
            {"if": "port", "then": ["-p", "{port}"]},
            {"if": "mode", "is": "slow", "then": ["--slow"], "else": ["--fast"]},
            {"each": "labels", "then": ["--label={key}={value}"]},
            "--ratio={ratio}",
            "--",
            "{path}",
            {"each": "tags"},
        ],
        "stdin": "{key}",
    },
    "output": {"type": "object"},
    "risk": {
        "effect": "read",
        "why_read": "It reads one file.",
        "idempotent": True,
        "retry_safe": True,
    },
    "example": {"parameters": {"path": "/a"}, "output": {}},
}


def sample(**changes: Any) -> Tool:
    """The base definition with other fields; raises CatalogueError as the catalogue would."""
    data = {**BASE, **changes}
    return registry.read(yaml.safe_dump(data), data["domain"], data["name"])


def running(**changes: Any) -> Tool:
    """The base definition with another way to run."""
    return sample(run={**BASE["run"], **changes})
