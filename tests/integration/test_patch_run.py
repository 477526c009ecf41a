"""A patch run over an imported Ansible inventory: real hosts, files and mails, the whole system."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.cli import main
from console.exits import Exit
from demo.servers import Mailbox, mail_server
from devstack.stack import LocalStack
from tests.harness import Harness
from tests.integration.test_drivers_ssh import SSHD, Sshd, running_sshd

ROOT = Path(__file__).parents[2]
PLAN = ROOT / "demo" / "plans" / "patch-run.yaml"
#: Addresses of this machine, in the order of the host names.
ADDRESSES = [f"127.0.0.{number}" for number in range(2, 7)]
NAMES = [f"patch-{number:02}" for number in range(1, 6)]
TRUST = ("known_hosts", "client", "client.pub")
Capture = pytest.CaptureFixture[str]
Stack = tuple[LocalStack, Path]

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")


@pytest.fixture
def hosts(stack: Stack, tmp_path: Path) -> Iterator[Sshd]:
    """One server at all the addresses, that the executor of the stack trusts."""
    trust = stack[1].parent / "ssh"
    before = {file.name: file.read_bytes() for file in trust.iterdir()}
    (tmp_path / "server").mkdir()
    with running_sshd(
        tmp_path / "server", *(f"ListenAddress {one}" for one in ADDRESSES)
    ) as server:
        key = (server.folder / "known_hosts").read_text().split(" ", 1)[1]
        lines = [f"[{one}]:{server.port} {key}" for one in ADDRESSES]
        (server.folder / "known_hosts").write_text("".join(lines))
        for name in TRUST:
            (trust / name).write_bytes((server.folder / name).read_bytes())
            (trust / name).chmod(0o600)
        try:
            yield server
        finally:
            for name in TRUST:
                (trust / name).unlink()
            for name, content in before.items():
                (trust / name).write_bytes(content)
                (trust / name).chmod(0o600)


@pytest.fixture
def mailbox(stack: Stack) -> Iterator[Mailbox]:
    box = Mailbox()
    server = mail_server(int((stack[1].parent / "smtp_port").read_text()), box)
    yield box
    server.stop()


@pytest.fixture
def inventory(tmp_path: Path, hosts: Sshd) -> Path:
    lines = [f"{n} ansible_host={a}" for n, a in zip(NAMES, ADDRESSES, strict=True)]
    file = tmp_path / "inventory.ini"
    file.write_text(
        f"[patched]\n{lines[0]} ansible_password=hunter2\n" + "\n".join(lines[1:]) + "\n"
        f"[eu:children]\npatched\n[eu:vars]\nansible_port={hosts.port}\n"
        f"ansible_user={getpass.getuser()}\nhttp_port=80\n"
    )
    return file


def imported(capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    code = main(["assets", "import", *words, "--yes", "--json"])
    told = capsys.readouterr()
    assert code == Exit.OK, told.err
    document: dict[str, Any] = json.loads(told.out)
    return document


def test_a_patch_run_over_an_imported_inventory(
    harness: Harness,
    stack: Stack,
    hosts: Sshd,
    mailbox: Mailbox,
    inventory: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNSTREAM_STATE_DIR", str(stack[1].parent / "stack"))
    assert main(["assets", "import", str(inventory), "--dry-run", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["new"] == NAMES
    first = imported(capsys, str(inventory))
    assert (first["new"], first["changed"], first["complete"]) == (NAMES, {}, True)
    left = {one["name"]: one["why"] for one in first["left_out"]}
    assert left.keys() == {"ansible_password", "http_port"}
    assert "is a secret" in left["ansible_password"] and "reference" in left["ansible_password"]
    again = imported(capsys, str(inventory))
    assert (again["new"], again["changed"], again["unchanged"]) == ([], {}, 5)
    assert again["executions"] == []
    # What was changed by hand and is not in the file stays; what is in the file counts.
    assert main(["assets", "show", NAMES[0], "--json"]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["tags"] == {"group:patched": "", "group:eu": ""}
    assert shown["metadata"] == {"connection": {"port": hosts.port, "user": getpass.getuser()}}
    for form, name in (("csv", "out.csv"), ("ansible-yaml", "out.yaml")):
        assert main(["assets", "export", "--format", form, "--group", "patched"]) == Exit.OK
        (tmp_path / name).write_text(capsys.readouterr().out)
        assert imported(capsys, str(tmp_path / name))["unchanged"] == 5
    assert "hunter2" not in (tmp_path / "out.csv").read_text() + json.dumps(first)

    folder = tmp_path / "release.d"
    folder.mkdir()

    def patch(version: int, *broken: int) -> tuple[Exit | int, list[str | None]]:
        """Run the plan; the code, and the line that each host has afterwards."""
        for number, name in enumerate(NAMES):
            file = folder / f"{name}.conf"
            if file.is_dir():
                file.rmdir()
            if number in broken:
                file.unlink(missing_ok=True)
                file.mkdir()
            elif not file.exists():
                file.write_text("# of this host\nrelease 0\n")
        given = {"group": "patched", "tolerated": "20%", "folder": str(folder),
                 "line": f"release {version}"}  # fmt: skip
        words = [word for name, value in given.items() for word in ("--set", f"{name}={value}")]
        code = main(["run", str(PLAN), *words, "--set", "parallel=1", "--json"])
        files = [folder / f"{name}.conf" for name in NAMES]
        return code, [file.read_text().split("\n")[1] if file.is_file() else None for file in files]

    # One of five may fail, and one does.
    code, lines = patch(1, 1)
    document = json.loads(capsys.readouterr().out)
    assert code == Exit.OK, json.dumps(document)
    assert lines == ["release 1", None, "release 1", "release 1", "release 1"]
    output = next(one["output"] for one in document["steps"] if one["step"] == "patch")
    assert (output["count"], output["succeeded"], output["failed"]) == (5, 4, 1)
    assert str(mailbox.mails[-1]["Subject"]) == "patch run of patched: completed"
    assert "4 patched, 1 failed" in mailbox.mails[-1].get_content()
    # With one more it stops, and the hosts after it are not touched.
    code, lines = patch(2, 1, 2)
    document = json.loads(capsys.readouterr().out)
    assert code == Exit.FAILED and document["status"] == "partial"
    assert lines == ["release 2", None, None, "release 1", "release 1"]
    assert str(mailbox.mails[-1]["Subject"]) == "patch run of patched: partial"
