"""The tool `git_checkout`, with git's own server over HTTP and SSH; the truth is what git says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure, Success
from drivers.resources import Resources
from tests.driver_kit import Run
from tests.integration.test_drivers_ssh import SSHD, Sshd, sshd
from tests.tools.driven import answer, failure, for_everybody
from tests.tools.git_server import git, served
from tests.tools.odd.test_file_names import NAMES
from tests.tools.running import program
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load

__all__ = ["sshd"]
HTTP: dict[str, Any] = {"allow_private_addresses": True}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository shop.git and a work tree from which it is filled."""
    program("git", "git")
    folder = tmp_path_factory.mktemp("origin")
    git(folder, "init", "--bare", "-b", "main", "shop.git")
    git(folder, "clone", "shop.git", "work")
    work = folder / "work"
    git(work, "checkout", "-b", "main")
    for number in (1, 2, 3):
        (work / "file").write_text(f"{number}\n")
        git(work, "add", ".")
        git(work, "commit", "-m", f"commit {number}")
        git(work, "tag", "-a", "-m", "x", f"v{number}")
    git(work, "push", "--tags", "origin", "main")
    git(work, "push", "origin", "v1^{commit}:refs/heads/feature/ü-1")
    return folder


@pytest.fixture(scope="module")
def url(origin: Path) -> Iterator[str]:
    with served(origin) as address:
        yield address


@pytest.fixture
def place() -> Iterator[Path]:
    with for_everybody() as folder:
        folder.chmod(0o777)
        yield folder


def commit(origin: Path, name: str) -> str:
    return git(origin / "work", "rev-parse", f"{name}^{{commit}}")


def as_root(tool: str = "git_checkout", **parameters: Any) -> dict[str, Any]:
    return answer(tool, parameters, as_root=True, **HTTP)


def refused(**parameters: Any) -> Failure:
    return failure("git_checkout", parameters, as_root=True, **HTTP)


def test_a_branch_a_tag_a_commit_and_nothing_twice(origin: Path, url: str, place: Path) -> None:
    asked = {"repo": f"{url}/shop.git", "path": str(place / "a b" / "shop")}
    before: str | None = None
    for ref, name in (
        (None, "v3"), ("v1", "v1"), ("main", "v3"), ("feature/ü-1", "v1"),
        (commit(origin, "v2"), "v2"),
    ):  # fmt: skip
        wanted = commit(origin, name)
        given = asked if ref is None else {**asked, "ref": ref}
        done = as_root(**given)
        assert (done["changed"], done["before"], done["after"]) == (True, before, wanted)
        again = as_root(**given)
        assert (again["changed"], again["before"], again["after"]) == (False, wanted, wanted)
        assert git(place / "a b/shop", "rev-parse", "HEAD") == wanted
        assert (place / "a b/shop/file").read_text() == f"{name[1]}\n"
        before = wanted


def test_what_is_in_the_way_stays_unless_it_is_forced(origin: Path, url: str, place: Path) -> None:
    asked = {"repo": f"{url}/shop.git", "path": str(place / "shop")}
    as_root(**asked)
    (place / "shop/file").write_text("mine\n")
    (place / "shop/untracked").write_text("mine\n")
    for ref in ("main", "v1"):
        kept = refused(**asked, ref=ref)
        assert kept.error_class == "conflict" and "force: true" in kept.message
    assert (place / "shop/file").read_text() == "mine\n"
    done = as_root(**asked, force=True)
    assert (done["changed"], done["before"]) == (True, done["after"])
    assert (place / "shop/file").read_text() == "3\n"
    assert (place / "shop/untracked").read_text() == "mine\n"
    assert as_root(**asked, force=True)["changed"] is False

    other = refused(repo=f"{url}//shop.git", path=str(place / "shop"))
    assert other.error_class == "conflict"
    (place / "full").mkdir()
    (place / "full/x").touch()
    full = refused(repo=f"{url}/shop.git", path=str(place / "full"))
    assert full.error_class == "conflict" and "not empty" in full.message
    assert [item.name for item in (place / "full").iterdir()] == ["x"]


