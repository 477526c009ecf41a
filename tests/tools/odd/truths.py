"""What calls of the corpus must say, by Python, the kernel and the files themselves."""

from __future__ import annotations

import base64
import hashlib
import os
import pwd
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from tests.tools.odd.place import Place

Facts = dict[str, Any]


def _lines(place: Place) -> list[str]:
    return (place.folder / "numbers").read_text(encoding="utf-8").splitlines()


def _number(line: str) -> int:
    # In C.UTF-8 a comma ends a number: in a German locale it would go on.
    return int(line.split()[1].partition(",")[0])


def _awk(place: Place) -> Facts:
    return {"lines": [str(sum(map(_number, _lines(place))))]}


def _certificate(place: Place) -> Facts:
    found = load_pem_x509_certificate((place.folder / "certificate.pem").read_bytes())
    return {
        "not_after": found.not_valid_after_utc.isoformat(),
        "subject": "CN = odd",
        "sha256_fingerprint": found.fingerprint(SHA256()).hex(":").upper(),
    }


def _du(place: Place) -> Facts:
    tree = place.folder / "tree"
    every = (tree, *tree.rglob("*"))
    return {"total_bytes": sum(item.lstat().st_blocks * 512 for item in every)}


def _find(place: Place) -> Facts:
    tree = place.folder / "tree"
    return {"count": sum(1 for _ in tree.rglob("*")) + 1, "complete": True}


def _grep(place: Place) -> Facts:
    file = place.folder / "tree" / "below" / "a.log"
    return {"matches": [{"file": str(file), "line": 1, "text": "needle"}]}


def _ls(place: Place) -> Facts:
    listed = sorted(os.scandir(place.folder / "tree"), key=lambda item: item.name)
    return {
        "entries": [
            {
                "name": item.name,
                "type": "directory" if item.is_dir() else "file",
                "mode": "drwxr-xr-x" if item.is_dir() else "-rw-r--r--",
                "links": item.stat().st_nlink,
                "owner": pwd.getpwuid(item.stat().st_uid).pw_name,
                "group": "root",
                "size_bytes": item.stat().st_size,
                "modified_at": int(item.stat().st_mtime),
            }
            for item in listed
        ]
    }


def _fingerprint(place: Place) -> Facts:
    key = base64.b64decode((place.folder / "key.pub").read_text().split()[1])
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return {"fingerprint": f"SHA256:{digest}", "bits": 256, "comment": "odd"}


def _states(place: Place) -> Facts:
    with closing(sqlite3.connect(place.folder / "state.db")) as database:
        rows = database.execute("select state from jobs order by id").fetchall()
    return {"rows": [{"state": state} for (state,) in rows]}


TRUTHS: Final[dict[str, Callable[[Place], Facts]]] = {
    "awk": _awk,
    "cat": lambda place: {"text": (place.folder / "numbers").read_text(encoding="utf-8")},
    "cut": lambda place: {"lines": [line.split()[0] for line in _lines(place)]},
    "du": _du,
    "find": _find,
    "grep": _grep,
    "head": lambda place: {"lines": _lines(place)[:2]},
    "hostname": lambda place: {"hostname": socket.gethostname()},
    "id": lambda place: {"uid": {"id": 0, "name": pwd.getpwuid(0).pw_name}},
    "ls": _ls,
    "nice": lambda place: {"text": "gr\u00fcn"},
    "openssl": _certificate,
    "redis_cli": lambda place: {"answer": "PONG"},
    "sed": lambda place: {"lines": [line.replace("a", "b", 1) for line in _lines(place)]},
    "sort": lambda place: {"lines": sorted(_lines(place), key=_number)},
    "sqlite3": _states,
    "ssh_keygen": _fingerprint,
    "tail": lambda place: {"lines": _lines(place)[-2:]},
    "uname": lambda place: {"kernel_release": os.uname().release, "machine": os.uname().machine},
    "uniq": lambda place: {"groups": [{"text": line, "times": 1} for line in _lines(place)]},
}
