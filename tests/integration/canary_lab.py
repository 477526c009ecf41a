"""Secrets through every way of acting, and everything that the system keeps of it afterwards."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import psutil
from psycopg.conninfo import conninfo_to_dict

from devstack.ports import free_port
from devstack.processes import PROJECTOR, ROUTER, SINK, executor
from devstack.stack import LocalStack
from tests.canary_programs import CLIENTS
from tests.certificates import Authority
from tests.conftest import POLICY, SERVERS
from tests.fakes.vault import FakeVault
from tests.harness import PATIENCE_SECONDS, Harness
from tests.integration import canary_servers as servers
from tests.integration import canary_steps
from tests.integration.canary_places import places, told_meanwhile
from tests.integration.canary_steps import CANARIES, DATABASE, Step
from tests.integration.test_drivers_ssh import running_sshd
from tests.secret_kit import secret_file

#: In the name of every step and of one argument: public, so that a search can prove that it sees.
MARKER = "pub-7f3a"
#: Of the secret broker; only an executor of root can give it a user of its own.
BROKER_USER = "nobody" if os.geteuid() == 0 else None
#: Of one plan: few executions are quick to show, and several at once are more than one.
_STEPS = 8
_DOMAINS = ("automation", "communication", "asset", "network", "test")


@dataclass(frozen=True)
class Kept:
    """What is left of it: texts by place, and what a step saw of the other processes."""

    #: By topic, dump, log, command line, process with metrics.
    places: dict[str, bytes]
    values: dict[str, str]
    processes: dict[str, Any]
    #: Whose process the secret broker was.
    broker_users: set[str]
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
        names = ("docker", "mysql", "read_processes", *CLIENTS)
        path = f"{servers.programs(shared, *names)}:{os.environ['PATH']}"
        (folder / "ssh").mkdir()
        # Before the secrets are in the environment, or the server and all its sessions had them.
        ssh = opened.enter_context(running_sshd(folder / "ssh", f"SetEnv PATH={path}"))
        login_port, host_key = opened.enter_context(servers.ssh_server(CANARIES["quotes"]))
        with (folder / "ssh" / "known_hosts").open("a") as known:
            known.write(host_key)
        vault = FakeVault(
            kv2={"kv/team/app": {"password": CANARIES["vault"]}}, tokens={CANARIES["vault_token"]}
        )
        opened.enter_context(vault.serving())
        mail_port = free_port()
        opened.enter_context(servers.mail_server(mail_port, "ann", CANARIES["mail"]))
        authority = Authority(folder)
        tls = authority.server("127.0.0.1")
        windows = opened.enter_context(servers.windows_host(tls))
        good, bad = opened.enter_context(servers.cameras(CANARIES["quotes"]))
        web, held = opened.enter_context(servers.web_server())
        values = {
            **CANARIES,
            "hook": f"{web}/hook/T0xk3/Bq9zr/r7Kq2vXw81LmZpQ4",
            "ssh_key": (folder / "ssh" / "client").read_text(),
            "stranger": (folder / "ssh" / "stranger").read_text(),
        }
        # Everybody may enter it: what closes the files to the steps is whose they are.
        secrets = shared / "secrets"
        secrets.mkdir()
        secrets.chmod(0o755)
        for name, value in values.items():
            file = secret_file(secrets, f"canary_{name}", value)
            if BROKER_USER is not None:
                shutil.chown(file, BROKER_USER)
        # The stack of other tests has left its own settings here.
        for name in [*os.environ]:
            if name.startswith("RUNSTREAM_") or name in SERVERS:
                environment.delenv(name)
        for name, text in {
            "PATH": path,
            "SECRET_CANARY_PLAIN": CANARIES["plain"],
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mail_port),
            "SMTP_USER": "ann",
            "SMTP_PASSWORD": CANARIES["mail"],
            "RUNSTREAM_SECRETS_DIR": str(secrets),
            "RUNSTREAM_VAULT_URL": vault.url,
            "RUNSTREAM_VAULT_TOKEN": CANARIES["vault_token"],
            **({} if BROKER_USER is None else {"RUNSTREAM_SECRETS_USER": BROKER_USER}),
            "RUNSTREAM_SSH_KNOWN_HOSTS": str(folder / "ssh" / "known_hosts"),
            "RUNSTREAM_SSH_USER": getpass.getuser(),
            "RUNSTREAM_WINRM_CA_FILE": str(authority.ca_file),
            "RUNSTREAM_ALLOW_PRIVATE_ADDRESSES": "true",
            "RUNSTREAM_LOG_LEVEL": "debug",
            "RUNSTREAM_LEDGER": str(folder / "ledger"),
            "RUNSTREAM_POLICY": str(POLICY),
        }.items():
            environment.setenv(name, text)
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
        for name in ("SECRET_CANARY_PLAIN", "SMTP_PASSWORD", "RUNSTREAM_VAULT_TOKEN"):
            environment.delenv(name)
        passwords = ("plain", "lines", "quotes", "number")
        servers.fill_database(
            stack.database_url, DATABASE, {f"canary_{one}": CANARIES[one] for one in passwords}
        )
        broker_users = {
            process.username()
            for process in psutil.Process(stack.process("executor").pid).children(recursive=True)
            if "drivers.secret_broker" in process.cmdline()
        }
        database = conninfo_to_dict(stack.database_url)
        steps = [
            *canary_steps.programs(ssh.port),
            *canary_steps.clients(),
            *canary_steps.password_login(login_port),
            *canary_steps.web(web),
            *canary_steps.databases(int(database["port"] or 0), passwords),
            *canary_steps.others(windows.port, good, bad),
        ]
        harness = Harness(stack, folder / "ledger")
        opened.callback(harness.close)
        (shared / "values").write_text(json.dumps(values))
        result, stop = shared / "result", shared / "stop"
        words = [str(shared / "values"), MARKER, str(result), str(stop), str(secrets)]
        reader = Step("reader", "argv", {"argv": ["read_processes", *words]})
        try:
            reading = _submit(harness, [reader])
            running = _submit(harness, steps)
            assert held.arrived.wait(PATIENCE_SECONDS)
            meanwhile = told_meanwhile(folder / "stack")
            held.go_on.set()
            ended = _wait(harness, running)
        finally:
            stop.touch()
        ended |= _wait(harness, reading)
        ids = {event["execution_id"] for event in ended.values()}
        harness.check_rows(ids)
        yield Kept(
            places(stack, folder, ids, meanwhile),
            {name: value.strip() for name, value in values.items()},
            json.loads(result.read_text()),
            broker_users,
            steps,
            {name: event["data"] | {"type": event["type"]} for name, event in ended.items()},
        )


def _submit(harness: Harness, steps: list[Step]) -> dict[str, list[Step]]:
    """Plans whose steps run at the same time; the steps by the idempotency key of their plan."""
    made = {}
    for first in range(0, len(steps), _STEPS):
        key = uuid.uuid4().hex
        made[key] = steps[first : first + _STEPS]
        planned = [_planned(step) for step in made[key]]
        plan = {"name": f"from {first} on", "timeout_seconds": 170, "steps": planned}
        harness.produce(orjson.dumps({"idempotency_key": key, "plan": plan}))
    harness.flush()
    return made


def _planned(step: Step) -> dict[str, Any]:
    return {
        "id": f"{MARKER}-{step.name}",
        "tool": step.tool,
        "parameters": step.parameters,
        "depends_on": [],
        "on_failure": "continue",
        "retry": {"max_attempts": step.attempts, "backoff_seconds": 0.1},
        **({} if step.secrets is None else {"secrets": step.secrets}),
        **({} if step.asset is None else {"assets": [f"{MARKER}-{step.asset}"]}),
    }


def _wait(harness: Harness, running: dict[str, list[Step]]) -> dict[str, dict[str, Any]]:
    """The last event of each step, by its name, once all plans have ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    left = dict(running)
    ended: dict[str, dict[str, Any]] = {}
    while left:
        assert time.monotonic() < deadline, [[step.name for step in one] for one in left.values()]
        harness.read(0.1)
        for execution, events in harness.log.events.items():
            key = events[0]["data"].get("idempotency_key", "")
            if key not in left or not harness.log.ends(execution):
                continue
            last = {event["step"]: event for event in events if event.get("step")}
            for step in left.pop(key):
                assert f"{MARKER}-{step.name}" in last, (step.name, events[-1]["data"])
                ended[step.name] = last[f"{MARKER}-{step.name}"]
    return ended
