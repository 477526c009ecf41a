"""A folder that every account can read, with the files that the calls of this corpus name."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.ports import free_port
from tests.tools.running import listens, server


@dataclass(frozen=True)
class Place:
    """The folder, a port at which nobody listens, and a process of the tests' user."""

    folder: Path
    closed: int
    pid: int
    #: The port of a server of Redis; of nobody where it is not installed.
    redis: int

    def filled(self, value: Any) -> Any:
        """The value with the places of this machine in it."""
        if isinstance(value, str):
            numbers = {"{closed}": self.closed, "{pid}": self.pid, "{redis}": self.redis}
            if value in numbers:
                return numbers[value]
            closed = str(self.closed)
            return value.replace("{folder}", str(self.folder)).replace("{closed}", closed)
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if isinstance(value, dict):
            return {name: self.filled(item) for name, item in value.items()}
        return value


_FILES = {
    "numbers": "b 2\na 1,5\nc 30\n",
    "collectd.conf": "Hostname odd\nFQDNLookup false\n",
    "rsyslog.conf": 'global(workDirectory="/tmp")\n*.* /dev/null\n',
    "rotate.conf": "{folder}/numbers {{\n  size 1G\n}}\n",
    "kubeconfig": "apiVersion: v1\nkind: Config\nclusters:\n- name: one\n  cluster:\n"
    "    server: https://127.0.0.1:{closed}\nusers:\n- name: me\n  user: {{token: t}}\n"
    "contexts:\n- name: one\n  context: {{cluster: one, user: me}}\ncurrent-context: one\n",
    "compose.yaml": '{{"version": "2.4", "services": {{"shop": {{"image": "none"}}}}}}\n',
}


@contextmanager
def made() -> Iterator[Place]:
    """The folder with its files, for as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="odd-"))
    with socket.socket() as closed:
        # Bound and never listening: nobody else gets it, and connections are refused.
        closed.bind(("127.0.0.1", 0))
        process = subprocess.Popen(["sleep", "600"])
        try:
            with _redis(folder) as redis:
                place = Place(folder, int(closed.getsockname()[1]), process.pid, redis)
                _fill(place)
                yield place
        finally:
            process.kill()
            process.wait(10)
            shutil.rmtree(folder)


@contextmanager
def _redis(folder: Path) -> Iterator[int]:
    port = free_port()
    found = shutil.which("redis-server")
    if found is None:
        yield port
        return
    words = [found, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with server(words, lambda: listens(port), folder / "redis.log"):
        yield port


def _fill(place: Place) -> None:
    folder = place.folder
    for name, text in _FILES.items():
        text = text.replace("{folder}", str(folder)).replace("{closed}", str(place.closed))
        (folder / name).write_text(text.replace("{{", "{").replace("}}", "}"))
    (folder / "tree" / "below").mkdir(parents=True)
    (folder / "tree" / "b.log").write_text("x" * 3_000)
    (folder / "tree" / "below" / "a.log").write_text("needle\n")
    with sqlite3.connect(folder / "state.db") as database:
        database.execute("create table jobs (id integer, state text)")
        database.execute("insert into jobs values (1, 'offen'), (2, 'grün')")
    database.close()
    words = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=odd", "-days"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*words, "30", *files], check=True, capture_output=True, timeout=20)
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "odd", "-f", str(folder / "key")]
    subprocess.run(key, check=True, timeout=20)
    for file in (folder, *folder.rglob("*")):
        file.chmod(0o755 if file.is_dir() else 0o644)
    (folder / "secret").write_text("for root\n")
    (folder / "secret").chmod(0o600)
    (folder / "shut").mkdir(mode=0o700)
