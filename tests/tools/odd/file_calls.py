"""For every tool that takes a path: a call about one file, and how the file shows in its answer."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from tests.tools.captures.handmade import Talk, pcap
from toolmeta.registry import load

Facts = dict[str, Any]
READERS: Final = sorted(
    tool.name for tool in load().all() if {"capture", "file"} <= set(tool.parameters)
)


def token(path: Path) -> str:
    """What stands in the file of this path, and in no other."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()


@dataclass(frozen=True)
class FileCall:
    """A call about one file or folder that is made before."""

    make: Callable[[Path], None]
    parameters: Callable[[str], Facts]
    #: Fields of the output, by the file itself, after the call.
    truth: Callable[[Path], Facts]
    #: The class where only root may read the file; None where its contents are not read.
    denied: str | None = "capability_missing"
    absent: str | None = "not_found"
    #: The signs that its definition refuses in a name.
    refuses: str = ""
    #: It takes a second or more, so that one name with every sign has to do.
    slow: bool = False


def _text(path: Path) -> None:
    path.write_text(f"{token(path)} x\n")


def _tree(path: Path) -> None:
    path.mkdir()
    (path / token(path)).write_text("needle\n")


def _reads(more: Facts, truth: Callable[[Path], Facts], name: str = "path") -> FileCall:
    return FileCall(_text, lambda path: {**more, name: path}, truth)


def _database(path: Path) -> None:
    # By a descriptor's name: a path is no URI, whatever stands in it.
    made = path.parent / "made.db"
    with closing(sqlite3.connect(made)) as database, database:
        database.execute("create table told (word text)")
        database.execute("insert into told values (?)", (token(path),))
    made.rename(path)


def _certificate(path: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=odd"]
    files = ["-keyout", "/dev/null", "-out", "/dev/stdout"]
    made = subprocess.run([*words, *files], check=True, capture_output=True, timeout=20)
    path.write_bytes(made.stdout[made.stdout.index(b"-----BEGIN CERT") :])


def _fingerprint(path: Path) -> Facts:
    found = load_pem_x509_certificate(path.read_bytes()).fingerprint(SHA256())
    return {"sha256_fingerprint": found.hex(":").upper()}


def _key(path: Path) -> None:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", token(path), "-f"]
    subprocess.run([*words, str(path.parent / "made")], check=True, timeout=20)
    (path.parent / "made.pub").rename(path)
    (path.parent / "made").unlink()


def _accounts(path: Path) -> None:
    (path / "etc").mkdir(parents=True)
    for name in ("passwd", "shadow", "group", "gshadow"):
        text = {"passwd": "was:x:900:900::/:/bin/sh\n", "group": "was:x:900:\n"}.get(name, "")
        (path / "etc" / name).write_text(text)


def _passwd(path: Path) -> list[str]:
    return (path / "etc" / "passwd").read_text().splitlines()


def _account_added(path: Path) -> Facts:
    assert [line.split(":")[0] for line in _passwd(path)] == ["was", "added"]
    return {"exit_code": 0}


def _comment_changed(path: Path) -> Facts:
    assert [line.split(":")[4] for line in _passwd(path)] == ["changed"]
    return {"exit_code": 0}


def _group_changed(path: Path) -> Facts:
    assert (path / "etc" / "group").read_text() == "was:x:901:\n"
    return {"changed": True, "gid": 901}


def _mode_changed(path: Path) -> Facts:
    assert path.stat().st_mode & 0o777 == 0o640
    return {"exit_code": 0}


def _owner_changed(path: Path) -> Facts:
    assert (path.stat().st_uid, path.stat().st_gid) == (65_534, 65_534)
    return {"exit_code": 0}


def _units(path: Path) -> None:
    units = path / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "rotate.timer").write_text("[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=x.target\n")


def _cluster(path: Path) -> None:
    path.write_text(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: one\n  cluster:\n"
        "    server: https://127.0.0.1:1\nusers:\n- name: me\n  user: {token: t}\ncontexts:\n"
        f"- name: {token(path)}\n  context: {{cluster: one, user: me, namespace: odd}}\n"
        f"current-context: {token(path)}\n"
    )


_FRAMES: Final = (
    Talk("192.0.2.7", "192.0.2.80").open().say(b"GET /kept HTTP/1.1\r\n\r\n").close().frames
)


def _capture(path: Path) -> None:
    path.write_bytes(pcap(_FRAMES))


def _captured(tool: str) -> FileCall:
    more: Facts = {"operation": "summary"} if tool == "dpkt" else {}
    more |= {"pattern": "kept"} if tool == "ngrep" else {}
    read = {"tcpflow": {"count": 1}, "ngrep": {"count": 1}}
    return FileCall(
        _capture,
        lambda path: {**more, "file": path},
        lambda path: read.get(tool, {}),
        denied=None,
        slow=True,
    )


