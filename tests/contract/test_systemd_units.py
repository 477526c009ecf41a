"""The units of deploy/systemd, as systemd's own program reads and judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.processes import processes
from streams.topics import DOMAINS, TEST_DOMAIN

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
#: Of ten, by `systemd-analyze security`; executors run programs of plans, which need more.
EXPOSURE = {"runstream-executor@.service": 2.8}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units beside each other, with a program that is there in the place of ours."""
    for path in UNITS.rglob("*"):
        if path.suffix in (".service", ".target", ".conf"):
            copy = tmp_path / path.relative_to(UNITS)
            copy.parent.mkdir(exist_ok=True)
            text = path.read_text("utf-8")
            copy.write_text(text.replace("/opt/runstream/bin/runstream", "/bin/true"), "utf-8")
    return tmp_path


def analyze(*arguments: str | Path) -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("program systemd-analyze is not installed: apt install systemd")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_understands_every_unit(installed: Path) -> None:
    units = [installed / name for name in (*SERVICES, "runstream.target")]
    assert analyze("verify", "--man=no", *units).strip() == ""


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_may_do_little(installed: Path, name: str) -> None:
    said = analyze("security", "--offline=true", "--no-pager", installed / name)
    found = re.search(r"exposure level for \S+ ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= EXPOSURE.get(name, 1.5)


def test_every_process_has_a_unit() -> None:
    kinds = {spec.argv[3] for spec in processes()}
    expected = {f"runstream-{kind}{'@' if kind == 'executor' else ''}.service" for kind in kinds}
    assert set(SERVICES) == expected | {"runstream-setup.service"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_is_not_root_and_holds_no_secret(name: str) -> None:
    text = (UNITS / name).read_text("utf-8")
    users = (UNITS / "runstream.sysusers").read_text("utf-8")
    user = re.search(r"^User=(\S+)$", text, re.MULTILINE)
    assert user is not None
    domains = set(DOMAINS) - {TEST_DOMAIN}
    for made in {user[1].replace("%i", domain) for domain in domains}:
        assert f"\nu {made} - " in users
    assert re.search(r"^NoNewPrivileges=yes$", text, re.MULTILINE)
    assert not re.search(r"PASSWORD|postgresql://|KAFKA_OPTIONS", text)


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_gives_a_process_time_to_drain(name: str) -> None:
    text = (UNITS / name).read_text("utf-8")
    if "Type=oneshot" not in text:
        assert "TimeoutStopSec=40" in text
        assert "KillMode=mixed" in text
        # A wrong setting is not tried again.
        assert "RestartPreventExitStatus=2" in text
