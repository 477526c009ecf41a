"""The tools for files through the whole system, on a host that is reached over SSH."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.files_kit import names_in, sha
from tests.integration.test_drivers_ssh import SSHD, running_sshd
from tests.tools.conftest import Execute

TRUST = ("known_hosts", "client", "client.pub")


@pytest.fixture
def host(stack: tuple[object, Path], tmp_path: Path) -> Iterator[str]:
    """A server that the executor of the stack trusts, and that trusts it."""
    if SSHD is None:
        pytest.skip("program sshd is not installed: apt install openssh-server")
    trust = stack[1].parent / "ssh"
    before = {file.name: file.read_bytes() for file in trust.iterdir()}
    (tmp_path / "server").mkdir()
    with running_sshd(tmp_path / "server", "Subsystem sftp internal-sftp") as server:
        for name in TRUST:
            (trust / name).write_bytes((server.folder / name).read_bytes())
            (trust / name).chmod(0o600)
        try:
            yield server.host
        finally:
            for name in TRUST:
                (trust / name).unlink()
            for name, content in before.items():
                (trust / name).write_bytes(content)
                (trust / name).chmod(0o600)


def test_a_file_comes_and_goes(execute: Execute, host: str, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    path = folder / "conf d" / "app.conf"
    made = execute("directory", {"host": host, "path": str(path.parent), "parents": True})
    assert made.output["created"] == [str(folder), str(path.parent)], made
    put = {"host": host, "path": str(path), "content": "port = 1\n", "mode": "0644"}
    first = execute("file_put", put)
    assert (first.output["changed"], first.output["sha256"]) == (True, sha(b"port = 1\n")), first
    assert path.read_text() == "port = 1\n" and stat.S_IMODE(path.stat().st_mode) == 0o644
    said = execute("file_put", {**put, "content": "port = 2\n", "dry_run": True})
    assert "-port = 1\n+port = 2\n" in said.output["diff"] and path.read_text() == "port = 1\n"
    other = execute("file_put", {**put, "content": "port = 2\n", "backup": True})
    assert other.output["changed"] and Path(other.output["backup"]).read_text() == "port = 1\n"
    again = execute("file_put", {**put, "content": "port = 2\n"})
    assert (again.status, again.output["changed"]) == ("succeeded", False)
    got = execute("file_get", {"host": host, "path": str(path), "content": True})
    assert got.output["content"] == "port = 2\n", got
    copy = {"from_host": host, "from_path": str(path), "host": host, "path": f"{folder}/copy"}
    assert execute("file_copy", copy).output["bytes"] == 9
    # The mode in YAML's own numbers, which would be another one, is refused with the plan.
    with pytest.raises(AssertionError, match=r"rejected: .*mode"):
        execute("file_put", {**put, "mode": 0o644})
    gone = execute("file_absent", {"host": host, "path": str(folder / "conf d"), "recursive": True})
    assert (gone.output["files"], gone.output["folders"]) == (2, 1), gone
    assert names_in(folder) == ["copy"]
    here = execute("file_put", {"path": str(path), "content": "x"})
    assert here.error_class == "capability_missing" and not path.exists()


def test_a_secret_in_a_file_is_in_no_event(
    execute: Execute, host: str, tmp_path: Path, stack: tuple[object, Path]
) -> None:
    secret = stack[1].parent / "secrets" / "of_a_file"
    secret.write_text("canary-in-a-file")
    secret.chmod(0o600)
    path = tmp_path / "token"
    put = {
        "host": host, "path": str(path), "mode": "0644", "diff": True,
        "content": {"type": "secret", "path": "file/of_a_file"},
    }  # fmt: skip
    done = execute("file_put", put)
    assert done.status == "succeeded" and path.read_text() == "canary-in-a-file"
    assert "secret" in done.output["diff_left_out"] and "sha256" not in done.output
    assert "canary-in-a-file" not in repr(done.events)