def test_what_is_not_there_or_does_not_answer(url: str, place: Path) -> None:
    path = str(place / "new")
    asked = {"repo": f"{url}/shop.git", "path": path}
    assert refused(**asked, ref="no-such-branch").error_class == "not_found"
    assert refused(**asked, ref="0" * 40).error_class == "not_found"
    assert refused(repo=f"{url}/none.git", path=path).error_class == "not_found"
    closed = refused(repo="http://127.0.0.1:9/shop.git", path=path)
    assert (closed.error_class, closed.transient) == ("unreachable", True), closed
    closed = refused(repo="ssh://127.0.0.1:9/shop.git", path=path)
    assert (closed.error_class, closed.transient) == ("unreachable", True), closed
    asked = {"repo": "git@127.0.0.1:shop.git", "path": path}
    private = failure("git_checkout", asked, as_root=True)
    assert private.error_class == "refused_address", private
    assert not Path(path).joinpath("file").exists()


def test_depth_fetches_so_much(url: str, place: Path) -> None:
    as_root(repo=f"{url}/shop.git", path=str(place / "one"), depth=1)
    assert git(place / "one", "rev-list", "--count", "HEAD") == "1"
    as_root(repo=f"{url}/shop.git", path=str(place / "all"))
    assert git(place / "all", "rev-list", "--count", "HEAD") == "3"


def test_no_hook_and_no_setting_of_the_checkout_runs_anything(url: str, place: Path) -> None:
    asked = {"repo": f"{url}/shop.git", "path": str(place / "shop")}
    as_root(**asked, ref="v1")
    hooks, canary = place / "shop/.git/hooks", place / "canary"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{canary}'\n")
        (hooks / name).chmod(0o755)
    git(place / "shop", "config", "core.hooksPath", str(hooks))
    git(place / "shop", "config", "core.fsmonitor", str(hooks / "fsmonitor"))
    assert as_root(**asked, ref="v2")["changed"] is True
    assert as_root(**asked, ref="v3", force=True)["changed"] is True
    assert not canary.exists()


@pytest.mark.parametrize("kind", ["ext", "file", "dash"])
def test_a_submodule_fetches_from_no_program_and_no_file(
    origin: Path, url: str, place: Path, kind: str
) -> None:
    canary = place / "canary"
    bad = {
        "ext": f"ext::sh -c touch% {canary}",
        "file": f"file://{origin}/shop.git",
        "dash": f"--upload-pack=touch {canary}",
    }[kind]
    git(origin, "init", "--bare", "-b", "main", f"{kind}.git")
    git(origin, "clone", f"{kind}.git", f"work-{kind}")
    work = origin / f"work-{kind}"
    (work / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = "{bad}"\n')
    git(work, "add", ".gitmodules")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit(origin, 'v1')},s")
    git(work, "commit", "-m", "x")
    git(work, "push", "origin", "HEAD:main")
    asked = {"repo": f"{url}/{kind}.git", "path": str(place / "c")}
    assert as_root(**asked)["changed"] is True
    found = refused(**asked, submodules=True)
    assert found.error_class in ("invalid_parameters", "exit_status"), found
    assert not canary.exists()
    assert not list((place / "c/s").iterdir())


def test_submodules(origin: Path, url: str, place: Path) -> None:
    git(origin, "init", "--bare", "-b", "main", "whole.git")
    git(origin, "clone", "whole.git", "work-whole")
    work = origin / "work-whole"
    (work / ".gitmodules").write_text('[submodule "s"]\n\tpath = s\n\turl = ../shop.git\n')
    git(work, "add", ".gitmodules")
    git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit(origin, 'v2')},s")
    git(work, "commit", "-m", "x")
    git(work, "push", "origin", "HEAD:main")
    asked: dict[str, Any] = {
        "repo": f"{url}/whole.git",
        "path": str(place / "c"),
        "submodules": True,
    }
    assert as_root(**asked)["changed"] is True
    assert (place / "c/s/file").read_text() == "2\n"
    assert as_root(**asked)["changed"] is False


