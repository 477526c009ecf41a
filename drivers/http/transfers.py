"""Bodies of requests out of files, and answers that become one; the files are `transfer_files`'."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import httpx

from drivers.threads import in_thread, threaded
from drivers.transfer_files import PIECE_BYTES, Moved, NewFile, TransferFiles
from toolmeta.template import as_text

#: Of all files of one request.
MOST_SENT_BYTES: Final = 1024**3


class FileChanged(httpx.StreamError):
    """A file became shorter while it was sent; the server did not get a whole request."""


@dataclass(slots=True)
class _File:
    """A file that is sent, and what was sent of it."""

    path: str
    file: BinaryIO
    size: int
    field: str | None = None
    sent: Moved | None = None


@dataclass(slots=True)
class Upload:
    """A body out of texts and files; it can be sent again, as after a digest challenge."""

    kind: str
    parts: list[bytes | _File] = field(default_factory=list)

    def headers_beside(self, given: Mapping[str, str]) -> dict[str, str]:
        """The headers of the caller with what the body is and how long.

        The caller's type stands where the body is one file; a length, and the boundary of a form,
        would not be those of this body.
        """
        size = sum(part.size if isinstance(part, _File) else len(part) for part in self.parts)
        own = {"content-length": str(size), "content-type": self.kind}
        never = {"content-length", "transfer-encoding"}
        if self.kind.startswith("multipart/"):
            never.add("content-type")
        kept = {name: value for name, value in given.items() if name.lower() not in never}
        there = {name.lower() for name in kept}
        return {**kept, **{name: value for name, value in own.items() if name not in there}}

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The files that were sent as a whole, for the output of the step."""
        files = [part for part in self.parts if isinstance(part, _File)]
        return [
            {**one.sent.fields, **({} if one.field is None else {"field": one.field})}
            for one in files
            if one.sent is not None
        ]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body from its beginning on."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            hashed, left = hashlib.sha256(), part.size
            await in_thread(part.file.seek, 0)
            while left:
                piece = await in_thread(part.file.read, min(left, PIECE_BYTES))
                if not piece:
                    raise FileChanged("the file became shorter while it was sent")
                hashed.update(piece)
                left -= len(piece)
                yield piece
            part.sent = Moved(part.path, part.size, hashed.hexdigest())


async def opened_upload(
    stack: AsyncExitStack, files: TransferFiles, arguments: dict[str, Any]
) -> Upload | None:
    """The body out of `upload_file`, or of `form_files` with the texts of `form`; None for neither.

    Raises Unusable.
    """
    single, several = arguments.get("upload_file"), arguments.get("form_files") or {}
    if single is None and not several:
        return None
    if single is not None:
        only = await _open(stack, files, "upload_file", str(single), MOST_SENT_BYTES)
        return Upload("application/octet-stream", [only])
    boundary = secrets.token_hex(16)
    made = Upload(f"multipart/form-data; boundary={boundary}")
    left = MOST_SENT_BYTES
    for name, value in (arguments.get("form") or {}).items():
        made.parts += [_head(boundary, str(name)), as_text(value).encode() + b"\r\n"]
    for name, path in several.items():
        one = await _open(stack, files, f"form_files.{name}", str(path), left)
        one.field = str(name)
        left -= one.size
        made.parts += [_head(boundary, one.field, one.path.rpartition("/")[2]), one, b"\r\n"]
    made.parts.append(f"--{boundary}--\r\n".encode())
    return made


async def _open(
    stack: AsyncExitStack, files: TransferFiles, name: str, path: str, most_bytes: int
) -> _File:
    opened = files.reading(name, path, most_bytes)
    file, size = await stack.enter_async_context(threaded(opened))
    return _File(path, file, size)


def _head(boundary: str, name: str, filename: str | None = None) -> bytes:
    """The head of a part of a form (RFC 7578); names are escaped as browsers do."""
    lines = [f"--{boundary}", f'Content-Disposition: form-data; name="{_escaped(name)}"']
    if filename is not None:
        lines[1] += f'; filename="{_escaped(filename)}"'
        lines.append("Content-Type: application/octet-stream")
    return "\r\n".join((*lines, "", "")).encode("utf-8", "replace")


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@asynccontextmanager
async def download(
    files: TransferFiles, arguments: dict[str, Any]
) -> AsyncIterator[NewFile | None]:
    """The file that the answer becomes, None where none is asked for; raises Unusable."""
    path = arguments.get("output_file")
    if path is None:
        yield None
        return
    made = files.writing(
        "output_file",
        str(path),
        overwrite=bool(arguments.get("overwrite")),
        mode=int(str(arguments.get("file_mode") or "0600"), 8),
    )
    async with threaded(made) as new:
        yield new
