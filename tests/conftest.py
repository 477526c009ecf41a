"""One whole stack for the session: real broker, real database, every process of the test domain."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.processes import PROJECTOR, ROUTER, SINK, executor
from devstack.stack import LocalStack
from tests.api_kit import ApiServer
from tests.brokers import remember
from tests.harness import Harness
from tests.root_only import pytest_runtest_makereport, pytest_runtest_setup  # noqa: F401
from tests.stack_environment import BEFORE_STACK
from tests.tools import built
from toolmeta import registry

PROCESSES = (
    ROUTER,
    executor("executor-tools", ["automation", "communication", "asset", "network"]),
    executor("executor-test", ["test"]),
    SINK,
    PROJECTOR,
)


# A shell that runs the tests in the background has them ignore Ctrl-C, and every process that a
# test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A table leaves out what has no room, and no test is about the terminal that it happens to have.
os.environ["COLUMNS"] = "200"

# What every executor of the tests serves, also those that a test starts without the local stack.
os.environ["RUNSTREAM_ENVIRONMENT"] = "dev"

# Processes that tests start beside each other show no metrics but on ports of their own.
os.environ["RUNSTREAM_HTTP_PORT"] = "0"

#: The variables that name servers of the machine's own, and the login there.
SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "RUNSTREAM_KAFKA_OPTIONS", "DATABASE_URL")

#: Lets everybody do everything: for tests of something else.
POLICY = Path(__file__).with_name("policy.yaml")
#: Where tests put engines of containers, which want short paths.
ENGINES = Path(tempfile.gettempdir(), f"rs-{os.getpid()}")
#: A tenant whose partitions take one execution at a time each.
LIMITED = "one-at-a-time"
#: What the tools need to act inside this machine. Programs of the tools run as the user of the
#: tests, who is root where they act on accounts and packets; those of the test domain do not.
ENVIRONMENT = {
    "RUNSTREAM_ROOT_TOOLS": ",".join(t.name for t in registry.load().all() if t.domain != "test"),
    "RUNSTREAM_STARTABLE_PROGRAMS": "cut,printf,no-such-program,id",
    # Beside this machine the hosts of test_rolling_restart.py.
    "RUNSTREAM_ALLOW_COMMANDS": "local,127.0.9.0/24",
    "RUNSTREAM_ALLOW_SCRIPTS": "local",
    "RUNSTREAM_ALLOW_PRIVATE_ADDRESSES": "true",
    "RUNSTREAM_NETWORK_SCOPE": "127.0.0.0/8,198.18.0.0/15,2001:db8::/32",
    "RUNSTREAM_POLICY": str(POLICY),
    # Of one tenant, which nobody else uses.
    "RUNSTREAM_QUOTAS": json.dumps({"tenants": {LIMITED: {"active_executions": 1}}}),
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
    before = dict(os.environ)
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
        # Configurations and sockets of tests, and those that fake programs are told.
        named = (folder.parent, ENGINES, "/etc/kube", "/srv/azure", "/run/containerd")
        environment.setenv("RUNSTREAM_CONFIG_FOLDERS", ",".join(map(str, named)))
        # Fake programs of single tests (tests/tools/fakes/program.py), none otherwise; last those
        # that Debian lacks.
        path = f"{folder / 'fakes'}:{os.environ['PATH']}:{built.folder()}"
        environment.setenv("PATH", path)
        # The stack is the tests' own, whatever the machine has.
        for name in SERVERS:
            if name in os.environ:
                environment.delenv(name)
        changed = {name for name, value in os.environ.items() if before.get(name) != value}
        BEFORE_STACK.update({name: before.get(name) for name in changed})
        whole = LocalStack(folder / "stack", processes=PROCESSES, test_tools=True)
        try:
            with whole:
                remember(whole.client_options)
                yield whole, ledger
        finally:
            whole.remove()


@pytest.fixture(scope="session")
def api(
    stack: tuple[LocalStack, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The HTTP API of the stack."""
    with ApiServer.of(stack[0], Path(tmp_path_factory.mktemp("api"))) as server:
        server.wait_ready()
        yield server


@pytest.fixture
def harness(stack: tuple[LocalStack, Path]) -> Iterator[Harness]:
    """What a test uses, hurts and checks."""
    made = Harness(*stack)
    yield made
    made.close()
