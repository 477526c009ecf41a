"""Every client of a test, benchmark or demo has the login of the broker that it is given."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
#: They name a broker in a client's options, each with the reason.
ALLOWED = {
    "tests/brokers.py": "makes the options of all others",
    "tests/architecture/test_logins.py": "this file",
    "tests/clients/programs.py": "takes the address from such options",
    "tests/integration/test_access.py": "logs in as users of its own",
    "tests/integration/test_login.py": "runs a broker of a version without logins",
    "bench/run.py": "takes the address from such options",
    "bench/live.py": "takes the address from such options",
}


def test_no_client_is_made_of_an_address_alone() -> None:
    found = {
        str(file.relative_to(ROOT))
        for folder in ("tests", "bench", "demo")
        for file in (ROOT / folder).rglob("*.py")
        if "node_modules" not in file.parts
        and not file.is_relative_to(ROOT / "tests" / "unit")
        and '"bootstrap.servers"' in file.read_text("utf-8")
    }
    assert found <= set(ALLOWED), "use tests.brokers.client_options(address)"
