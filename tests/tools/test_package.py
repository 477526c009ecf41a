"""The tool `package`: the real apt and dnf on a system below a folder, with repositories of files.

What is installed is compared with what dpkg-query and rpm say.
"""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.context import Failure
from tests.tools.driven import answer, failure, root_only
from tests.tools.running import program


def run(*argv: str, folder: Path | None = None) -> str:
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60, cwd=folder)
    return done.stdout


@dataclass(frozen=True)
class System:
    """A system below a folder, and how the tool is told to act on it."""

    root: Path
    manager: str

    def answer(self, **parameters: Any) -> dict[str, Any]:
        return answer("package", self._call(parameters), as_root=True, **self._settings)

    def failure(self, **parameters: Any) -> Failure:
        return failure("package", self._call(parameters), as_root=True, **self._settings)

    def _call(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            "root": str(self.root), "manager": self.manager, "lock_wait_seconds": 0, **parameters,
        }  # fmt: skip

    @property
    def _settings(self) -> dict[str, Any]:
        return {"config_folders": str(self.root)}

    def installed(self) -> dict[str, str]:
        """What the package manager's own query says."""
        if self.manager == "apt":
            form = "${db:Status-Abbrev}|${Package}|${Version}\n"
            text = run("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f", form)
            rows = [line.split("|") for line in text.splitlines()]
            return {name: version for status, name, version in rows if status.startswith("ii")}
        form = "%{NAME}|%{VERSION}-%{RELEASE}\n"
        text = run("rpm", f"--root={self.root}", "-qa", f"--queryformat={form}")
        return dict(line.split("|") for line in text.splitlines())


#: Name, version, what it depends on, what it conflicts with.
PACKAGES = [
    ("rs-tool", "1.0", "", ""),
    ("rs-tool", "1.1", "", ""),
    ("rs-user", "1.0", "rs-tool", ""),
    ("rs-rival", "1.0", "", "rs-tool"),
    ("rs-broken", "1.0", "rs-nowhere", ""),
    ("rs-c++", "1.0", "", ""),
]


def deb(folder: Path, name: str, version: str, depends: str, conflicts: str) -> None:
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / f"etc/{name}.conf").write_text(f"{version}\n")
    (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}.conf\n")
    more = f"Depends: {depends}\n" if depends else ""
    more += f"Conflicts: {conflicts}\n" if conflicts else ""
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\n"
        f"{more}Description: of a test\n"
    )
    run("dpkg-deb", "--build", "--root-owner-group", str(tree), str(folder))
    run("rm", "-r", str(tree))


@pytest.fixture
def apt(tmp_path: Path) -> Iterator[System]:
    root_only()
    program("dpkg-scanpackages", "dpkg-dev")
    repository = tmp_path / "repository"
    repository.mkdir()
    for package in PACKAGES:
        deb(repository, *package)
    (repository / "Packages").write_text(
        run("dpkg-scanpackages", "--multiversion", ".", folder=repository)
    )
    root = tmp_path / "system"
    for folder in (
        "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/log/apt",
        "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
        "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers",
    ):  # fmt: skip
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text("")
    (root / "var/lib/dpkg/available").write_text("")
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    # Where steps may not write, as the check of the folder wants it.
    for made in (tmp_path, root):
        made.chmod(0o755)
    yield System(root, "apt")


SPEC = """Name: {name}
Version: {version}
Release: 1
Summary: of a test
License: none
BuildArch: noarch
{more}
%description
Of a test.
%files
"""


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name, package in (("dnf", "dnf"), ("createrepo_c", "createrepo-c"), ("rpmbuild", "rpm")):
        program(name, package)
    built = tmp_path_factory.mktemp("rpms")
    for name, version, depends, conflicts in PACKAGES:
        more = f"Requires: {depends}\n" if depends else ""
        more += f"Conflicts: {conflicts}\n" if conflicts else ""
        spec = built / f"{name}-{version}.spec"
        spec.write_text(SPEC.format(name=name, version=version, more=more))
        run("rpmbuild", "-bb", f"--define=_rpmdir {built}", f"--define=_topdir {built}", str(spec))
    run("createrepo_c", str(built))
    return built


@pytest.fixture
def dnf(tmp_path: Path, rpms: Path) -> Iterator[System]:
    root_only()
    root = tmp_path / "system"
    (root / "etc/yum.repos.d").mkdir(parents=True)
    (root / "etc/yum.repos.d/test.repo").write_text(
        f"[test]\nname=test\nbaseurl=file://{rpms}\ngpgcheck=0\nenabled=1\n"
    )
    run("rpm", f"--root={root}", "--initdb")
    for made in (tmp_path, root):
        made.chmod(0o755)
    yield System(root, "dnf")


@pytest.fixture(params=["apt", "dnf"])
def system(request: pytest.FixtureRequest) -> System:
    found: System = request.getfixturevalue(request.param)
    return found


def version_of(system: System, number: str) -> str:
    """As this package manager writes it."""
    return number if system.manager == "apt" else f"{number}-1"


