"""The output of a Windows step: the objects of the pipeline in the form of the definition.

`items: services` lists the objects under that name, with names in snake case, and counts them;
`value: exists` gives the first object itself; `first: true` gives its fields; `shape` names one
of the functions below; without any of them `objects` lists the objects, with unchanged names.
`rename` gives fields better names; `ignore` lists errors that only mean that nothing was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from drivers.powershell.collected import Collected
from drivers.powershell.names import snake
from streams.truncation import mark

Arguments = dict[str, Any]


def without_ignored(arguments: Arguments, collected: Collected) -> Collected:
    """The same without the errors that the definition ignores."""
    ignored = frozenset(arguments.get("ignore") or ())
    kept = [error for error in collected.errors if error.error_id not in ignored]
    gone = len(collected.errors) - len(kept)
    failed = collected.failed and bool(kept or not gone)
    return replace(collected, errors=kept, error_count=collected.error_count - gone, failed=failed)


def output_of(arguments: Arguments, collected: Collected) -> dict[str, Any]:
    """The output, whether the pipeline succeeded or not."""
    limit = arguments.get("limit")
    objects = collected.objects
    truncated = collected.truncated
    if limit is not None and len(objects) > int(limit):
        objects, truncated = objects[: int(limit)], True
    output: dict[str, Any] = {}
    if (items := arguments.get("items")) is not None:
        output[items] = [_fields(one, arguments) for one in objects]
        output["count"] = len(objects)
    elif (value := arguments.get("value")) is not None:
        output[value] = objects[0] if objects else None
    elif arguments.get("first"):
        output |= _fields(objects[0], arguments) if objects else {}
    elif (shape := arguments.get("shape")) is not None:
        output |= _SHAPES[shape](arguments, objects, collected)
    else:
        output |= {"objects": objects, "count": collected.count}
    output["errors"] = [error.shown() for error in collected.errors]
    output["warnings"] = list(collected.warnings)
    if collected.verbose:
        output["verbose"] = list(collected.verbose)
    if collected.information:
        output["information"] = list(collected.information)
    output["truncated"] = truncated
    if collected.truncated:
        shape = arguments.get("items") or "objects"
        if isinstance(kept := output.get(shape), list):
            mark(output, shape, len(kept), collected.count)
    return output


def _fields(value: Any, arguments: Arguments) -> dict[str, Any]:
    """The properties of an object under the names of the catalogue; deeper names are data."""
    if not isinstance(value, dict):
        return {"value": value}
    renamed = arguments.get("rename") or {}
    named = {snake(name): item for name, item in value.items()}
    return {renamed.get(name, name): item for name, item in named.items()}


def _ping(arguments: Arguments, objects: list[Any], _: Collected) -> dict[str, Any]:
    """Win32_PingStatus objects; a status of 0 is a reply, a lost one is an error or none."""
    replies = [_fields(one, arguments) for one in objects if isinstance(one, dict)]
    came = [one for one in replies if one.get("status_code") in (0, None)]
    times = [one["response_time"] for one in came if isinstance(one.get("response_time"), int)]
    sent = max(int((arguments.get("parameters") or {}).get("Count", 1)), len(replies))
    output: dict[str, Any] = {
        "is_reachable": bool(came),
        "packets_sent": sent,
        "packets_received": len(came),
        "packet_loss_percent": round(100.0 * (sent - len(came)) / sent, 1),
        "replies": replies,
    }
    if times:
        output["response_time_ms"] = round(sum(times) / len(times), 3)
        output["min_ms"], output["max_ms"] = min(times), max(times)
    return output


def _console(_: Arguments, objects: list[Any], collected: Collected) -> dict[str, Any]:
    """What a script wrote: its text, and its objects as they are."""
    return {
        "stdout": "\n".join(one for one in objects if isinstance(one, str)),
        "stderr": "\n".join(error.message for error in collected.errors),
        "exit_code": 1 if collected.failed or collected.errors else 0,
        "objects": [one for one in objects if not isinstance(one, str)],
        "count": collected.count,
    }


def _program(arguments: Arguments, objects: list[Any], _: Collected) -> dict[str, Any]:
    """A program's exit code and text, then the rows that it printed."""
    first = _fields(objects[0], arguments) if objects else {}
    rows = [_fields(one, arguments) for one in objects[1:]]
    keep = int(arguments.get("keep") or len(rows))
    return {
        "exit_code": first.get("exit_code"),
        "text": first.get("text") or "",
        "tasks": rows[:keep],
        "count": len(rows),
    }


def _job(arguments: Arguments, objects: list[Any], _: Collected) -> dict[str, Any]:
    """A job's state, then what it wrote."""
    first = _fields(objects[0], arguments) if objects else {}
    named = {name: first.get(name) for name in ("id", "name", "state")}
    return {**named, "objects": objects[1:], "count": len(objects[1:])}


_SHAPES: Final[dict[str, Callable[[Arguments, list[Any], Collected], dict[str, Any]]]] = {
    "ping": _ping,
    "console": _console,
    "program": _program,
    "job": _job,
}