FILES: Final[dict[str, FileCall]] = {
    "awk": _reads({"program": "{ print $1 }"}, lambda path: {"lines": [token(path)]}, "paths"),
    "cat": _reads({}, lambda path: {"text": path.read_text()}),
    "chmod": FileCall(
        _text, lambda path: {"mode": "0640", "paths": path}, _mode_changed, denied=None
    ),
    "chown": FileCall(
        _text,
        lambda path: {"owner": "65534", "group": "65534", "paths": path},
        _owner_changed,
        denied=None,
    ),
    "collectd": FileCall(
        lambda path: _write(path, "Hostname odd\nFQDNLookup false\n"),
        lambda path: {"path": path},
        lambda path: {"messages": ["No read-functions are registered.", "Exiting normally."]},
        refuses=" $`;{}*?[]'\"\\&|>",
    ),
    "cut": _reads({"fields": "1", "delimiter": " "}, lambda path: {"lines": [token(path)]}),
    "df": FileCall(
        _text,
        lambda path: {"path": path},
        lambda path: {"size_bytes": os.statvfs(path).f_blocks * os.statvfs(path).f_frsize},
        denied=None,
    ),
    "du": FileCall(
        _text,
        lambda path: {"path": path},
        lambda path: {"total_bytes": path.stat().st_blocks * 512},
        denied=None,
    ),
    "find": FileCall(
        _text,
        lambda path: {"path": path},
        lambda path: {"count": 1, "total_bytes": path.stat().st_size},
        denied=None,
    ),
    "grep": _reads(
        {"pattern": "x"},
        lambda path: {"matches": [{"file": str(path), "line": 1, "text": f"{token(path)} x"}]},
        "paths",
    ),
    "head": _reads({}, lambda path: {"lines": path.read_text().splitlines()}),
    "group": FileCall(
        _accounts,
        lambda path: {"prefix": path, "name": "was", "gid": 901},
        _group_changed,
        denied="capability_missing",
        absent="not_found",
    ),
    "kubectx": FileCall(
        _cluster,
        lambda path: {"kubeconfig": path},
        lambda path: {"lines": [token(path)]},
        denied=None,
        absent=None,
        slow=True,
    ),
    "kubens": FileCall(
        _cluster,
        lambda path: {"kubeconfig": path, "action": "current"},
        lambda path: {"lines": ["odd"]},
        denied=None,
        absent=None,
        slow=True,
    ),
    "logrotate": FileCall(
        lambda path: _write(path, f"/nowhere/{token(path)} {{\n  missingok\n}}\n"),
        lambda path: {"path": path},
        lambda path: {"exit_code": 0},
    ),
    "ls": FileCall(
        _text,
        lambda path: {"path": path},
        lambda path: {"count": 1, "total_bytes": path.stat().st_size},
        denied=None,
    ),
    "openssl": FileCall(
        _certificate, lambda path: {"action": "certificate", "path": path}, _fingerprint
    ),
    "package": FileCall(
        lambda path: _write_below(path, "var/lib/dpkg/status", ""),
        lambda path: {"root": path, "names": ["odd"], "state": "absent", "manager": "apt"},
        lambda path: {"changed": False, "versions": {"odd": None}},
        denied=None,
        absent=None,
    ),
    "rsyslog": FileCall(
        lambda path: _write(path, "*.* /dev/null\n"),
        lambda path: {"operation": "check_config", "path": path},
        lambda path: {"errors": []},
    ),
    "sed": _reads({"script": "s/ x//"}, lambda path: {"lines": [token(path)]}, "paths"),
    "sort": _reads({}, lambda path: {"lines": path.read_text().splitlines()}),
    "sqlite3": FileCall(
        _database,
        lambda path: {"path": path, "query": "select word from told;"},
        lambda path: {"rows": [{"word": token(path)}]},
        denied="not_found",
    ),
    "ssh_keygen": FileCall(
        _key, lambda path: {"path": path}, lambda path: {"comment": token(path)}
    ),
    "systemd_timer": FileCall(
        _units,
        lambda path: {"root": path, "operation": "list_files"},
        lambda path: {"count": 1},
        denied=None,
        absent=None,
    ),
    "tail": _reads({}, lambda path: {"lines": path.read_text().splitlines()}),
    "uniq": _reads({}, lambda path: {"groups": [{"text": f"{token(path)} x", "times": 1}]}),
    "user": FileCall(
        _accounts,
        lambda path: {"prefix": path, "name": "was", "comment": "changed"},
        lambda path: {**_comment_changed(path), "changed_fields": ["comment"]},
        denied="capability_missing",
        absent="not_found",
    ),
    "useradd": FileCall(
        _accounts,
        lambda path: {"prefix": path, "name": "added", "create_home": False},
        _account_added,
        denied=None,
        absent=None,
    ),
    "usermod": FileCall(
        _accounts,
        lambda path: {"prefix": path, "name": "was", "comment": "changed"},
        _comment_changed,
        denied=None,
        absent=None,
    ),
    **{tool: _captured(tool) for tool in READERS},
}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _write_below(path: Path, name: str, text: str) -> None:
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text(text)
