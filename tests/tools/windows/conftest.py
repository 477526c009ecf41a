"""Fake Windows hosts, for single attempts and for the executor of the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.fakes.psrp import security
from tests.fakes.psrp.server import FakeWindows
from tests.secret_kit import secret_file
from tests.tools.windows.kit import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(Authority(tmp_path), [])
    yield made
    for host in made.made:
        host.close()


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyspnego's server side finds the password; the client is given it."""
    monkeypatch.setenv("NTLM_USER_FILE", str(security.accounts_file(tmp_path)))


@pytest.fixture
def windows(stack: tuple[Any, Path]) -> Iterator[FakeWindows]:
    """A fake host that the session's executor trusts, and the secret that leads to it."""
    folder = stack[1].parent
    (folder / "winrm").mkdir(exist_ok=True)
    authority = Authority(folder / "winrm")
    (folder / "winrm-ca.pem").write_bytes(authority.ca_file.read_bytes())
    secret_file(folder / "secrets", "winrm", security.PASSWORD + "\n")
    host = FakeWindows(authority.server("127.0.0.1"))
    yield host
    host.close()
