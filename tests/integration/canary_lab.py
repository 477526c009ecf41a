"""Secrets through every way of acting, and everything that the system keeps of it afterwards."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from psycopg.conninfo import conninfo_to_dict

from devstack.processes import PROJECTOR, ROUTER, SINK, executor
from devstack.stack import LocalStack
from tests.certificates import Authority
from tests.conftest import POLICY
from tests.harness import PATIENCE_SECONDS, Harness
from tests.integration import canary_servers as servers
from tests.integration import canary_steps
from tests.integration.canary_places import places
from tests.integration.canary_steps import CANARIES, DATABASE, Step
from tests.integration.test_drivers_ssh import running_sshd
from tests.secret_kit import secret_file

#: In the name of every step and of one argument: public, so that a search can prove that it sees.
MARKER = "pub-7f3a"
_DOMAINS = ("automation", "communication", "asset", "network", "test")


@dataclass(frozen=True)
class Kept:
    """What is left of it: texts by place, and what a step saw of the other processes."""

    #: By topic, dump, log, command line, process with metrics.
    places: dict[str, bytes]
    values: dict[str, str]
    processes: dict[str, Any]
    steps: list[Step]
    #: The last event of each step, by name.
    ended: dict[str, dict[str, Any]]


@contextmanager
def ran(folder: Path, environment: Any) -> Iterator[Kept]:
    """Run everything once; `environment` is a pytest.MonkeyPatch for the variables of the stack."""
    with ExitStack() as opened:
        # Programs of steps may run as users of their own, who can enter no folder of pytest's.
        shared = Path(opened.enter_context(TemporaryDirectory(prefix="open-")))
        shared.chmod(0o777)
        names = ("docker", "mysql", "read_processes")
        path = f"{servers.programs(shared, *names)}:{os.environ['PATH']}"
        (folder / "ssh").mkdir()
        # Before the secrets are in the environment, or the server and all its sessions had them.
        ssh = opened.enter_context(running_sshd(folder / "ssh", f"SetEnv PATH={path}"))
        mail_port = _free_port()
        opened.enter_context(servers.mail_server(mail_port, "ann", CANARIES["mail"]))
        authority = Authority(folder)
        tls = authority.server("127.0.0.1")
        windows = opened.enter_context(servers.windows_host(tls))
        good, bad = opened.enter_context(servers.cameras(CANARIES["quotes"]))
        web = opened.enter_context(servers.web_server())
        values = {
            **CANARIES,
            "hook": f"{web}/hook/T0xk3/Bq9zr/r7Kq2vXw81LmZpQ4",
            "ssh_key": (folder / "ssh" / "client").read_text(),
            "stranger": (folder / "ssh" / "stranger").read_text(),
        }
        secrets = folder / "secrets"
        secrets.mkdir()
        for name, value in values.items():
            secret_file(secrets, f"canary_{name}", value)
        for name, text in {
            "PATH": path,
            "SECRET_CANARY_PLAIN": CANARIES["plain"],
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_port),
            "SMTP_USER": "ann",
            "SMTP_PASSWORD": CANARIES["mail"],
            "RUNSTREAM_SECRETS_DIR": str(secrets),
            "RUNSTREAM_SSH_KNOWN_HOSTS": str(folder / "ssh" / "known_hosts"),
            "RUNSTREAM_SSH_USER": getpass.getuser(),
            "RUNSTREAM_WINRM_CA_FILE": str(authority.ca_file),
            "RUNSTREAM_ALLOW_PRIVATE_ADDRESSES": "true",
            "RUNSTREAM_LOG_LEVEL": "debug",
            "RUNSTREAM_LEDGER": str(folder / "ledger"),
            "RUNSTREAM_POLICY": str(POLICY),
        }.items():
            environment.setenv(name, text)
        for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"):
            environment.delenv(name, raising=False)
        (folder / "ledger").touch()
        stack = LocalStack(
            folder / "stack",
            processes=(
                ROUTER,
                executor("executor", _DOMAINS),
                SINK,
                PROJECTOR,
            ),
            test_tools=True,
        )
        opened.callback(stack.remove)
        opened.enter_context(stack)
        for name in ("SECRET_CANARY_PLAIN", "SMTP_PASSWORD"):
            environment.delenv(name)
        passwords = ("plain", "quotes", "number")
        servers.fill_database(
            stack.database_url, DATABASE, {f"canary_{one}": CANARIES[one] for one in passwords}
        )
        database = conninfo_to_dict(stack.database_url)
        steps = [
            *canary_steps.programs(ssh.port),
            *canary_steps.web(web),
            *canary_steps.databases(int(database["port"] or 0), passwords),
            *canary_steps.others(windows.port, good, bad),
        ]
        harness = Harness(stack, folder / "ledger")
        opened.callback(harness.close)
        (shared / "values").write_text(json.dumps(values))
        result, stop = shared / "result", shared / "stop"
        words = [str(shared / "values"), MARKER, str(result), str(stop)]
        reader = Step("reader", "argv", {"argv": ["read_processes", *words]})
        try:
            reading = _submit(harness, [reader])
            running = _submit(harness, steps)
            ended = _wait(harness, running)
        finally:
            stop.touch()
        ended |= _wait(harness, reading)
        ids = {event["execution_id"] for event in ended.values()}
        harness.check_rows(ids)
        yield Kept(
            places(stack, folder, ids),
            {name: value.strip() for name, value in values.items()},
            json.loads(result.read_text()),
            steps,
            {name: event["data"] | {"type": event["type"]} for name, event in ended.items()},
        )


def _submit(harness: Harness, steps: list[Step]) -> dict[str, Step]:
    """One plan per step; the steps by the idempotency key of their plan."""
    made = {}
    for step in steps:
        key = uuid.uuid4().hex
        made[key] = step
        planned = {
            "id": f"{MARKER}-{step.name}",
            "tool": step.tool,
            "parameters": step.parameters,
            "retry": {"max_attempts": step.attempts, "backoff_seconds": 0.1},
            **({} if step.secrets is None else {"secrets": step.secrets}),
        }
        plan = {"name": step.name, "timeout_seconds": 170, "steps": [planned]}
        harness.produce(orjson.dumps({"idempotency_key": key, "plan": plan}))
    harness.flush()
    return made


def _wait(harness: Harness, running: dict[str, Step]) -> dict[str, dict[str, Any]]:
    """The last event of each step, by its name, once all plans have ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    ended: dict[str, dict[str, Any]] = {}
    while len(ended) < len(running):
        harness.read(0.1)
        for execution, events in harness.log.events.items():
            step = running.get(events[0]["data"].get("idempotency_key", ""))
            if step is not None and harness.log.ends(execution):
                own = [event for event in events if event.get("step")]
                assert own, (step.name, events[-1]["data"])
                ended[step.name] = own[-1]
        left = sorted({step.name for step in running.values()} - ended.keys())
        assert time.monotonic() < deadline, f"not ended: {left}"
    return ended


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
