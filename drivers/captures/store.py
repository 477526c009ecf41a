"""Capture files: named by execution and step, bounded, hashed, kept for a time, read by chunk.

A capture is `<id>.pcap` beside `<id>.json`, both of mode 0600 in a folder of mode 0700; its id is
`<execution>.<step>.<attempt>`. While it is written it is `<id>.part`. A tenant sees only its own
captures. They are on the executor that made them, unless several share the folder.

Everything here blocks on the disk: call it in a thread.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from drivers.analysis.pcap import read_records
from drivers.analysis.records import NotACapture
from runtime.settings import ExecutorSettings
from streams.commands import StepCommand

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[0-9]{1,6}")
CHUNK_BYTES: Final = 128 * 1024
LISTED: Final = 500
#: Age of an unfinished file in seconds: more than any capture may run.
_ABANDONED_SECONDS: Final = 7_200.0


class StoreFull(Exception):
    """No further capture fits; the message is one sentence."""


class NoSuchCapture(Exception):
    """This executor has no such capture of this tenant."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The metadata of one capture; times are UTC in ISO 8601."""

    id: str
    tenant: str
    execution_id: str
    step: str
    attempt: int
    bytes: int
    sha256: str
    packets: int
    first_packet_at: str | None
    last_packet_at: str | None
    created_at: str
    expires_at: str
    truncated: bool


class CaptureStore:
    """The captures of one executor."""

    def __init__(self, settings: ExecutorSettings) -> None:
        """Opens nothing; the folder is made with the first capture."""
        # Absolute: programs that read a capture run in a folder of their own.
        folder = Path(settings.capture_dir or Path(settings.state_dir) / "captures")
        self._folder = folder.absolute()
        self._total = settings.capture_total_bytes
        self._keep_seconds = settings.capture_retention_hours * 3_600.0
        self.max_bytes = settings.capture_max_bytes
        self.max_seconds = settings.capture_max_seconds

    def begin(self, command: StepCommand) -> tuple[str, BinaryIO]:
        """The id and the open file of a new capture; raises StoreFull or OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.prune()
        ident = capture_id(command)
        path = self._folder / f"{ident}.part"
        # Another run of the same attempt may have left one behind.
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        file = os.fdopen(descriptor, "wb")
        # Counted after its file is there, so that of two that begin together each sees the other.
        used, writing = self._used()
        if used + writing * self.max_bytes > self._total:
            file.close()
            path.unlink(missing_ok=True)
            raise StoreFull(
                f"the captures of this executor take {used} bytes and {writing - 1} others are "
                f"being written, of at most {self.max_bytes} bytes each; it allows {self._total} "
                "bytes: delete some"
            )
        return ident, file

    def _used(self) -> tuple[int, int]:
        """Bytes of the captures that are whole, and the number of those that are being written."""
        used = writing = 0
        for path in self._folder.iterdir():
            if path.suffix == ".part":
                writing += 1
            elif path.suffix == ".pcap":
                with suppress(FileNotFoundError):  # Another attempt has deleted it.
                    used += path.stat().st_size
        return used, writing

    def finish(self, ident: str, command: StepCommand, *, truncated: bool) -> Stored:
        """Cut a record that is not whole, hash the file, give it its name; raises NotACapture."""
        part = self._folder / f"{ident}.part"
        first = last = None
        packets, end = 0, 24
        with part.open("rb") as file:
            for record in read_records(file):
                first, last = (record.time if first is None else first), record.time
                packets, end = packets + 1, record.end
        os.truncate(part, end)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        now = time.time()
        stored = Stored(
            id=ident,
            tenant=command.tenant,
            execution_id=command.execution_id,
            step=command.step,
            attempt=command.attempt,
            bytes=end,
            sha256=digest,
            packets=packets,
            first_packet_at=None if first is None else moment(first),
            last_packet_at=None if last is None else moment(last),
            created_at=moment(now),
            expires_at=moment(now + self._keep_seconds),
            truncated=truncated,
        )
        notes = self._folder / f"{ident}.json"
        notes.touch(mode=0o600)
        notes.write_bytes(orjson.dumps(asdict(stored)))
        part.rename(self._folder / f"{ident}.pcap")
        return stored

    def drop(self, ident: str) -> None:
        """Delete a capture or its unfinished file; does nothing where there is none."""
        for kind in ("part", "json", "pcap"):
            (self._folder / f"{ident}.{kind}").unlink(missing_ok=True)

    def find(self, ident: str, tenant: str) -> tuple[Stored, Path]:
        """One capture and its file; raises NoSuchCapture, also for another tenant's."""
        if ID.fullmatch(ident):
            try:
                stored = Stored(**orjson.loads((self._folder / f"{ident}.json").read_bytes()))
            except (OSError, TypeError, orjson.JSONDecodeError):
                stored = None
            path = self._folder / f"{ident}.pcap"
            if stored is not None and stored.tenant == tenant and path.is_file():
                return stored, path
        raise NoSuchCapture(f"this executor has no capture {ident[:160]}")

    def list(self, tenant: str) -> list[Stored]:
        """The newest 500 captures of a tenant, the newest first; deletes what is too old."""
        self.prune()
        found = []
        for notes in self._folder.glob("*.json"):
            try:
                found.append(self.find(notes.stem, tenant)[0])
            except NoSuchCapture:
                continue
        return sorted(found, key=lambda stored: stored.created_at, reverse=True)[:LISTED]

    def chunk(self, ident: str, tenant: str, offset: int, length: int) -> dict[str, object]:
        """At most 128 KiB from `offset`, as base64, and where the next chunk begins."""
        stored, path = self.find(ident, tenant)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(min(length, CHUNK_BYTES))
        after = offset + len(data)
        return {
            "capture": asdict(stored),
            "offset": offset,
            "data_base64": base64.b64encode(data).decode(),
            "chunk_bytes": len(data),
            "chunk_sha256": hashlib.sha256(data).hexdigest(),
            "next_offset": after if after < stored.bytes else None,
        }

    def prune(self) -> None:
        """Delete what is older than its retention, and what was left unfinished."""
        now = time.time()
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            limit = _ABANDONED_SECONDS if path.suffix == ".part" else self._keep_seconds
            try:
                if path.is_file() and now - path.stat().st_mtime > limit:
                    path.unlink(missing_ok=True)
            except FileNotFoundError:
                continue  # Another attempt has deleted it.

    def scratch(self) -> Path:
        """The folder, made, for a tool's temporary files beside the captures."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder


def capture_id(command: StepCommand) -> str:
    """The capture's id: execution, step and attempt, without characters unfit for a file name."""
    step = re.sub(r"[^A-Za-z0-9_-]", "_", command.step)[:80]
    return f"{command.execution_id}.{step}.{command.attempt}"


def moment(seconds: float) -> str:
    """A Unix time as ISO 8601 in UTC, to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


__all__ = ["CaptureStore", "NoSuchCapture", "NotACapture", "StoreFull", "Stored", "capture_id"]