@pytest.mark.parametrize(
    "repo",
    [
        "ext::sh -c id", "file:///srv/shop.git", "/srv/shop.git", "-oProxyCommand=id",
        "ssh://-oProxyCommand=id/x", "ssh://a;id/x", "ssh://a$(id)@b/x",
        "git://host/x", "git@-oProxyCommand=id:x", "git@host:-x", "http://a b/x",
        "--upload-pack=id", "fd::17", "https://\nhost/x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_before_anything_runs(repo: str) -> None:
    tool = load().get("git_checkout")
    assert tool is not None
    problems = bind(tool, {"repo": repo, "path": "/srv/shop"})
    assert isinstance(problems, list)
    assert [problem.field for problem in problems] == ["parameters.repo"]


def test_a_password_is_for_its_server_alone_and_shown_nowhere(origin: Path, place: Path) -> None:
    with served(origin, "deploy:s3 cret!'") as address:
        asked = {"repo": f"{address}/shop.git", "path": str(place / "shop")}
        none = refused(**asked)
        assert none.error_class == "login_refused", none
        wrong = refused(**asked, username="deploy", password="no")
        assert wrong.error_class == "login_refused"
        done = as_root(**asked, username="deploy", password="s3 cret!'")
        assert done["after"] == commit(origin, "v3")
    for file in (place / "shop/.git").rglob("*"):
        assert file.is_dir() or b"s3 cret" not in file.read_bytes()


@pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")
@pytest.mark.root_only
def test_over_ssh_with_a_key_that_is_on_no_disk(origin: Path, place: Path, sshd: Sshd) -> None:
    key = (sshd.folder / "client").read_text()
    known = (sshd.folder / "known_hosts").read_text()
    asked = {"repo": f"ssh://root@127.0.0.1:{sshd.port}{origin}/shop.git", "known_hosts": known}
    done = as_root(**asked, path=str(place / "a"), ssh_key=key)
    assert done["after"] == commit(origin, "v3")
    stranger = (sshd.folder / "stranger").read_text()
    assert refused(**asked, path=str(place / "b"), ssh_key=stranger).error_class == "login_refused"
    host_key = known.split()[-1]
    for other, wanted in (
        ("unknown.example.org " + " ".join(known.split()[1:]), "host_key_unknown"),
        (known.replace(host_key, stranger_public(sshd)), "host_key_changed"),
    ):
        given = {**asked, "known_hosts": other, "ssh_key": key, "path": str(place / "b")}
        assert refused(**given).error_class == wanted

    # The tool itself on a host that is reached over SSH.
    tool = load().get("git_checkout")
    assert tool is not None
    invocation = bind(tool, {**asked, "path": str(place / "far"), "ssh_key": key})
    assert isinstance(invocation, Invocation)

    async def there() -> Any:
        opened = Resources(sshd.settings())
        try:
            return await Run(opened, replace(invocation, host=sshd.host)).outcome()
        finally:
            await opened.close()

    for changed in (True, False):
        outcome = asyncio.run(there())
        assert isinstance(outcome, Success), outcome
        assert outcome.output["changed"] is changed


def stranger_public(server: Sshd) -> str:
    return (server.folder / "stranger.pub").read_text().split()[1]


@pytest.mark.root_only
@pytest.mark.tried("git_checkout", inputs=("names", "unreadable"))
def test_a_folder_of_any_name_and_one_that_may_not_be_written_to(url: str, place: Path) -> None:
    for name in NAMES:
        done = as_root(repo=f"{url}/shop.git", path=str(place / name))
        assert done["changed"] is True
        assert (place / name / "file").read_text() == "3\n"
        assert as_root(repo=f"{url}/shop.git", path=str(place / name))["changed"] is False
    assert not list(place.rglob("[xy]"))
    (place / "closed").mkdir(mode=0o700)
    asked = {"repo": f"{url}/shop.git", "path": str(place / "closed/shop")}
    denied = failure("git_checkout", asked, step_user="nobody", **HTTP)
    assert denied.error_class == "capability_missing", denied
    file = failure("git_checkout", {**asked, "path": str(place / "-n/file")}, as_root=True, **HTTP)
    assert file.error_class in ("conflict", "not_found"), file
