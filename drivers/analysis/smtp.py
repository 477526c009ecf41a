"""SMTP sessions: greeting, TLS, login, envelopes, refusals; no message text is shown; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.analysis.connections import Connection, Connections
from drivers.analysis.dialogue import Line, Replies, Reply
from drivers.analysis.findings import Anomalies, Options, Traffic, moment
from drivers.analysis.packets import Packet
from drivers.analysis.transcript import Transcript, chunk_of, follow, transcript_of

PORTS: Final = frozenset({25, 587, 2525})
#: Replies that open a session; another one is the answer to a command from before the capture.
#: Source: RFC 5321, sections 3.1 and 4.2.3.
_GREETINGS: Final = (220, 421, 554)
_SHOWN: Final = 200
_PATH: Final = re.compile(r"(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)


@dataclass(slots=True)
class _Session:
    """One connection so far."""

    one: Connection
    said: Transcript
    banner: str | None = None
    helo: str | None = None
    extensions: tuple[str, ...] = ()
    starttls: bool = False
    auth: str | None = None
    authenticated: bool | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    #: Where the message began in the client's bytes, while it is sent.
    data_from: int | None = None
    data_end: int = 0
    #: Bytes of the message in chunks so far.
    chunk_bytes: int = 0

    @property
    def chunks(self) -> bool:
        """Whether the server takes chunks, as far as is known."""
        return self.helo is None or "CHUNKING" in (text.strip().upper() for text in self.extensions)


def analyse(packets: Iterable[Packet], options: Options) -> dict[str, Any]:
    """Every session with its envelopes, and what is unusual."""
    traffic, streams = Traffic(), Connections(options.ports or PORTS, follow)
    streams.take(p for p in traffic.seen(packets, options) if p.protocol == "tcp")
    anomalies = Anomalies()
    every = ((one, transcript_of(one)) for one in streams.end())
    found = [
        _session(one, said, anomalies)
        for one, said in every
        if any(not line.by_client for line in said.lines)
    ]
    messages = [message for session in found for message in session.messages]
    codes: Counter[str] = Counter()
    for session in found:
        codes.update(session.codes)
    return {
        **traffic.summary(),
        "complete": streams.complete and not any(transcript_of(one).lost for one in streams.all),
        "session_count": len(found),
        "message_count": len(messages),
        "accepted_messages": sum(bool(message["accepted"]) for message in messages),
        "refused_recipients": sum(len(session.refused) for session in found),
        "encrypted_sessions": sum(session.starttls for session in found),
        "status_codes": dict(codes),
        "sessions": [_row(session) for session in found[: options.limit]],
        "messages": messages[: options.limit],
        "anomalies": anomalies.rows(),
    }


def _session(one: Connection, said: Transcript, anomalies: Anomalies) -> _Session:
    session, replies = _Session(one, said), Replies()
    waiting: list[tuple[str, str, float]] = []
    for line in said.lines:
        if session.starttls:
            break
        if line.by_client:
            _client_line(session, line, waiting)
            continue
        reply = replies.take(line.text)
        if reply is None:
            continue
        session.codes[str(reply.code)] += 1
        if not waiting:
            if session.banner is None and reply.code in _GREETINGS:
                session.banner = reply.text
            continue
        verb, argument, at = waiting.pop(0)
        _server_reply(session, verb, argument, at, reply, line, anomalies)
    return session


def _client_line(session: _Session, line: Line, waiting: list[tuple[str, str, float]]) -> None:
    if session.data_from is not None:
        session.data_end = line.offset
        if line.text == ".":
            waiting.append((".", "", line.time))
        return
    if any(verb == "AUTH" for verb, _, _ in waiting):
        return
    if session.auth is not None and session.authenticated is None:
        # Lines of a login dialogue are credentials, not commands.
        waiting.append(("AUTH", "", line.time))
        return
    verb, _, argument = line.text.partition(" ")
    waiting.append((verb.upper()[:16], argument, line.time))


def _server_reply(
    session: _Session,
    verb: str,
    argument: str,
    at: float,
    reply: Reply,
    line: Line,
    anomalies: Anomalies,
) -> None:
    code = reply.code
    server = f"{session.one.server[0]}:{session.one.server[1]}"
    good = 200 <= code < 300
    if verb in ("EHLO", "HELO"):
        session.helo = argument[:_SHOWN]
        session.extensions = tuple(text[:80] for text in reply.lines[1:30]) if good else ()
    elif verb == "STARTTLS" and good:
        session.starttls = True
    elif verb == "AUTH":
        if argument:
            session.auth = argument.split(" ", maxsplit=1)[0].upper()[:20]
            anomalies.add("cleartext_login", server, f"a login without TLS at {server}")
        if code != 334:
            session.authenticated = good
            if not good:
                anomalies.add("failed_login", server, f"{server} refused a login with {code}")
        return
    elif verb == "MAIL":
        session.sender, session.recipients = (_path(argument) if good else None), []
        session.chunk_bytes = 0
    elif verb == "RCPT":
        if good:
            session.recipients.append(_path(argument))
        else:
            address = {"recipient": _path(argument), "status": code, "reply": reply.text[:_SHOWN]}
            session.refused.append(address)
            anomalies.add("refused_recipient", server, f"{server} refused a recipient with {code}")
    elif verb == "DATA" and code == 354:
        texts = session.said.texts
        session.data_from = session.data_end = texts.pop(0) if texts else session.data_end
    elif verb == ".":
        _message(session, at, reply, max(0, session.data_end - (session.data_from or 0)))
        session.data_from = None
    elif verb == "BDAT" and session.chunks:
        size, last = chunk_of(f"{verb} {argument}") or (0, False)
        session.chunk_bytes += size
        if last:
            _message(session, at, reply, session.chunk_bytes)
            session.chunk_bytes = 0
    if code >= 500 and verb not in ("RCPT",):
        anomalies.add("refused", f"{server} {verb}", f"{server} answered {verb} with {code}")


def _message(session: _Session, at: float, reply: Reply, size: int) -> None:
    if len(session.messages) < _SHOWN:
        session.messages.append(
            {
                "at": moment(at),
                "client": session.one.client[0],
                "server": session.one.server[0],
                "sender": session.sender,
                "recipients": session.recipients[:50],
                "recipient_count": len(session.recipients),
                "size_bytes": size,
                "status": reply.code,
                "reply": reply.text[:_SHOWN],
                "accepted": 200 <= reply.code < 300,
            }
        )


def _path(argument: str) -> str:
    found = _PATH.match(argument)
    return (found[1] if found else argument)[:_SHOWN]


def _row(session: _Session) -> dict[str, Any]:
    return {
        **session.one.ends(),
        "complete": session.one.complete and not session.said.lost,
        "banner": session.banner,
        "helo": session.helo,
        "extensions": list(session.extensions),
        "starttls": session.starttls,
        "auth_mechanism": session.auth,
        "authenticated": session.authenticated,
        "messages": len(session.messages),
        "refused_recipients": session.refused[:50],
        "status_codes": dict(session.codes),
    }
