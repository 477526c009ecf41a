"""Python programs of the catalogue: `toolmeta/programs/`, sent to the python3 of a machine.

Such a program does what no program of the machine does as it is: look first, change what differs,
say what it changed. It is sent over stdin with its parameters, so nothing of them stands in an
argument or is read by a shell, and nothing is installed or left on the machine. Pure, but for
reading the files of that folder.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

#: How python3 is started: isolated from the environment and the user's packages, program on stdin.
ARGV: Final = ("python3", "-I", "-")
#: The oldest version of Python that they run on.
OLDEST: Final = (3, 8)

_FOLDER: Final = Path(__file__).with_name("programs")
_PACKAGE: Final = "toolmeta.programs."
_REPORT: Final = "report"
_FAILURE: Final = re.compile(r"runstream ([a-z_]{1,64}): (.*)", re.DOTALL)

_LOADER: Final = """\
import json, sys, types
if sys.version_info < {oldest}:
    sys.stderr.write("\\nrunstream program_missing: this tool needs Python {version} or newer; "
                     "python3 of this machine is " + sys.version.split()[0] + "\\n")
    sys.exit(1)
for name in ("toolmeta", "toolmeta.programs"):
    sys.modules[name] = types.ModuleType(name)
def load(name, source):
    module = sys.modules[name] = types.ModuleType(name)
    setattr(sys.modules["toolmeta.programs"], name.rpartition(".")[2], module)
    module.SOURCE = source
    exec(compile(source, name, "exec"), module.__dict__)
"""


class Reported(NamedTuple):
    """The failure that such a program reported."""

    error_class: str
    message: str


def exists(name: str) -> bool:
    """Whether there is a program of this name."""
    return name.isidentifier() and (_FOLDER / f"{name}.py").is_file()


def stdin(name: str, parameters: dict[str, Any]) -> str:
    """What python3 reads: the modules of the program, then its call with the parameters."""
    # ASCII only, and a literal of Python: nothing in a value can end it.
    values = ascii(json.dumps(parameters))
    main = f"sys.modules[{_PACKAGE + name!r}].main"
    finish = f"sys.modules[{_PACKAGE + _REPORT!r}].finish"
    return f"{source(name)}{finish}({main}, json.loads({values}))\n"


@lru_cache(maxsize=64)
def source(name: str) -> str:
    """The modules of a program as one text, each after those that it needs."""
    needed: list[str] = []
    _collect(_REPORT, needed)
    _collect(name, needed)
    loads = [f"load({_PACKAGE + part!r}, {_read(part)!a})\n" for part in needed]
    version = ".".join(map(str, OLDEST))
    return _LOADER.format(oldest=OLDEST, version=version) + "".join(loads)


def reported(last_line: str) -> Reported | None:
    """The failure in the last line of stderr, None where the program ended in another way."""
    found = _FAILURE.fullmatch(last_line)
    return None if found is None else Reported(found[1], found[2])


def _collect(name: str, needed: list[str]) -> None:
    if name in needed:
        return
    for other in _imports(ast.parse(_read(name))):
        _collect(other, needed)
    needed.append(name)


def _imports(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.module == _PACKAGE.rstrip("."):
            yield from (alias.name for alias in node.names)
        elif node.module is not None and node.module.startswith(_PACKAGE):
            yield node.module.removeprefix(_PACKAGE)


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.py").read_text(encoding="utf-8")
