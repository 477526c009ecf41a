"""PSRP messages and fragments of the fake ([MS-PSRP] 2.2.1 and 2.2.4)."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from typing import Any

from tests.fakes.psrp.clixml import Writer, _escaped

SESSION_CAPABILITY = 0x00010002
INIT_RUNSPACEPOOL = 0x00010004
RUNSPACEPOOL_STATE = 0x00021005
CREATE_PIPELINE = 0x00021006
APPLICATION_PRIVATE_DATA = 0x00021009
PIPELINE_OUTPUT = 0x00041004
ERROR_RECORD = 0x00041005
PIPELINE_STATE = 0x00041006
VERBOSE_RECORD = 0x00041008
WARNING_RECORD = 0x00041009
PROGRESS_RECORD = 0x00041010
INFORMATION_RECORD = 0x00041011

OPENED = 2
STOPPED, COMPLETED, FAILED = 3, 4, 5


@dataclass(frozen=True)
class Fault:
    """An error record: what it says, its category's number and its stable name."""

    message: str
    category: int
    error_id: str
    target: str = ""
    reason: str = "Exception"


class Assembler:
    """Whole messages from fragments, in the order of arrival."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        """Type and text of every message that is complete now."""
        done = []
        while data:
            ident, number, flags, size = struct.unpack(">QQBI", data[:21])
            body, data = data[21 : 21 + size], data[21 + size :]
            assert bool(flags & 1) == (number == 0)
            self._parts[ident] = self._parts.get(ident, b"") + body
            if flags & 2:
                message = self._parts.pop(ident)
                destination, kind = struct.unpack("<II", message[:8])
                assert destination == 2, "messages to the server"
                done.append((kind, message[40:].decode("utf-8-sig")))
        return done


class Sender:
    """Numbers and cuts the messages of one runspace pool."""

    def __init__(self, pool: str, fragment_bytes: int = 32_768) -> None:
        self._pool = uuid.UUID(pool)
        self._size = fragment_bytes
        self._next = 1

    def message(self, kind: int, text: str, pipeline: str | None = None) -> list[bytes]:
        """The fragments of one message to the client."""
        ident = uuid.UUID(pipeline) if pipeline else uuid.UUID(int=0)
        data = struct.pack("<II", 1, kind) + self._pool.bytes_le + ident.bytes_le
        data += b"\xef\xbb\xbf" + text.encode()
        pieces = [data[at : at + self._size] for at in range(0, len(data), self._size)]
        number, self._next = self._next, self._next + 1
        return [
            struct.pack(
                ">QQBI", number, index, (index == 0) | 2 * (index == len(pieces) - 1), len(piece)
            )
            + piece
            for index, piece in enumerate(pieces)
        ]


def capability() -> str:
    """What the server can do: PSRP 2.3, PowerShell 5.1 says 2.0 here."""
    return (
        '<Obj RefId="0"><MS><Version N="protocolversion">2.3</Version>'
        '<Version N="PSVersion">2.0</Version>'
        '<Version N="SerializationVersion">1.1.0.1</Version></MS></Obj>'
    )


def private_data() -> str:
    """The private data that every pool sends, empty."""
    return (
        '<Obj RefId="0"><MS><Obj N="ApplicationPrivateData" RefId="1"><TN RefId="0">'
        "<T>System.Management.Automation.PSPrimitiveDictionary</T>"
        "<T>System.Collections.Hashtable</T><T>System.Object</T></TN><DCT /></Obj></MS></Obj>"
    )


def pool_state(state: int) -> str:
    """The state of the pool."""
    return f'<Obj RefId="0"><MS><I32 N="RunspaceState">{state}</I32></MS></Obj>'


def pipeline_state(state: int, fault: Fault | None = None) -> str:
    """The state of a pipeline, with the error that ended it."""
    error = "" if fault is None else error_record(fault, ' N="ExceptionAsErrorRecord"')
    return f'<Obj RefId="0"><MS><I32 N="PipelineState">{state}</I32>{error}</MS></Obj>'


def error_record(fault: Fault, at: str = "") -> str:
    """An error record without invocation details."""
    text = _escaped(fault.message)
    return (
        f'<Obj{at} RefId="10"><TN RefId="10"><T>System.Management.Automation.ErrorRecord</T>'
        f"<T>System.Object</T></TN><ToString>{text}</ToString><MS>"
        '<Nil N="Exception" /><Nil N="TargetObject" /><Nil N="InvocationInfo" />'
        f'<S N="FullyQualifiedErrorId">{_escaped(fault.error_id)}</S>'
        f'<I32 N="ErrorCategory_Category">{fault.category}</I32>'
        f'<S N="ErrorCategory_Activity"></S><S N="ErrorCategory_Reason">{fault.reason}</S>'
        f'<S N="ErrorCategory_TargetName">{_escaped(fault.target)}</S>'
        '<S N="ErrorCategory_TargetType">String</S>'
        f'<S N="ErrorCategory_Message">{text}</S>'
        '<B N="SerializeExtendedInfo">false</B></MS></Obj>'
    )


def informational(kind: str, text: str) -> str:
    """A warning or verbose record."""
    return (
        f'<Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.{kind}Record</T>'
        "<T>System.Management.Automation.InformationalRecord</T><T>System.Object</T></TN>"
        f"<ToString>{_escaped(text)}</ToString><MS>"
        f'<S N="InformationalRecord_Message">{_escaped(text)}</S>'
        '<B N="InformationalRecord_SerializeInvocationInfo">false</B></MS></Obj>'
    )


def progress(activity: str, percent: int) -> str:
    """A progress record."""
    return (
        f'<Obj RefId="0"><MS><S N="Activity">{_escaped(activity)}</S><I32 N="ActivityId">0</I32>'
        '<S N="StatusDescription">working</S><Nil N="CurrentOperation" />'
        f'<I32 N="ParentActivityId">-1</I32><I32 N="PercentComplete">{percent}</I32>'
        '<Obj N="Type" RefId="1"><TN RefId="0">'
        "<T>System.Management.Automation.ProgressRecordType</T><T>System.Enum</T>"
        "<T>System.ValueType</T><T>System.Object</T></TN><ToString>Processing</ToString>"
        '<I32>0</I32></Obj><I32 N="SecondsRemaining">-1</I32></MS></Obj>'
    )


def output(value: Any) -> str:
    """One object of the output."""
    return Writer().write(value)
