"""The `analysis` driver: the eight protocol analyzers and dpkt, on a live interface or a capture.

A live analysis captures first (by tcpdump, bounded by packets, seconds and bytes) and reads then:
so the capture can be kept and read again. The reading runs in a thread; when the step is cancelled
it stops at the next packet, and is waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from drivers.analysis.findings import Options
from drivers.analysis.packets import Packet, read_packets
from drivers.analysis.records import NotACapture
from drivers.captures.capturing import tcpdump
from drivers.captures.source import about, source
from drivers.cleanup import run_uncancelled
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.values import jsonable
from toolmeta.invocation import Invocation

#: A reader takes some 20 µs a packet: this many keep the interpreter busy for ten seconds.
MAX_PACKETS: Final = 500_000
#: For the reading to stop. What is found is put together after the last packet, from bounded lists.
_STOP_SECONDS: Final = 10.0


class AnalysisDriver:
    """Reads packets and returns findings."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Capture if an interface is named, then analyse."""
        from drivers.analysis.catalogue import capture_filter

        context.not_acting()
        values = invocation.arguments
        options = options_of(values)
        name = str(invocation.call)
        if name == "dpkt":
            name = str(values["operation"])
        argv = tcpdump(values, capture_filter(name, options)) if values.get("interface") else []
        async with source(invocation, context, argv) as opened:
            if isinstance(opened, Failure):
                return opened
            path, origin = opened
            found = await analyse_file(invocation, context, path, name, options)
            if isinstance(found, Failure):
                return found
            return Success(jsonable({**about(origin, kept=bool(values.get("keep"))), **found}))


def options_of(values: dict[str, Any]) -> Options:
    """The part of the packets that the step selects."""
    ports = values.get("ports")
    address = values.get("address")
    return Options(
        ports=frozenset(ports) if ports else None,
        # As packets have it: IPv6 has many spellings.
        address=str(ip_address(str(address))) if address else None,
        limit=int(values.get("limit") or 100),
    )


async def analyse_file(
    invocation: Invocation, context: RunContext, path: Path, name: str, options: Options
) -> dict[str, Any] | Failure:
    """The findings of one analysis over a capture file; what made the file has ended."""
    from drivers.analysis.catalogue import ANALYSES

    stop = threading.Event()

    def work() -> dict[str, Any]:
        with path.open("rb") as file:
            # One more, so that it is known whether there are more.
            packets = _Bounded(read_packets(file, MAX_PACKETS + 1), stop)
            found = ANALYSES[name](packets, options)
            return {**found, "complete": False} if packets.cut else found

    reading = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(reading)
    except NotACapture as error:
        return fail(invocation, "output_unparsable", str(error))
    except asyncio.CancelledError:
        stop.set()
        await run_uncancelled(asyncio.wait({reading}, timeout=_STOP_SECONDS), _STOP_SECONDS + 1)
        context.stop.ended = reading.done()
        if not reading.done():
            context.evidence["cancel_unconfirmed"] = f"{path.name} is still being read"
        elif not reading.cancelled():
            reading.exception()  # Retrieved, so that asyncio does not log it.
        raise


class _Bounded:
    """The first MAX_PACKETS packets, until `stop` is set."""

    def __init__(self, packets: Iterator[Packet], stop: threading.Event) -> None:
        self._packets = packets
        self._stop = stop
        #: There were more.
        self.cut = False

    def __iter__(self) -> Iterator[Packet]:
        for count, packet in enumerate(self._packets):
            self.cut = count == MAX_PACKETS
            if self.cut or self._stop.is_set():
                return
            yield packet
