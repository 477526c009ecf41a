"""One whole stack for the session: real broker, real database, every process of the test domain."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.processes import console_command, executor
from devstack.stack import LocalStack
from tests.harness import Harness

PROCESSES = (
    console_command("router", "router"),
    executor("executor-tools", ["automation", "communication", "asset", "network"]),
    executor("executor-test", ["test"]),
    console_command("sink", "sink", database=True),
    console_command("projector", "projector"),
)


# A shell that runs the tests in the background has them ignore Ctrl-C, and every process that a
# test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A table leaves out what has no room, and no test is about the terminal that it happens to have.
os.environ["COLUMNS"] = "200"

# What every executor of the tests serves, also those that a test starts without the local stack.
os.environ["RUNSTREAM_ENVIRONMENT"] = "dev"

#: The variables that name servers of the machine's own.
SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL")

#: What the tools need to act inside this machine.
ENVIRONMENT = {
    "RUNSTREAM_ALLOW_PRIVATE_ADDRESSES": "true",
    "RUNSTREAM_NETWORK_SCOPE": "127.0.0.0/8,198.18.0.0/15",
}


@pytest.fixture(autouse=True)
def servers_of_the_environment() -> Iterator[None]:
    """A command line that runs in this process joins the local stack of the folder, if there is
    one, by setting these; no test may inherit that from another."""
    before = {name: os.environ.get(name) for name in SERVERS}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalStack, Path]]:
    """The stack, with a ledger outside it to which the test tools write every effect."""
    folder = Path(tmp_path_factory.mktemp("chaos"))
    ledger = folder / "ledger"
    ledger.touch()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RUNSTREAM_LEDGER", str(ledger))
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        # Where single tests start a mail server and what the executor's SSH trusts and shows; both
        # are settings of a process, so they are there before the servers are.
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        (folder / "smtp_port").write_text(port)
        environment.setenv("SMTP_HOST", "127.0.0.1")
        environment.setenv("SMTP_PORT", port)
        (folder / "ssh").mkdir()
        environment.setenv("RUNSTREAM_SSH_KNOWN_HOSTS", str(folder / "ssh" / "known_hosts"))
        environment.setenv("RUNSTREAM_SSH_KEY_FILE", str(folder / "ssh" / "client"))
        # The authority of the fake Windows host, and secrets that steps refer to; tests write them.
        environment.setenv("RUNSTREAM_WINRM_CA_FILE", str(folder / "winrm-ca.pem"))
        (folder / "secrets").mkdir()
        environment.setenv("RUNSTREAM_SECRETS_DIR", str(folder / "secrets"))
        # Fake programs of single tests (tests/tools/fakes/program.py); empty otherwise.
        environment.setenv("PATH", f"{folder / 'fakes'}:{os.environ['PATH']}")
        # The stack is the tests' own, whatever the machine has.
        for name in SERVERS:
            if name in os.environ:
                environment.delenv(name)
        whole = LocalStack(folder / "stack", processes=PROCESSES, test_tools=True)
        try:
            with whole:
                yield whole, ledger
        finally:
            whole.remove()


@pytest.fixture
def harness(stack: tuple[LocalStack, Path]) -> Iterator[Harness]:
    """What a test uses, hurts and checks."""
    made = Harness(*stack)
    yield made
    made.close()
