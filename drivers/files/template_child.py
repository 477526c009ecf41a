"""The program that renders one template, in a process of its own.

Started by its path, with an empty environment: it imports nothing of ours. It reads
`{"template", "variables", "seconds", "memory", "largest"}` as JSON from standard input, and writes
`R` and the text, or `E` and a sentence. Variables are values: nothing in them is evaluated. The
sandbox keeps a template from Python, and the kernel's limits keep it from the machine.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

_TYPES: Final = {
    name if one is None else f"{name}{one}"
    for name in ("str", "int", "float", "bool", "list", "dict", "NoneType")
    for one in (None, " object")
}


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin.buffer)
    _limit(int(request["seconds"]), int(request["memory"]))
    try:
        text = _rendered(request)
    except (UndefinedError, SecurityError) as error:
        text = f"E{_at(error)}{_said(error, request['template'])}"
    except TemplateSyntaxError as error:
        text = f"Eline {error.lineno}: {error.message}"
    except MemoryError:
        text = "Eit needs more memory than it may have"
    except Exception as error:
        # Its text could quote a value, and those may be secrets.
        text = f"E{_at(error)}{type(error).__name__}"
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))


def _rendered(request: dict[str, Any]) -> str:
    # Files on servers are no HTML. Line breaks after a block are dropped, as Ansible does.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, autoescape=False
    )
    pieces, size = ["R"], 0
    for piece in environment.from_string(request["template"]).generate(request["variables"]):
        size += len(piece)
        if size > request["largest"]:
            return f"Eit becomes more than {request['largest']} characters"
        pieces.append(piece)
    return "".join(pieces)


def _said(error: UndefinedError | SecurityError, template: str) -> str:
    """Its text, where all that it quotes stands in the template: a key can be a value, too."""
    quoted = str(error.message).split("'")[1::2]
    literal = all(name in template or name in _TYPES for name in quoted)
    return str(error.message) if literal else type(error).__name__


def _at(error: Exception) -> str:
    """The line of the template that was being rendered."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return f"line {lines[-1]}: " if lines else ""


def _limit(seconds: int, memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main()
