"""The tools for files over SFTP, against a real OpenSSH server."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Outcome
from runtime.settings import ExecutorSettings
from tests.driver_kit import failed, succeeded
from tests.files_kit import names_in, parts_in, ran, sha
from tests.integration.ssh_accounts import Account, account, sudoers
from tests.integration.test_drivers_ssh import SSHD, Sshd, running_sshd
from tests.tools.odd.hosts import ipv6

pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed"),
    pytest.mark.root_only,
]

SUBSYSTEM = "Subsystem sftp internal-sftp"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    listening = ["ListenAddress ::1"] if ipv6() else []
    with running_sshd(tmp_path_factory.mktemp("sftp"), SUBSYSTEM, *listening) as made:
        known = made.folder / "known_hosts"
        known.write_text(known.read_text() + known.read_text().replace("127.0.0.1", "::1"))
        yield made


@pytest.fixture(scope="module")
def login(server: Sshd) -> Iterator[Account]:
    with account("/bin/bash", key=server.public_key) as made:
        yield made


@pytest.fixture
def folder(login: Account) -> Iterator[Path]:
    made = login.home / "work"
    made.mkdir()
    owner = pwd.getpwnam(login.name)
    os.chown(made, owner.pw_uid, owner.pw_gid)
    yield made
    for path in sorted(made.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    made.rmdir()


class Host:
    """Calls of the tools on the server, by an account without rights."""

    def __init__(self, server: Sshd, login: Account, root: Path) -> None:
        self.server, self.login = server, login
        (root / "transfer" / "acme").mkdir(parents=True)
        self.transfer = root / "transfer" / "acme"
        self.settings: ExecutorSettings = server.settings(
            ssh_user=login.name, transfer_folders=str(root / "transfer")
        )

    def ran(self, tool: str, step: dict[str, Any] | None = None, **parameters: Any) -> Outcome:
        parameters.setdefault("host", self.server.host)
        return ran(self.settings, tool, step=step, **parameters)

    def done(self, tool: str, **parameters: Any) -> dict[str, Any]:
        return succeeded(self.ran(tool, **parameters))


@pytest.fixture
def host(server: Sshd, login: Account, tmp_path: Path) -> Host:
    return Host(server, login, tmp_path)


def test_a_file_is_put_once(host: Host, folder: Path) -> None:
    path = folder / "motd"
    first = host.done("file_put", path=str(path), content="hello\n", mode="0644")
    assert (first["changed"], first["created"], first["host"]) == (True, True, "127.0.0.1")
    owner = pwd.getpwnam(host.login.name)
    found = path.stat()
    assert path.read_bytes() == b"hello\n" and first["sha256"] == sha(b"hello\n")
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o644, owner.pw_uid)
    again = host.done("file_put", path=str(path), content="hello\n")
    assert not again["changed"] and path.stat().st_ino == found.st_ino
    said = host.done("file_put", path=str(path), content="hallo\n", backup=True, dry_run=True)
    assert said["changed"] and "-hello\n+hallo\n" in said["diff"] and names_in(folder) == ["motd"]
    done = host.done("file_put", path=str(path), content="hallo\n", backup=True)
    assert done["diff"] == said["diff"] and path.read_text() == "hallo\n"
    assert Path(done["backup"]).stat().st_ino == found.st_ino and parts_in(folder) == []
    mode = host.done("file_put", path=str(path), content="hallo\n", mode="0600")
    assert mode["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a b", "-rf", "ü", "u\u0308", "$(id)", "line\nbreak", "*", "'\""])
def test_any_name(host: Host, folder: Path, name: str) -> None:
    inner = folder / f"in {name}"
    made = host.done("directory", path=f"{inner}/deep", parents=True, mode="0750")
    assert made["created"] == [str(inner), f"{inner}/deep"]
    host.done("file_put", path=f"{inner}/deep/{name}", content="x\n")
    assert names_in(inner / "deep") == [name]
    got = host.done("file_get", path=f"{inner}/deep/{name}", content=True)
    assert got["content"] == "x\n"
    gone = host.done("file_absent", path=str(inner), recursive=True)
    assert (gone["files"], gone["folders"]) == (1, 2) and not inner.exists()


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
@pytest.mark.tried(
    "file_put", "file_get", "file_absent", "directory", "file_copy",
    inputs=("IPv6 host", "IPv6 peer"),
)  # fmt: skip
def test_at_an_ipv6_address(host: Host, folder: Path) -> None:
    there = f"[::1]:{host.server.port}"
    host.done("directory", host=there, path=f"{folder}/d")
    host.done("file_put", host=there, path=f"{folder}/d/f", content="six\n")
    assert host.done("file_get", host=there, path=f"{folder}/d/f", content=True)["host"] == "::1"
    copied = host.done(
        "file_copy", from_host=there, from_path=f"{folder}/d/f", host=there, path=f"{folder}/f"
    )
    assert copied["from_host"] == "::1" and (folder / "f").read_text() == "six\n"
    host.done("file_absent", host=there, path=f"{folder}/d", recursive=True)
    assert names_in(folder) == ["f"]


def test_files_go_out_and_come_back(host: Host, folder: Path) -> None:
    data = os.urandom(5_000_003)
    (host.transfer / "out").write_bytes(data)
    put = host.done("file_put", path=f"{folder}/there", source=f"{host.transfer}/out")
    assert put["sha256"] == sha(data) and (folder / "there").read_bytes() == data
    copied = host.done(
        "file_copy", from_host=host.server.host, from_path=f"{folder}/there",
        path=f"{folder}/copy", verify=False,
    )  # fmt: skip
    assert copied["changed"] and (folder / "copy").read_bytes() == data
    assert not host.done(
        "file_copy", from_host=host.server.host, from_path=f"{folder}/there", path=f"{folder}/copy"
    )["changed"]
    got = host.done("file_get", path=f"{folder}/copy", save_as=f"{host.transfer}/again")
    assert got["sha256"] == sha(data) and (host.transfer / "again").read_bytes() == data


def test_what_the_login_may_not(host: Host, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text("not yours")
    secret.chmod(0o600)
    os.chown(secret, 0, 0)
    assert "may not" in failed(host.ran("file_get", path=str(secret)), "capability_missing")
    put = failed(host.ran("file_put", path="/etc/rs-new", content="x"), "capability_missing")
    assert "/etc/rs-new" in put and not Path("/etc/rs-new").exists()
    # The folder is the login's, but the owner of what is there cannot be kept.
    kept = host.ran("file_put", path=str(secret), content="mine now!")
    assert "may not" in failed(kept, "capability_missing") and secret.read_text() == "not yours"
    owner = host.ran("file_put", path=f"{folder}/new", content="x", owner="root")
    failed(owner, "capability_missing")
    assert names_in(folder) == ["secret"]
    nobody = host.ran("file_put", path=f"{folder}/new", content="x", owner="no-such-user")
    assert "give its number" in failed(nobody, "not_found")
    failed(host.ran("file_get", path=f"{folder}/absent"), "not_found")
    failed(host.ran("file_put", path=f"{folder}/absent/file", content="x"), "not_found")


def test_what_only_looks_empty(host: Host, folder: Path) -> None:
    (folder / "empty").touch()
    found = host.done("file_get", path=f"{folder}/empty", content=True)
    assert (found["bytes"], found["content"], found["sha256"]) == (0, "", sha(b""))
    told = failed(host.ran("file_get", path="/proc/version", content=True), "invalid_parameters")
    assert "cat" in told
    os.mkfifo(folder / "pipe", 0o644)
    for path in (f"{folder}/pipe", "/dev/null", "/etc"):
        assert "no file" in failed(host.ran("file_get", path=path), "invalid_parameters")


def test_a_link_is_no_file(host: Host, folder: Path) -> None:
    (folder / "real").write_text("kept")
    (folder / "link").symlink_to(folder / "real")
    told = failed(host.ran("file_put", path=f"{folder}/link", content="x"), "conflict")
    assert "symbolic link" in told and (folder / "real").read_text() == "kept"
    host.done("file_absent", path=f"{folder}/link")
    assert names_in(folder) == ["real"]
    for path, error_class in ((f"{folder}/../x", "invalid_parameters"), ("/etc", "conflict")):
        failed(host.ran("file_absent", path=path), error_class)
    failed(host.ran("file_absent", path="/etc", recursive=True), "invalid_parameters")


def test_a_tree_of_a_thousand(host: Host, folder: Path) -> None:
    for number in range(20):
        (folder / "tree" / f"d{number}").mkdir(parents=True)
        for file in range(50):
            (folder / "tree" / f"d{number}" / f"f{file}").write_text("x")
    owner = pwd.getpwnam(host.login.name)
    for path in (folder / "tree", *(folder / "tree").rglob("*")):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    said = host.done("file_absent", path=f"{folder}/tree", recursive=True, dry_run=True)
    assert (said["files"], said["folders"]) == (1_000, 21) and (folder / "tree" / "d19").exists()
    host.done("file_absent", path=f"{folder}/tree", recursive=True)
    assert names_in(folder) == []


def test_as_root(host: Host, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "roots"
    become = {"become": {"user": "root"}, "tenant": "acme"}
    put = {"path": str(path), "content": "x\n", "owner": "daemon", "group": "adm", "mode": "0640"}
    with sudoers(f"{host.login.name} ALL=(ALL) NOPASSWD: ALL\n"):
        done = succeeded(host.ran("file_put", become, **put))
        assert done["changed"] and not succeeded(host.ran("file_put", become, **put))["changed"]
        found = path.stat()
        assert found.st_uid == pwd.getpwnam("daemon").pw_uid == done["uid"]
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (done["gid"], 0o640)
        # Owner and mode of what is replaced stay.
        succeeded(host.ran("file_put", become, path=str(path), content="y\n"))
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (done["uid"], 0o640)
        assert path.read_text() == "y\n"
    told = failed(host.ran("file_put", become, **put), "login_refused")
    assert "sudo" in told and path.read_text() == "y\n"
