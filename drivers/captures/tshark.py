"""Argument lists of tshark and the fields of its JSON; pure."""

from __future__ import annotations

import re
from typing import Any, Final

#: The fields of every packet where the step names none.
FIELDS: Final = (
    "frame.number",
    "frame.time_epoch",
    "frame.len",
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "_ws.col.Protocol",
    "_ws.col.Info",
)


#: How tshark ends after a file that was cut off, and at what it cannot read at all.
CUT_SHORT: Final = 2
_CUT_SHORT: Final = re.compile(
    r"^tshark: The file \".*\" appears to have been cut short in the middle of a packet\.\s*\Z",
    re.MULTILINE,
)


def cut_short(errors: bytes) -> bool:
    """Whether tshark read every packet of its file but the last, which is not whole."""
    return _CUT_SHORT.search(errors.decode("utf-8", "replace")) is not None


def capture_argv(values: dict[str, Any], seconds: float) -> list[str]:
    """tshark that writes a pcap to stdout, for the capture store.

    It must end by itself: interrupted together with its dumpcap it leaves no file.
    """
    argv = ["tshark", "-n", "-q", "-F", "pcap", "-w", "-", "-p"]
    argv += ["-i", str(values.get("interface")), "-c", str(values["packets"])]
    argv += ["-a", f"duration:{seconds:g}"]
    return [*argv, "-f", str(values["filter"])] if values.get("filter") else argv


def read_argv(values: dict[str, Any], path: str) -> list[str]:
    """tshark that reads a capture and writes the wanted fields as JSON."""
    argv = ["tshark", "-n", "-r", path, "-T", "json", "-c", str(values["packets"])]
    if values.get("display_filter"):
        argv += ["-Y", str(values["display_filter"])]
    for field in values.get("fields") or FIELDS:
        argv += ["-e", str(field)]
    return argv


def findings(output: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """One row per packet with the fields that it has; a field that occurs once is no list."""
    rows = []
    for item in output.get("rows") or []:
        layers = item.get("_source", {}).get("layers", {})
        rows.append({name: v[0] if len(v) == 1 else v for name, v in layers.items()})
    limit = int(values["limit"])
    found: dict[str, Any] = {
        "exit_code": 0,
        "rows": rows[:limit],
        "count": len(rows),
    }
    if output.get("exit_code"):
        found["cut_short"] = True
    if len(rows) > limit or output.get("truncated"):
        found["truncated"] = True
    return found
