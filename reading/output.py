"""Output: ranges of what an attempt wrote, without loading the rest.

Places are bytes of the text that is stored: secrets masked, and what is no UTF-8 replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reading.models.steps import OutputRange, StreamName

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row

#: Bytes of one answer.
MAX_RANGE: Final = 4 * 2**20

#: The size of a stored text is known without reading it.
_SIZE: Final = """
SELECT sum(octet_length(text))::bigint AS total
FROM execution.output AS o
WHERE execution_id = %(id)s::uuid AND step = %(step)s AND attempt = %(attempt)s
  AND stream = %(stream)s AND {visible}
"""
_ATTEMPT: Final = """
SELECT attempt, completed_at IS NOT NULL AS ended
FROM execution.attempts AS a
WHERE execution_id = %(id)s::uuid AND step = %(step)s
  AND (%(attempt)s::int IS NULL OR attempt = %(attempt)s) AND {visible}
ORDER BY attempt DESC LIMIT 1
"""
_CHUNKS: Final = """
SELECT begin, text FROM (
    SELECT chunk, text, octet_length(text) AS bytes,
           sum(octet_length(text)) OVER (ORDER BY chunk) - octet_length(text) AS begin
    FROM execution.output AS o
    WHERE execution_id = %(id)s::uuid AND step = %(step)s AND attempt = %(attempt)s
      AND stream = %(stream)s AND {visible}
) AS placed
WHERE begin < %(until)s AND begin + bytes > %(since)s ORDER BY chunk
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of an attempt, as far as it is stored."""

    execution_id: str
    step: str
    attempt: int
    stream: StreamName
    total: int
    #: Whether the attempt has ended; then no more comes.
    ended: bool


def find(
    connection: Connection[Row],
    reader: Reader,
    ident: str,
    step: str,
    *,
    attempt: int | None,
    stream: StreamName,
) -> Stream | None:
    """The stream of this attempt, the latest one if None; None where the reader may see none.

    An attempt that wrote nothing has a stream of 0 bytes.
    """
    visible = reader.sees_one()
    given: dict[str, Any] = {**visible.values, "id": ident, "step": step, "attempt": attempt}
    row = connection.execute(_ATTEMPT.format(visible=visible.sql), given).fetchone()
    if row is None:
        return None
    given |= {"attempt": row["attempt"], "stream": stream}
    size = _SIZE.format(visible=reader.sees_one().sql)
    total = connection.execute(size, given).fetchone()
    stored = 0 if total is None or total["total"] is None else total["total"]
    return Stream(ident, step, row["attempt"], stream, stored, row["ended"])


def read(
    connection: Connection[Row], reader: Reader, stream: Stream, offset: int, length: int
) -> bytes:
    """The bytes from `offset` on, at most `length` and MAX_RANGE; fewer at the end."""
    until = offset + min(length, MAX_RANGE)
    visible = reader.sees_one()
    given = {
        **visible.values,
        "id": stream.execution_id,
        "step": stream.step,
        "attempt": stream.attempt,
        "stream": stream.stream,
        "since": offset,
        "until": until,
    }
    pieces = []
    for row in connection.execute(_CHUNKS.format(visible=visible.sql), given):
        begin, content = int(row["begin"]), row["text"].encode()
        pieces.append(content[max(0, offset - begin) : until - begin])
    return b"".join(pieces)


def text(
    connection: Connection[Row], reader: Reader, stream: Stream, offset: int, length: int
) -> OutputRange:
    """The same as text; characters that the range cuts are left out at its begin and its end.

    Ranges that follow each other by `offset` and `length` of the answer leave nothing out.
    """
    raw = read(connection, reader, stream, offset, max(length, 4))
    skipped = 0
    while skipped < min(len(raw), 4) and raw[skipped] & 0xC0 == 0x80:
        skipped += 1
    whole = raw[skipped:]
    shown = whole.decode(errors="ignore")
    return OutputRange(
        execution_id=stream.execution_id,
        step=stream.step,
        attempt=stream.attempt,
        stream=stream.stream,
        offset=offset + skipped,
        length=len(shown.encode()),
        total=stream.total,
        ended=stream.ended,
        text=shown,
    )
