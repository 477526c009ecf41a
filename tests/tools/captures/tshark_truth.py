"""What tshark tells of a capture, for comparisons; and what the analyses tell of the same."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drivers.analysis.catalogue import ANALYSES
from drivers.analysis.findings import Options
from drivers.analysis.packets import read_packets

#: Streams are put in order before they are dissected, as here; it then waits for what is missing.
ORDERED = ("-o", "tcp.reassemble_out_of_order:TRUE")
_JUDGED = {
    "tcp.analysis.retransmission": "retransmissions",
    "tcp.analysis.fast_retransmission": "fast_retransmissions",
    "tcp.analysis.spurious_retransmission": "spurious_retransmissions",
    "tcp.analysis.out_of_order": "out_of_order",
    "tcp.analysis.duplicate_ack": "duplicate_acks",
    "tcp.analysis.keep_alive": "keep_alives",
    "tcp.analysis.zero_window": "zero_windows",
}


def fields(
    path: Path, *names: str, shown: str = "", options: Sequence[str] = ()
) -> list[dict[str, list[str]]]:
    """The fields of every packet that the display filter takes."""
    argv = ["tshark", "-n", *options, "-r", str(path), "-T", "json"]
    argv += ["-Y", shown] if shown else []
    for name in names:
        argv += ["-e", name]
    # tshark ends with 2 at a file that is cut off, after what it could read.
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return [packet["_source"].get("layers", {}) for packet in json.loads(done.stdout or "[]")]


def count(path: Path, shown: str, name: str = "frame.number", options: Sequence[str] = ()) -> int:
    """How often a field stands in the packets that the display filter takes."""
    found = fields(path, name, shown=shown, options=options)
    return sum(len(row.get(name, ())) for row in found)


def analysed(path: Path, name: str, **options: Any) -> dict[str, Any]:
    """The findings of one analysis of a capture file."""
    with path.open("rb") as file:
        return ANALYSES[name](read_packets(file, 1_000_000), Options(limit=1_000, **options))


def judged_by_tshark(path: Path) -> dict[str, int]:
    """How many segments tshark takes for repetitions and the like, by the names of our fields."""
    rows = fields(path, "tcp.stream", *_JUDGED)
    counts = Counter(ours for row in rows for theirs, ours in _JUDGED.items() if theirs in row)
    streams = {row["tcp.stream"][0] for row in rows if "tcp.stream" in row}
    return {"connection_count": len(streams), **{name: counts[name] for name in _JUDGED.values()}}


def judged_here(path: Path) -> dict[str, int]:
    """The same counts by the tcp analysis."""
    found = analysed(path, "tcp")
    names = _JUDGED.values()
    sums = {name: sum(row[name] for row in found["connections"]) for name in names}
    assert {name: found[name] for name in names if name in found} == {
        name: sums[name] for name in names if name in found
    }
    return {"connection_count": found["connection_count"], **sums}
