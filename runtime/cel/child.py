"""The program that compiles and evaluates CEL, in a process of its own.

Started by its path, with an empty environment and without this repository on its path: it imports
nothing of ours. It reads requests from standard input and answers on standard output, each a
length of 4 bytes (big-endian) and JSON, until its input ends. A request is
`{"text", "context", "seconds", "largest"}`; without `context` the text is only compiled. The
answer is `{"value"}` or `{"error"}`.

The limits are the kernel's, since the evaluator holds the interpreter: whoever exceeds one is
ended by a signal, and whoever asked starts the next child.
"""

from __future__ import annotations

import resource
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final

import cel
import orjson

#: Beyond what the process has once everything is imported.
MEMORY_BYTES: Final = 192 * 1024 * 1024
_CACHED: Final = 256


def main() -> None:
    """Answer requests until the input ends."""
    _limit()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    _answer(sink, {"value": "ready"})
    while len(head := source.read(4)) == 4:
        request = orjson.loads(source.read(int.from_bytes(head)))
        # Processor time, not time: a busy machine must not fail an expression.
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])
        answer = _evaluate(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(sink, answer)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


@lru_cache(maxsize=_CACHED)
def _compiled(text: str) -> cel.Program:
    return cel.compile(text)


def _evaluate(request: dict[str, Any]) -> dict[str, Any]:
    try:
        program = _compiled(request["text"])
    except (ValueError, RuntimeError) as error:
        return {"error": f"not a CEL expression: {_first_line(error)}"}
    if "context" not in request:
        return {"value": None}
    try:
        value = program.execute(_with_functions(request["context"]))
    except (KeyError, IndexError) as error:
        return {"error": f"nothing is there: {_first_line(error)}"}
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        return {"error": _first_line(error)}
    return _as_json(value, request["largest"])


def _with_functions(context: dict[str, Any]) -> dict[str, Any]:
    """The context with the functions that CEL does not have itself."""
    functions: dict[str, Any] = {"days": lambda number: timedelta(days=number), "join": _join}
    moment = context.pop("now()", None)
    if moment is not None:
        functions["now"] = lambda: datetime.fromtimestamp(moment, UTC)
    return {**context, **functions}


def _join(values: Any, between: str = "") -> str:
    """The texts and numbers of a list in one text, as messages want them."""
    if not isinstance(values, list) or not all(
        isinstance(one, str | int | float) for one in values
    ):
        raise ValueError("join takes a list of texts and numbers")
    return between.join(
        one if isinstance(one, str) else orjson.dumps(one).decode() for one in values
    )


def _as_json(value: Any, largest: int) -> dict[str, Any]:
    """Refuse what JSON cannot carry (durations, bytes, NaN) and what has grown too large."""
    try:
        raw = orjson.dumps(value)
    except TypeError:
        return {"error": "the value is not JSON"}
    if len(raw) > largest:
        return {"error": f"the value has {len(raw)} bytes; {largest} are allowed"}
    return {"value": orjson.Fragment(raw)}


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _answer(sink: IO[bytes], answer: dict[str, Any]) -> None:
    raw = orjson.dumps(answer)
    sink.write(len(raw).to_bytes(4) + raw)
    sink.flush()


if __name__ == "__main__":
    main()