@pytest.mark.root_only
def test_a_life_of_a_package_and_nothing_twice(system: System) -> None:
    old, new = version_of(system, "1.0"), version_of(system, "1.1")
    made = system.answer(names=["rs-tool=1.0"], update_cache=True)
    assert (made["changed"], made["cache_updated"]) == (True, True)
    assert made["installed"] == [{"name": "rs-tool", "version": old}]
    assert made["versions"] == {"rs-tool": old} == system.installed()

    for state in ("present", "present"):
        again = system.answer(names="rs-tool", state=state)
        assert (again["changed"], again["installed"], again["cache_updated"]) == (False, [], False)
    assert system.answer(names="rs-tool=1.0")["changed"] is False

    newer = system.answer(names=["rs-tool"], state="latest")
    assert newer["replaced"] == [{"name": "rs-tool", "before": old, "after": new}]
    assert system.answer(names=["rs-tool"], state="latest")["changed"] is False
    assert system.installed() == {"rs-tool": new}

    back = system.failure(names=["rs-tool=1.0"])
    assert back.error_class == "conflict" and "allow_downgrade" in back.message
    assert system.installed() == {"rs-tool": new}
    down = system.answer(names=["rs-tool=1.0"], allow_downgrade=True)
    assert down["replaced"] == [{"name": "rs-tool", "before": new, "after": old}]

    gone = system.answer(names=["rs-tool"], state="absent")
    assert (gone["changed"], gone["removed"]) == (True, [{"name": "rs-tool", "version": old}])
    assert (gone["versions"], system.installed()) == ({"rs-tool": None}, {})
    assert system.answer(names=["rs-tool"], state="absent")["changed"] is False
    assert system.answer(names="no-such-package", state="absent")["changed"] is False


@pytest.mark.root_only
def test_what_is_needed_comes_and_what_needs_it_does_not_go_unasked(system: System) -> None:
    made = system.answer(names=["rs-user", "rs-c++"], update_cache=True)
    assert sorted(item["name"] for item in made["installed"]) == ["rs-c++", "rs-tool", "rs-user"]

    refused = system.failure(names=["rs-tool"], state="absent")
    assert refused.error_class == "conflict"
    assert "rs-user" in refused.message and "allow_removals" in refused.message
    rival = system.failure(names=["rs-rival"])
    assert rival.error_class == "conflict", rival
    assert set(system.installed()) == {"rs-c++", "rs-tool", "rs-user"}

    gone = system.answer(names=["rs-tool"], state="absent", allow_removals=True)
    assert sorted(item["name"] for item in gone["removed"]) == ["rs-tool", "rs-user"]


@pytest.mark.root_only
def test_what_cannot_be_installed_says_why_and_changes_nothing(system: System) -> None:
    system.answer(names=["rs-tool=1.0"], update_cache=True)
    before = system.installed()
    unknown = system.failure(names=["rs-c++", "rs-no-such-thing"])
    assert unknown.error_class == "not_found" and "rs-no-such-thing" in unknown.message
    # For apt a pattern, or a package to be removed; here names like all others.
    assert system.failure(names=["rs-to.l"]).error_class == "not_found"
    assert system.failure(names=["rs-tool+"]).error_class == "not_found"
    assert system.failure(names=["rs-tool=9"]).error_class == "not_found"
    broken = system.failure(names=["rs-broken"])
    assert broken.error_class == "conflict" and "rs-nowhere" in broken.message
    assert system.installed() == before


@pytest.mark.root_only
def test_a_lock_that_is_held_may_pass(system: System) -> None:
    system.answer(names=["rs-c++"], update_cache=True)
    # Where rpm keeps it depends on how it was built.
    name = "lock-frontend" if system.manager == "apt" else ".rpm.lock"
    (lock,) = system.root.rglob(name)
    with lock.open("a") as held_by_us:
        fcntl.lockf(held_by_us, fcntl.LOCK_EX)
        held = system.failure(names=["rs-tool"])
    assert (held.error_class, held.transient) == ("busy", True), held
    assert system.answer(names=["rs-tool"])["changed"] is True


@pytest.mark.root_only
def test_what_is_on_hold_stays(apt: System) -> None:
    apt.answer(names=["rs-tool=1.0"], update_cache=True)
    status = apt.root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("install ok installed", "hold ok installed"))
    held = apt.failure(names=["rs-tool=1.1"])
    assert held.error_class == "conflict" and "rs-tool: on hold" in held.message
    assert "1.0" in status.read_text()


@pytest.mark.root_only
def test_purged_takes_the_configuration_too(apt: System) -> None:
    apt.answer(names=["rs-tool"], update_cache=True)
    file = apt.root / "etc/rs-tool.conf"
    file.write_text("edited\n")
    apt.answer(names=["rs-tool"], state="absent")
    assert file.read_text() == "edited\n"
    apt.answer(names=["rs-tool"], state="purged")
    assert not file.exists()
    assert apt.answer(names=["rs-tool"], state="purged")["changed"] is False


@pytest.mark.root_only
def test_an_edited_configuration_outlives_an_upgrade_without_a_question(apt: System) -> None:
    apt.answer(names=["rs-tool=1.0"], update_cache=True)
    file = apt.root / "etc/rs-tool.conf"
    file.write_text("edited\n")
    assert apt.answer(names=["rs-tool"], state="latest")["changed"] is True
    assert file.read_text() == "edited\n"


@pytest.mark.root_only
def test_lists_that_are_new_enough_are_left_alone(apt: System) -> None:
    assert apt.answer(update_cache=True, cache_valid_seconds="1h")["cache_updated"] is True
    again = apt.answer(update_cache=True, cache_valid_seconds="1h")
    assert (again["cache_updated"], again["changed"]) == (False, False)
    (apt.root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/no/where ./\n")
    assert apt.failure(update_cache=True).error_class == "not_found"
