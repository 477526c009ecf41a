"""The tool `rsync`: the real program, on this machine and over a real sshd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_drivers_ssh import SSHD, Sshd, running_sshd, sshd
from tests.tools.driven import answer, failure, for_everybody
from tests.tools.odd.hosts import ipv6
from tests.tools.odd.test_file_names import LINE_BREAK, NAMES
from tests.tools.running import program
from tests.tools.test_archives import content
from toolmeta.bind import bind
from toolmeta.registry import load

__all__ = ["sshd"]
HTTP: dict[str, Any] = {"allow_private_addresses": True}


@pytest.fixture
def place() -> Iterator[Path]:
    program("rsync", "rsync")
    with for_everybody() as folder:
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def source(place: Path) -> Path:
    folder = place / "so urce"
    (folder / "below").mkdir(parents=True)
    for name in (*NAMES, LINE_BREAK):
        (folder / "below" / name).write_text(name)
    (folder / "link").symlink_to("below/-n")
    (folder / "app.log").write_text("log\n")
    return folder


def root(**parameters: Any) -> dict[str, Any]:
    return answer("rsync", parameters, as_root=True, **HTTP)


@pytest.mark.tried("rsync", inputs=("names",))
def test_what_differs_is_copied_and_nothing_twice(source: Path, place: Path) -> None:
    copy = place / "co:py $(touch x)"
    given = {"source": f"{source}/", "destination": f"{copy}/", "exclude": ["*.log"]}
    planned = root(**given, dry_run=True)
    assert (planned["changed"], copy.exists()) == (True, False)
    done = root(**given)
    wanted = {name: what for name, what in content(source).items() if name != "app.log"}
    assert content(copy) == wanted
    assert done["changed"] is True
    assert done["files_copied"] == len(NAMES) + 1
    assert done["copied_bytes"] == sum(len(name.encode()) for name in (*NAMES, LINE_BREAK))
    again = root(**given)
    assert (again["changed"], again["changes"], again["copied_bytes"]) == (False, [], 0)

    (copy / "mine").write_text("mine\n")
    (copy / "app.log").write_text("kept\n")
    assert root(**given)["changed"] is True  # The moment of the folder, which rsync keeps.
    assert (copy / "mine").exists()
    gone = root(**given, delete=True)
    assert [item["name"] for item in gone["changes"] if item["change"] == "deleted"] == ["mine"]
    assert (gone["files_deleted"], (copy / "mine").exists()) == (1, False)
    assert (copy / "app.log").read_text() == "kept\n"
    assert root(**given, delete=True)["changed"] is False

    moment = (copy / "below/-n").stat().st_mtime
    (source / "below/-n").write_text("-m")
    os.utime(source / "below/-n", (moment, moment))
    assert root(**given)["changed"] is False
    assert root(**given, checksum=True)["files_copied"] == 1
    assert (copy / "below/-n").read_text() == "-m"
    assert not list(place.rglob("x"))


@pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
@pytest.mark.root_only
def test_to_a_peer_and_back(source: Path, place: Path, sshd: Sshd) -> None:
    known = (sshd.folder / "known_hosts").read_text()
    peer = {
        "peer": "127.0.0.1", "peer_port": sshd.port, "peer_user": "root", "known_hosts": known,
        "ssh_key": (sshd.folder / "client").read_text(),
    }  # fmt: skip
    far = place / "far $(touch y)"
    push = {**peer, "source": f"{source}/", "destination": f"{far}/"}
    assert root(**push)["changed"] is True
    assert content(far) == content(source)
    assert root(**push)["changed"] is False
    back = {**peer, "source": f"{far}/", "destination": f"{place}/back/", "direction": "pull"}
    assert root(**back)["changed"] is True
    assert content(place / "back") == content(source)
    assert root(**back)["changed"] is False
    assert not list(place.rglob("y"))

    stranger = (sshd.folder / "stranger").read_text()
    host_key = (sshd.folder / "stranger.pub").read_text().split()[1]
    for changed, wanted in (
        ({"ssh_key": stranger}, "login_refused"),
        ({"known_hosts": "other.example.org ssh-ed25519 AAAA"}, "host_key_unknown"),
        ({"known_hosts": known.replace(known.split()[-1], host_key)}, "host_key_changed"),
        ({"peer_port": 9}, "unreachable"),
        ({"source": f"{place}/gone/"}, "not_found"),
    ):
        failed = failure("rsync", {**push, **changed}, as_root=True, **HTTP)
        assert failed.error_class == wanted, failed
    refused = failure("rsync", push, as_root=True)
    assert refused.error_class == "refused_address", refused


@pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
@pytest.mark.tried("rsync", inputs=("IPv6 peer",))
@pytest.mark.root_only
def test_a_peer_at_an_ipv6_address(source: Path, place: Path) -> None:
    if not ipv6():
        pytest.skip("this machine has no IPv6")
    keys = place / "keys"
    keys.mkdir(mode=0o700)
    with running_sshd(keys, "ListenAddress ::1") as server:
        known = (keys / "known_hosts").read_text().replace("[127.0.0.1]", "[::1]")
        done = root(
            source=f"{source}/", destination=f"{place}/far/", peer="::1", peer_port=server.port,
            ssh_key=(keys / "client").read_text(), known_hosts=known, peer_user="root",
        )  # fmt: skip
    assert done["changed"] is True
    assert content(place / "far") == content(source)


@pytest.mark.parametrize(
    "given",
    [
        {"peer": "-oProxyCommand=id"}, {"peer": "a;id"}, {"peer": "a b"}, {"peer": "$(id)"},
        {"peer": "host", "peer_user": "-l"}, {"peer": "host", "peer_user": "a b"},
        {"source": "host:/etc"}, {"source": "-e id"}, {"destination": "rsync://host/x"},
        {"peer_user": "root"}, {"max_delete": 1}, {"exclude": ["a\nb"]},
    ],
)  # fmt: skip
def test_what_could_be_an_option_or_a_shell_is_refused(given: dict[str, Any]) -> None:
    tool = load().get("rsync")
    assert tool is not None
    problems = bind(tool, {"source": "/a", "destination": "/b", **given})
    assert isinstance(problems, list)
    assert len(problems) == 1


@pytest.mark.tried("rsync", inputs=("unreadable",))
@pytest.mark.root_only
def test_what_may_not_be_read_or_is_not_there(place: Path) -> None:
    (place / "good").write_text("good\n")
    (place / "closed").mkdir(mode=0o700)
    (place / "closed/x").write_text("x\n")
    to = str(place / "copy/")
    for name, wanted in (("closed/", "capability_missing"), ("gone", "not_found")):
        asked = {"source": str(place / name), "destination": to}
        assert failure("rsync", asked, step_user="nobody").error_class == wanted
