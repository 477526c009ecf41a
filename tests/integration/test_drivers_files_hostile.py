"""Hosts that do not do what they should: no SFTP, no atomic rename, a full disk, other bytes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from drivers.context import Outcome
from drivers.resources import Resources
from tests.driver_kit import Run, command, failed, settings, succeeded
from tests.files_kit import bound, names_in, ran, sha
from tests.integration.ssh_accounts import account
from tests.integration.test_drivers_ssh import SSHD, Sshd, keygen, running_sshd

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")

OLD = b"the old file\n"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "target").write_bytes(OLD)
    return tmp_path / "there" / "target"


def put(server: Sshd, target: Path, content: str = "new\n", **parameters: Any) -> Outcome:
    return ran(
        server.settings(), "file_put", host=server.host, path=str(target), content=content,
        **parameters,
    )  # fmt: skip


@pytest.mark.root_only
def test_no_sftp_at_all(tmp_path: Path, target: Path) -> None:
    (tmp_path / "server").mkdir()
    with account("/bin/bash") as forced, account("/bin/bash") as files:
        configured = (
            "Subsystem sftp internal-sftp",
            f"Match User {forced.name}", "ForceCommand echo something else",
            f"Match User {files.name}", "ForceCommand internal-sftp",
        )  # fmt: skip
        with running_sshd(tmp_path / "server", *configured) as server:
            for login in (forced, files):
                (login.home / ".ssh").mkdir()
                (login.home / ".ssh" / "authorized_keys").write_text(server.public_key)
            wanted: dict[str, Any] = {
                "host": server.host,
                "path": f"{files.home}/new",
                "content": "x",
            }
            told = failed(
                ran(server.settings(ssh_user=forced.name), "file_put", **wanted), "login_refused"
            )
            assert "ForceCommand" in told and not (files.home / "new").exists()
            succeeded(ran(server.settings(ssh_user=files.name), "file_put", **wanted))
            assert (files.home / "new").read_text() == "x"
            become = {"become": {"user": "root"}}
            told = failed(
                ran(server.settings(ssh_user=files.name), "file_put", step=become, **wanted),
                "login_refused",
            )
            assert "did not start sftp-server" in told
    (tmp_path / "without").mkdir()
    with running_sshd(tmp_path / "without") as server:
        assert "Subsystem sftp" in failed(put(server, target), "login_refused")
    assert target.read_bytes() == OLD


def test_servers_that_lack_something(tmp_path: Path, target: Path) -> None:
    (tmp_path / "server").mkdir()
    with running_sshd(
        tmp_path / "server", "Subsystem sftp internal-sftp -P posix-rename"
    ) as server:
        assert "posix-rename" in failed(put(server, target), "capability_missing")
        assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]
    (tmp_path / "other").mkdir()
    with running_sshd(
        tmp_path / "other", "Subsystem sftp internal-sftp -P hardlink,fsync"
    ) as server:
        told = failed(put(server, target, backup=True), "capability_missing")
        assert told.startswith("backup: no second name")
        assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]
        assert succeeded(put(server, target))["changed"] and target.read_bytes() == b"new\n"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, timeout=20, check=False)
    if made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], timeout=20, check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    for name in ("server", "transfer", "transfer/acme"):
        (tmp_path / name).mkdir()
    (tmp_path / "transfer" / "acme" / "large").write_bytes(bytes(8 * 1024 * 1024))
    with (
        small_disk(tmp_path / "disk") as disk,
        running_sshd(tmp_path / "server", "Subsystem sftp internal-sftp") as server,
    ):
        (disk / "target").write_bytes(OLD)
        outcome = ran(
            server.settings(transfer_folders=str(tmp_path / "transfer")), "file_put",
            host=server.host, path=f"{disk}/target", source=f"{tmp_path}/transfer/acme/large",
        )  # fmt: skip
        assert "is full" in failed(outcome, "limit_exceeded")
        assert (disk / "target").read_bytes() == OLD and names_in(disk) == ["target"]


class _Corrupting(asyncssh.SFTPServer):
    """A server whose disk keeps another byte than it got."""

    def write(self, file_obj: object, offset: int, data: bytes) -> Any:
        return super().write(file_obj, offset, data[:-1] + bytes([data[-1] ^ 1]))


class _Everybody(asyncssh.SSHServer):
    """Whoever comes is let in."""

    def begin_auth(self, username: str) -> bool:
        return False


def test_other_bytes_than_were_sent(tmp_path: Path, target: Path) -> None:
    key = keygen(tmp_path / "host")

    async def inside(verify: bool) -> Outcome:
        listening = await asyncssh.create_server(
            _Everybody, "127.0.0.1", 0, server_host_keys=[str(tmp_path / "host")],
            sftp_factory=_Corrupting,
        )  # fmt: skip
        port = listening.get_port()
        (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key}\n")
        opened = Resources(settings(ssh_known_hosts=str(tmp_path / "known"), ssh_user="any"))
        try:
            call = bound(
                "file_put", host=f"127.0.0.1:{port}", path=str(target), content="new\n",
                verify=verify,
            )  # fmt: skip
            return await Run(opened, call, command()).outcome(30)
        finally:
            await opened.close()
            listening.close()
            await listening.wait_closed()

    told = failed(asyncio.run(inside(True)), "conflict")
    assert "other bytes" in told
    assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]
    # The proof that the server really does that.
    done = succeeded(asyncio.run(inside(False)))
    assert sha(target.read_bytes()) != done["sha256"] == sha(b"new\n")
