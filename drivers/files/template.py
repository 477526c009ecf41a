"""A template of the library, rendered with the values of a plan in a process with limits."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from drivers.cleanup import run_uncancelled
from drivers.files.limits import MOST_RENDERED_BYTES

#: Of processor time, and of memory beyond what the process has at its start.
_CPU_SECONDS: Final = 2
_MEMORY_BYTES: Final = 256 * 1024**2
#: From the start to the answer; longer than the processor time, for a machine that is busy.
_WALL_SECONDS: Final = 30.0
_PROGRAM: Final = str(Path(__file__).with_name("template_child.py"))


class NotRendered(Exception):
    """The template and these variables make no text; the message says why and quotes no value."""


async def rendered(template: str, variables: dict[str, Any]) -> bytes:
    """The text as UTF-8; raises NotRendered, OSError where no process can be started."""
    request = orjson.dumps(
        {
            "template": template,
            "variables": variables,
            "seconds": _CPU_SECONDS,
            "memory": _MEMORY_BYTES,
            "largest": MOST_RENDERED_BYTES,
        }
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", _PROGRAM,
        stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_WALL_SECONDS):
            # What it may write is bounded by its memory.
            answer, _ = await process.communicate(request)
    except TimeoutError:
        raise NotRendered(f"it takes more than {_WALL_SECONDS:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await run_uncancelled(process.wait(), 5.0)
    if answer.startswith(b"R") and process.returncode == 0:
        if len(answer) - 1 > MOST_RENDERED_BYTES:
            raise NotRendered(f"it becomes more than {MOST_RENDERED_BYTES} bytes")
        return answer[1:]
    if answer.startswith(b"E") and process.returncode == 0:
        raise NotRendered(answer[1:].decode("utf-8", "replace")[:500])
    raise NotRendered("it takes more processor time or memory than it may have")
