"""Files of hosts: read with a bound, and in the form that name and content tell."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path
from typing import Final

from console.exits import Exit, Failure
from console.inventory_model import BadFile, Found, LeftOut
from console.options import HostsFormat

#: Several thousand hosts with their variables.
MAX_BYTES: Final = 1_048_576
_SUFFIXES: Final[dict[str, HostsFormat]] = {
    ".csv": "csv", ".yaml": "ansible-yaml", ".yml": "ansible-yaml", ".ini": "ansible-ini",
}  # fmt: skip
#: Folders beside an inventory that Ansible reads too.
_BESIDE: Final = ("group_vars", "host_vars")


def read(path: Path, wanted: HostsFormat | None) -> tuple[HostsFormat, Found]:
    """The hosts of a file, or of stdin for `-`; raises Failure that names the file and the line."""
    source = "stdin" if str(path) == "-" else str(path)
    try:
        text = _text(path)
        form = wanted or format_of(path, text)
        found = parse(form, text)
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror or error}"
        raise Failure(message, Exit.USAGE) from None
    except ValueError as error:
        raise Failure(f"{source}: {error}", Exit.USAGE) from None
    if not found.hosts:
        raise Failure(
            f"{source}: no host in it, read as {form}", Exit.USAGE, "--format says what it is"
        )
    if form.startswith("ansible") and source != "stdin":
        for name in _BESIDE:
            if (path.parent / name).is_dir():
                found.left_out.append(LeftOut(name, 0, "beside the file is not read"))
    return form, found


def parse(form: HostsFormat, text: str) -> Found:
    """The hosts of a text; raises BadFile."""
    from console import ansible_ini, ansible_yaml, inventory_csv, ssh_config_hosts

    parsers = {
        "ansible-ini": ansible_ini.parse,
        "ansible-yaml": ansible_yaml.parse,
        "ssh-config": ssh_config_hosts.parse,
        "csv": inventory_csv.parse,
    }
    return parsers[form](text.replace("\r\n", "\n"))


def format_of(path: Path, text: str) -> HostsFormat:
    """What a file is, by its name, else by its first line that says something."""
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    if path.name in ("ssh_config", "config"):
        return "ssh-config"
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    if re.match(r"(?i)(host|match|include)[ \t]", first) and "=" not in first:
        return "ssh-config"
    if first == "---" or re.fullmatch(r"[\w.-]+:(\s*#.*)?", first):
        return "ansible-yaml"
    if re.search(r"[,;]", first) and not first.startswith("["):
        return "csv"
    return "ansible-ini"


def _text(path: Path) -> str:
    if str(path) == "-":
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadFile("is a folder; import its files one by one")
        if not stat.S_ISREG(mode):
            raise BadFile("is no file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise BadFile(f"larger than {MAX_BYTES // 1024} KiB; import it in parts")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadFile(f"line {line}: not UTF-8 text") from None
    if "\0" in text:
        raise BadFile(f"line {text[: text.index(chr(0))].count(chr(10)) + 1}: holds a NUL byte")
    return text
