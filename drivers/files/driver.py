"""The `files` driver: files and folders of this machine, and of hosts over SFTP."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from drivers.command import login_fault
from drivers.connections import Connection
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail
from drivers.files.folder import Folder
from drivers.files.limits import MOST_FILE_BYTES, MOST_SHOWN_BYTES, MOST_TEMPLATE_BYTES
from drivers.files.local import LocalPlace
from drivers.files.place import Place, Reading
from drivers.files.progress import Progress, digest
from drivers.files.put import Put, Wanted
from drivers.files.removal import Removal
from drivers.files.sources import OtherFile, OwnFile, Source, Text
from drivers.files.template import NotRendered, rendered
from drivers.step_connection import SOURCE_HOST, connection_of_source, connection_of_step
from drivers.threads import in_thread, threaded
from drivers.transfer_files import TransferFiles, Unusable
from toolmeta.invocation import Invocation


class FilesDriver:
    """A file is replaced as a whole or not at all; what is the same already is left alone."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Act once, and say whether anything changed."""
        context.not_acting()
        try:
            where = await connection_of_step(invocation, context)
            if isinstance(where, Failure):
                return where
            async with _opened(invocation, context, where) as place:
                output = await _CALLS[invocation.call or ""](invocation, context, place)
        except Unusable as error:
            return error.failure
        except asyncio.CancelledError:
            # Whatever was asked of a host has been answered, or the evidence says that it was not.
            context.stop.ended = "cancel_unconfirmed" not in context.evidence
            raise
        return Success({"host": place.name, **output})


@asynccontextmanager
async def _opened(
    invocation: Invocation, context: RunContext, where: Connection, *, own: bool = True
) -> AsyncIterator[Place]:
    """The files of the machine; raises Unusable. With `own` by the login of the step."""
    if where.kind == "local":
        fault = login_fault(context) if own else None
        if fault is not None:
            raise Unusable(fail(invocation, "capability_missing", fault))
        yield LocalPlace(invocation, context, "path" if own else "from_path")
    elif where.kind == "ssh":
        # An executor that never leaves its machine needs no SSH library.
        from drivers.files import sftp

        async with sftp.opened(invocation, context, where, own=own) as place:
            yield place
    else:
        message = (
            f"{where.name} is a Windows host that is reached by PowerShell, and files are moved "
            "over SFTP: it needs the SSH service (service_type ssh)"
        )
        raise Unusable(fail(invocation, "invalid_parameters", message))


async def _put(invocation: Invocation, context: RunContext, place: Place) -> dict[str, Any]:
    arguments = invocation.arguments
    async with AsyncExitStack() as stack:
        source = await _source(stack, invocation, context)
        return await Put(invocation, context, place, source, Wanted.of(arguments)).done()


async def _source(stack: AsyncExitStack, invocation: Invocation, context: RunContext) -> Source:
    arguments = invocation.arguments
    if arguments.get("content") is not None:
        return Text(str(arguments["content"]).encode())
    files = TransferFiles(invocation, context)
    if arguments.get("source") is not None:
        opened = files.reading("source", str(arguments["source"]), MOST_FILE_BYTES, "either")
        return OwnFile(*await stack.enter_async_context(threaded(opened)))
    name = str(arguments["template"])
    # What a tenant could write itself is no template: it is the executor's user who renders it.
    reading = files.reading("template", name, MOST_TEMPLATE_BYTES, "library")
    async with threaded(reading) as (file, size):
        text = await in_thread(file.read, size)
    try:
        return Text(await rendered(text.decode(), arguments.get("variables") or {}))
    except UnicodeDecodeError:
        reason = "it is not text in UTF-8"
    except NotRendered as error:
        reason = str(error)
    message = f"template: {name[:300]} cannot be rendered: {reason}"
    raise files.fail("invalid_parameters", message)


async def _get(invocation: Invocation, context: RunContext, place: Place) -> dict[str, Any]:
    arguments = invocation.arguments
    path = str(arguments["path"])
    async with place.reading(path) as opened:
        entry = opened.entry
        if entry.size > (most := int(arguments["max_file_bytes"])):
            message = f"{path[:300]} has {entry.size} bytes, more than max_file_bytes: {most}"
            raise Unusable(fail(invocation, "limit_exceeded", message))
        found = {"path": path, "changed": False, **entry.fields, "modified": entry.modified}
        shown = await _content(opened) if arguments["content"] else {}
        if arguments.get("save_as") is None:
            progress = Progress(context, entry.size)
            sha256, size = await digest(opened.pieces(), progress, "reading")
            _expect(invocation, sha256)
            return {**found, "bytes": size, "sha256": sha256, **shown}
        wanted = Wanted.of(
            {
                "path": arguments["save_as"],
                "mode": arguments.get("file_mode") or "0600",
                "overwrite": arguments["overwrite"],
                "sha256": arguments.get("sha256"),
                "diff": False,
            }
        )
        here = LocalPlace(invocation, context, "save_as")
        saved = await Put(invocation, context, here, OtherFile(opened), wanted).done()
    kept = {name: saved[name] for name in ("changed", "bytes", "sha256")}
    return {**found, **kept, "saved_as": saved["path"], **shown}


def _expect(invocation: Invocation, sha256: str) -> None:
    if invocation.arguments.get("sha256") not in (None, sha256):
        message = f"sha256: the file has {sha256}"
        raise Unusable(fail(invocation, "conflict", message))


async def _content(opened: Reading) -> dict[str, Any]:
    """The content as text, else as base64; of a larger file none."""
    if opened.entry.size > MOST_SHOWN_BYTES:
        return {"content_left_out": f"more than {MOST_SHOWN_BYTES} bytes"}
    data = b"".join([piece async for piece in opened.pieces()])
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"content_base64": b64encode(data).decode()}
    return {"content_base64": b64encode(data).decode()} if "\0" in text else {"content": text}


async def _copy(invocation: Invocation, context: RunContext, place: Place) -> dict[str, Any]:
    arguments = invocation.arguments
    named = str(arguments[SOURCE_HOST])
    where = await connection_of_source(invocation, context, named)
    if isinstance(where, Failure):
        raise Unusable(where)
    path = str(arguments["from_path"])
    async with (
        _opened(invocation, context, where, own=False) as source,
        source.reading(path) as opened,
    ):
        entry, wanted = opened.entry, Wanted.of(arguments)
        if wanted.mode is None and await place.look(wanted.path) is None:
            wanted = replace(wanted, mode=entry.mode & 0o777)
        output = await Put(invocation, context, place, OtherFile(opened), wanted).done()
    return {**output, "from_host": source.name, "from_path": path}


async def _absent(invocation: Invocation, context: RunContext, place: Place) -> dict[str, Any]:
    arguments = invocation.arguments
    removal = Removal(
        invocation,
        context,
        place,
        str(arguments["path"]),
        bool(arguments["recursive"]),
        int(arguments["max_entries"]),
        bool(arguments["dry_run"]),
    )
    return await removal.done()


async def _folder(invocation: Invocation, context: RunContext, place: Place) -> dict[str, Any]:
    arguments = invocation.arguments
    mode = arguments.get("mode")
    folder = Folder(
        invocation,
        place,
        str(arguments["path"]),
        None if mode is None else int(str(mode), 8),
        arguments.get("owner"),
        arguments.get("group"),
        bool(arguments["parents"]),
        bool(arguments["dry_run"]),
    )
    return await folder.done()


_CALLS = {"put": _put, "get": _get, "copy": _copy, "absent": _absent, "directory": _folder}
