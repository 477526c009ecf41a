"""A link that loses, doubles and delays: relays frames between two interfaces, as a program.

A network emulator of the kernel (netem) is not in every kernel. Only TCP suffers, so that name and
neighbour lookups do not make a test slow. Prints `ready`, and runs until it is ended.
"""

from __future__ import annotations

import argparse
import heapq
import random
import select
import socket
import time
from contextlib import suppress

_ALL = 3
_BUFFER = 8 << 20


def main() -> None:
    """Relay until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("interfaces", nargs=2)
    for name in ("loss", "double", "overtake", "delay-ms", "jitter-ms"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    ends = [_open(name) for name in given.interfaces]
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    latest = dict.fromkeys(ends, 0.0)
    number = 0
    print("ready", flush=True)
    while True:
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, out, frame = heapq.heappop(waiting)
            with suppress(OSError):
                out.send(frame)
        left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for end in select.select(ends, [], [], left)[0]:
            for frame in _arrived(end):
                suffers = _is_tcp(frame)
                if suffers and chance.random() < given.loss:
                    continue
                for _ in range(2 if suffers and chance.random() < given.double else 1):
                    wait = (given.delay_ms + chance.random() * given.jitter_ms) / 1_000
                    at = time.monotonic() + wait
                    if not (suffers and chance.random() < given.overtake):
                        at = latest[end] = max(at, latest[end])
                    number += 1
                    out = ends[1 - ends.index(end)]
                    heapq.heappush(waiting, (at, number, out, frame))


def _open(name: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    found.bind((name, 0))
    found.setblocking(False)
    return found


def _arrived(end: socket.socket) -> list[bytes]:
    frames = []
    with suppress(BlockingIOError):
        while True:
            frame, address = end.recvfrom(70_000)
            if address[2] != socket.PACKET_OUTGOING:
                frames.append(frame)
    return frames


def _is_tcp(frame: bytes) -> bool:
    return (frame[12:14], frame[23:24]) == (b"\x08\x00", b"\x06") or (
        (frame[12:14], frame[20:21]) == (b"\x86\xdd", b"\x06")
    )


if __name__ == "__main__":
    main()
