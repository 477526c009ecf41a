"""FTP control connections: logins, commands, transfers, errors; passwords are never shown; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.dialogue import Replies, Reply, lines, whole
from drivers.analysis.findings import Anomalies, Options, Traffic, milliseconds, moment
from drivers.analysis.packets import Packet

PORTS: Final = frozenset({21, 2121})
_TRANSFERS: Final = {
    "RETR": "download", "STOR": "upload", "STOU": "upload", "APPE": "upload", "LIST": "list",
    "NLST": "list", "MLSD": "list",
}  # fmt: skip
#: Replies that open a session; another one is the answer to a command from before the capture.
#: Source: RFC 959, section 5.4.
_GREETINGS: Final = (120, 220, 421)
_SHOWN: Final = 200


@dataclass(slots=True)
class _Session:
    """One control connection so far."""

    one: Connection
    banner: str | None = None
    user: str | None = None
    logged_in: bool = False
    failed_logins: int = 0
    encrypted: bool = False
    commands: list[dict[str, Any]] = field(default_factory=list)
    transfers: list[dict[str, Any]] = field(default_factory=list)
    errors: int = 0
    count: int = 0


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every session with its dialogue, and what is unusual."""
    traffic, streams = Traffic(), Connections(options.ports or PORTS)
    streams.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    anomalies = Anomalies()
    found = [_session(one, anomalies) for one in streams.end() if one.from_server.data]
    transfers = [transfer for session in found for transfer in session.transfers]
    codes: Counter[str] = Counter()
    for session in found:
        codes.update(str(c["status"]) for c in session.commands if c["status"] is not None)
    return {
        **traffic.summary(),
        "complete": streams.complete and all(map(whole, streams.all)),
        "session_count": len(found),
        "logins": sum(session.logged_in for session in found),
        "failed_logins": sum(session.failed_logins for session in found),
        "command_count": sum(session.count for session in found),
        "transfer_count": len(transfers),
        "status_codes": dict(codes),
        "sessions": [_row(session) for session in found[: options.limit]],
        "transfers": transfers[: options.limit],
        "anomalies": anomalies.rows(),
    }


def _session(one: Connection, anomalies: Anomalies) -> _Session:
    session, replies = _Session(one), Replies()
    waiting: list[tuple[float, str, str]] = []
    for line in lines(one):
        if session.encrypted:
            break
        if line.by_client:
            verb, _, argument = line.text.partition(" ")
            waiting.append((line.time, verb.upper()[:16], argument))
            continue
        reply = replies.take(line.text)
        if reply is None:
            continue
        if not waiting:
            if session.banner is None and reply.code in _GREETINGS:
                session.banner = reply.text
            continue
        asked_at, verb, argument = waiting[0]
        if reply.code >= 200:
            waiting.pop(0)
            _note(session, verb, argument, reply, asked_at, line.time - asked_at, anomalies)
    for asked_at, verb, argument in waiting:
        _note(session, verb, argument, None, asked_at, None, anomalies)
    return session


def _note(
    session: _Session,
    verb: str,
    argument: str,
    reply: Reply | None,
    at: float,
    took: float | None,
    anomalies: Anomalies,
) -> None:
    server = f"{session.one.server[0]}:{session.one.server[1]}"
    code = None if reply is None else reply.code
    secret = verb in ("PASS", "ACCT", "ADAT")
    entry = {
        "at": moment(at),
        "command": verb,
        "argument": "***" if secret and argument else argument[:_SHOWN],
        "status": code,
        "reply": None if reply is None else reply.text[:_SHOWN],
        "took_ms": milliseconds(took),
    }
    session.count += 1
    if len(session.commands) < _SHOWN:
        session.commands.append(entry)
    session.errors += code is not None and code >= 400
    if verb == "USER":
        session.user = argument[:_SHOWN]
    if verb in ("USER", "PASS") and code == 230:
        session.logged_in = True
    if verb == "PASS":
        anomalies.add("cleartext_login", server, f"a password crosses the network to {server}")
        if code == 530:
            session.failed_logins += 1
            text = f"{session.one.client[0]} failed to log in at {server}"
            anomalies.add("failed_login", f"{session.one.client[0]} {server}", text)
    if verb == "AUTH" and code == 234:
        session.encrypted = True
    if verb in _TRANSFERS and len(session.transfers) < _SHOWN:
        session.transfers.append(
            {
                "at": moment(at),
                "client": session.one.client[0],
                "server": session.one.server[0],
                "direction": _TRANSFERS[verb],
                "name": argument[:_SHOWN] or None,
                "succeeded": code is not None and 200 <= code < 300,
                "took_ms": milliseconds(took),
            }
        )


def _row(session: _Session) -> dict[str, Any]:
    return {
        **session.one.ends(),
        "complete": whole(session.one),
        "banner": session.banner,
        "user": session.user,
        "logged_in": session.logged_in,
        "failed_logins": session.failed_logins,
        "encrypted": session.encrypted,
        "errors": session.errors,
        "command_count": session.count,
        "commands": session.commands,
    }
