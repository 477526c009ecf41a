"""`runstream tools check`: which programs of the tools are installed on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from toolmeta.model import Tool

#: Folders that an executor searches besides its own PATH.
_FOLDERS: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Bits of the capabilities that tools may need (linux/capability.h).
_BITS: Final = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_FOWNER": 3,
    "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22, "CAP_SYS_NICE": 23, "CAP_SYS_TIME": 25, "CAP_SYSLOG": 34,
}  # fmt: skip

#: The drivers that start the program of their tools with arguments that they make.
_MAKES_ARGUMENTS: Final = frozenset({"scan", "packets"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One tool on this machine; `missing` is empty where it can run as it is."""

    tool: str
    domain: str
    #: None where the tool starts no program.
    program: str | None
    path: str | None
    package: str | None
    #: Of the installed Debian package; None where the program is of no package.
    version: str | None
    capabilities: dict[str, bool] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    remedy: str | None = None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "ok": not self.missing}


def inspect(tools: Iterable[Tool]) -> list[Finding]:
    """Every tool with what it needs; programs are looked up, never started."""
    wanted = list(tools)
    versions = _versions(
        {
            tool.debian_package
            for tool in wanted
            if tool.debian_package and " " not in tool.debian_package
        }
    )
    folders = f"{os.environ.get('PATH', '')}:{_FOLDERS}"
    return [_finding(tool, folders, versions) for tool in wanted]


def program_of(tool: Tool) -> str | None:
    """The program that the tool starts: the first argument, which is a literal, or the one for
    which a driver of its own makes the arguments. Of two programs that a parameter chooses between
    it is the one that the tool is named after."""
    from toolmeta.rules import programs_of

    if tool.run.driver in _MAKES_ARGUMENTS:
        return tool.program
    if tool.run.script is not None:
        return tool.run.script.interpreter
    found = programs_of(tool.run.argv[0]) if tool.run.argv else ()
    return found[0] if len(found) == 1 else tool.program if found else None


def _finding(tool: Tool, folders: str, versions: Mapping[str, str]) -> Finding:
    from drivers.capabilities import remedy

    program = program_of(tool)
    path = shutil.which(program, path=folders) if program is not None else None
    granted = {name: _has(name) for name in tool.risk.capabilities}
    missing: list[str] = []
    remedies: list[str] = []
    if program is not None and path is None:
        missing.append(program)
        remedies.append(_remedy_for(program, tool.debian_package))
    if (fault := _driver_fault(tool.run.driver)) is not None:
        missing.append(f"driver {tool.run.driver}")
        remedies.append(f"{fault}; install Runstream again")
    lacking = [name for name, has in granted.items() if not has]
    if lacking:
        missing += lacking
        remedies.append(remedy(lacking, tool.name, root=os.geteuid() == 0))
    if tool.risk.needs_root and not _runs_as_root(tool.name):
        missing.append("root")
        remedies.append(
            f"run the executor as root with RUNSTREAM_ROOT_TOOLS={tool.name}, or act through a "
            "host where it may be root"
        )
    package = tool.debian_package
    return Finding(
        tool.name,
        tool.domain,
        program,
        path,
        package,
        versions.get(package) if package is not None and _packaged(path) else None,
        granted,
        tuple(missing),
        "; ".join(remedies) or None,
    )


@cache
def _driver_fault(name: str) -> str | None:
    """Why an executor of this installation could not load the driver, if it could not."""
    from drivers.registry import DRIVERS, DriverFault

    try:
        DRIVERS[name]
    except DriverFault as fault:
        return str(fault)
    return None


def _runs_as_root(tool: str) -> bool:
    """Whether an executor with the environment and the user of this command starts it as root."""
    listed = (word.strip() for word in os.environ.get("RUNSTREAM_ROOT_TOOLS", "").split(","))
    return os.geteuid() == 0 and (os.environ.get("RUNSTREAM_STEP_USER") == "root" or tool in listed)


def _remedy_for(program: str, package: str | None) -> str:
    if package is None:
        return f"install {program}"
    # Where Debian has none, the definition has a sentence about where to get it.
    return f"install {program}: {package}" if " " in package else f"apt-get install {package}"


def _packaged(path: str | None) -> bool:
    return path is not None and path.startswith(("/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"))


def _versions(packages: set[str]) -> dict[str, str]:
    """Versions of the installed ones among these Debian packages; empty without dpkg."""
    query = shutil.which("dpkg-query", path=_FOLDERS)
    if query is None or not packages:
        return {}
    form = "--showformat=${Package} ${Version} ${db:Status-Status}\n"
    try:
        # It ends with 1 where one of them is not known, and still lists the others.
        done = subprocess.run(
            [query, "--show", form, *sorted(packages)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={"PATH": _FOLDERS, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = (line.split(" ") for line in done.stdout.splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 3 and words[2] == "installed"}


def _has(name: str) -> bool:
    """Whether a program has the capability that this command would start as its own user."""
    from drivers.capabilities import keeps

    number = _BITS.get(name)
    return number is not None and keeps(_status(), number, root=os.geteuid() == 0)


def _status() -> dict[str, int]:
    from drivers.capabilities import fields_of

    try:
        return fields_of(Path("/proc/self/status").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return {}
