"""Programs that show what they are given, and one that reads /proc while the others run.

They stand in for programs of these names on the executor's PATH. Each lives until the reader of
/proc has looked at every process twice, so that it was looked at.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from xml.sax import saxutils

from tests import canary_forms

_SECONDS = 60.0
#: By which variable a program is given its secret; others read it from their input.
_VARIABLES = {
    "mysql": "MYSQL_PWD",
    "redis-cli": "REDISCLI_AUTH",
    "pg_dump": "PGPASSWORD",
    "mongosh": "RUNSTREAM_PASSWORD",
    "az": "AZURE_STORAGE_KEY",
    "gcloud": "CLOUDSDK_AUTH_ACCESS_TOKEN",
    "aws": "AWS_SECRET_ACCESS_KEY",
}
#: A user of their own sees them; another one must not.
VARIABLES = frozenset({*_VARIABLES.values(), "AWS_ACCESS_KEY_ID"})
#: What `client` stands in for.
CLIENTS = ("redis-cli", "pg_dump", "mongosh", "az", "gcloud", "aws", "chpasswd")


def docker(passes: Path) -> int:
    """Writes what it reads in every form; fails where it is told to."""
    given = sys.stdin.read()
    sys.stdout.buffer.write(canary_forms.shown(given, canary_forms.DECOY))
    sys.stdout.flush()
    _wait(passes)
    if "fail" not in sys.argv:
        return 0
    sys.stderr.buffer.write(canary_forms.shown(given))
    sys.stderr.write(f"Error: refused {given}\n")
    return 1


def mysql(passes: Path) -> int:
    """Shows its password as a server would: in rows, or in an error."""
    password = os.environ[_VARIABLES["mysql"]]
    _wait(passes)
    if "fail" in sys.stdin.read():
        sys.stderr.write(f"ERROR 1045 (28000): Access denied using password {password}\n")
        return 1
    texts = [
        text.decode()
        for one in (password, canary_forms.DECOY)
        for name, text in canary_forms.written(one).items()
        if not name.startswith("utf-16")
    ]
    fields = "".join(
        f'<field name="f{number}">{saxutils.escape(text)}</field>'
        for number, text in enumerate(texts)
    )
    sys.stdout.write(f'<?xml version="1.0"?><resultset><row>{fields}</row></resultset>')
    return 0


def client(name: str, passes: Path) -> int:
    """Shows its secret as a server would: in an answer in JSON, or in an error."""
    variable = _VARIABLES.get(name)
    # The input of chpasswd is the name of an account, a colon and the password.
    account, _, typed = sys.stdin.read().partition(":") if variable is None else ("", "", "")
    secret = typed.strip() if variable is None else os.environ[variable]
    _wait(passes)
    # As a word: a script among the arguments may speak of what failed.
    told = re.search(r"\bfail\b", " ".join(sys.argv[1:])) is not None
    if told or "fail" in (account, os.environ.get("RUNSTREAM_DATABASE")):
        sys.stderr.buffer.write(canary_forms.shown(secret))
        sys.stderr.write(f"ERR refused {secret}\n")
        return 1
    texts = [
        text.decode()
        for one in (secret, canary_forms.DECOY)
        for form, text in canary_forms.written(one).items()
        # These it would write into JSON a fourth time; UTF-16 is no text.
        if not form.startswith(("json in json in", "utf-16"))
    ]
    sys.stdout.write(json.dumps({"ok": 1, "texts": texts}))
    return 0


def read_processes(
    passes: Path, values: Path, marker: str, result: Path, stop: Path, secrets: Path
) -> int:
    """Look for the values in the arguments and environments of all processes, until `stop`.

    Also tells which files of the folder `secrets` this user may read.
    """
    wanted = json.loads(values.read_text())
    hits: set[str] = set()
    seen = {"cmdline": False, "environ": False}
    deadline = time.monotonic() + 3 * _SECONDS
    number = 0
    while not stop.exists() and time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            for part in seen:
                try:
                    data = (process / part).read_bytes()
                except OSError:
                    continue
                seen[part] |= marker.encode() in data
                for hit in _hits(data, wanted):
                    hits.add(f"{part} {hit}")
        number += 1
        _replace(passes, str(number))
    files = {file.name: os.access(file, os.R_OK) for file in secrets.iterdir()}
    told = {"hits": sorted(hits), "seen": seen, "passes": number, "files": files}
    _replace(result, json.dumps(told))
    return 0


def _hits(data: bytes, wanted: dict[str, str]) -> list[str]:
    """Which value stands in which entry; of a variable its name, of an argument its number."""
    whole = canary_forms.squeezed(data)
    return [
        f"{name} in {_where(entry, number)}"
        for name, value in wanted.items()
        if canary_forms.found(value, whole)
        for number, entry in enumerate(data.split(b"\x00"))
        if canary_forms.found(value, canary_forms.squeezed(entry))
    ]


def _where(entry: bytes, number: int) -> str:
    name, is_variable, _ = entry.partition(b"=")
    known = is_variable and name.replace(b"_", b"").isalnum()
    return name.decode() if known else str(number)


def _wait(passes: Path) -> None:
    """Until every process was looked at twice more."""
    deadline = time.monotonic() + _SECONDS
    first: int | None = None
    while True:
        now = int(passes.read_text()) if passes.exists() else 0
        first = now if first is None else first
        if now >= first + 2:
            return
        if time.monotonic() > deadline:
            raise SystemExit(9)
        time.sleep(0.02)


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    # Those that wait have users of their own, and the umask of a step lets nobody read.
    draft.chmod(0o644)
    draft.replace(path)


def main(name: str, passes: str, *more: str) -> int:
    """Run one of them by its name."""
    if name == "read_processes":
        values, marker, result, stop, secrets = more
        return read_processes(
            Path(passes), Path(values), marker, Path(result), Path(stop), Path(secrets)
        )
    if name in CLIENTS:
        return client(name, Path(passes))
    return {"docker": docker, "mysql": mysql}[name](Path(passes))
