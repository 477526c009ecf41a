"""The process that runs a stack: `python -m devstack.supervisor STATE_DIR`."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import FrameType

from pydantic import TypeAdapter, ValidationError

from devstack.child import Child, Launch
from devstack.cleanup import end_leftovers
from devstack.errors import LocalStackError
from devstack.files import cut_log, log_tail, write_atomically
from devstack.identity import start_mark
from devstack.kafka import KafkaServer
from devstack.kafka_users import make_users
from devstack.login import Login, java_properties
from devstack.member import Member
from devstack.ports import assign_ports
from devstack.postgres import PostgresServer
from devstack.probe import http_ready
from devstack.processes import ProcessSpec
from devstack.state import (
    ALREADY_RUNNING,
    ClientOptions,
    LaunchRequest,
    Phase,
    StackStatus,
    StateFolder,
)
from runtime import environment
from runtime.settings import KAFKA_OPTIONS, secret_variables
from runtime.trace_settings import RECEIVER_HEADERS

_INVENTORY = "RUNSTREAM_ASSETS_DATABASE_URL"
#: The variable of the port of the HTTP API, and its name among the ports of the stack.
_API_PORT = "RUNSTREAM_API_PORT"
_TICK_SECONDS = {"starting": 0.05, "ready": 0.5}
#: Restarts after which a stack that has never been ready gives up.
_MOST_RESTARTS = 3
_PREPARATION_SECONDS = 180.0
#: The beginnings of the options with which a client logs in.
_LOGIN = ("security.", "sasl.", "ssl.")


class Stopped(Exception):
    """A stop was requested while starting."""


class Supervisor:
    """Starts everything in order, keeps it running, stops it in the reverse order.

    One thread starts all children, since they end with it; only probes run in other threads.
    """

    def __init__(
        self, folder: StateFolder, request: LaunchRequest, credentials: Mapping[str, str]
    ) -> None:
        """Nothing runs yet; `credentials` are variables for the processes that act on systems."""
        self._folder = folder
        self._request = request
        self._credentials = dict(credentials)
        self._inventory_url = self._credentials.pop(_INVENTORY, None)
        self._mark = start_mark(os.getpid())
        self._stopping = False
        self._phase: Phase = "starting"
        self._error: str | None = None
        self._bootstrap_servers = request.bootstrap_servers
        self._client_options: ClientOptions = {}
        self._logins: dict[str, Login] = {}
        self._database_url = request.database_url
        #: The same, as our processes are given it.
        self._process_database_url = request.database_url
        self._api_url: str | None = None
        self._progress: list[str] = []
        self._servers: list[Member] = []
        self._processes: list[Member] = []
        self._last: StackStatus | None = None
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")

    def run(self) -> int:
        """Run until a stop is requested; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._publish()
            self._start()
            self._enter("ready")
            while not self._stopping:
                self._tick()
        except Stopped:
            self._log("stop requested while starting")
        except LocalStackError as error:
            self._error = str(error)
            self._log(f"giving up: {error}")
        finally:
            self._stop()
        return 0 if self._error is None else 1

    def _start(self) -> None:
        began = time.monotonic()
        given = _given_options(self._credentials)
        if self._request.bootstrap_servers is None:
            # They tune clients of any broker, but a login of theirs is for another one.
            given = {name: given[name] for name in given if not name.startswith(_LOGIN)}
        self._client_options = given
        self._folder.client_properties.unlink(missing_ok=True)
        self._folder.java_properties.unlink(missing_ok=True)
        if self._request.bootstrap_servers is not None:
            self._client_options["bootstrap.servers"] = self._request.bootstrap_servers
        ours = {"Kafka": self._request.bootstrap_servers, "Postgres": self._request.database_url}
        if None in ours.values():
            names = " and ".join(name for name, address in ours.items() if address is None)
            self._log(f"starting {names}", progress=True)
        if self._request.bootstrap_servers is None:
            tell = partial(self._log, progress=True)
            kafka = KafkaServer(
                self._folder.kafka,
                report=tell,
                log=self._folder.log("kafka"),
                kcat=self._folder.client_properties,
            )
            child = kafka.prepare()
            self._bootstrap_servers = kafka.bootstrap_servers
            self._client_options |= kafka.client_options
            properties = java_properties(kafka.bootstrap_servers, kafka.login)
            write_atomically(self._folder.java_properties, properties)
            self._servers.append(Member(child, kafka.is_ready, probe_every=10.0))
            # The database is made while the broker starts.
            self._servers[-1].start(time.monotonic())
        if self._request.database_url is None:
            postgres = PostgresServer(self._folder.postgres, log=self._folder.log("postgres"))
            child = postgres.prepare()
            self._database_url = postgres.dsn
            # Executors may use the inventory only; the migration makes the role.
            self._inventory_url = self._inventory_url or postgres.process_dsn_of(
                "runstream_assets", secrets.token_urlsafe(24)
            )
            self._process_database_url = postgres.process_dsn
            self._servers.append(Member(child, postgres.is_ready, probe_every=10.0))
            self._servers[-1].start(time.monotonic())
        self._wait_for(self._servers)
        if self._request.bootstrap_servers is None:
            # After the start, not before: only the broker stores its users.
            prefix = os.environ.get("RUNSTREAM_TOPIC_PREFIX", "")
            self._logins = make_users(self._client_options, self._request.processes, prefix)
        self._prepare()
        self._start_processes()
        self._wait_for(self._processes)
        self._log(f"everything is ready after {time.monotonic() - began:.1f} s", progress=True)

    def _start_processes(self) -> None:
        names = [spec.name for spec in self._request.processes]
        self._log(f"starting {', '.join(names)}", progress=True)
        ports = assign_ports(self._folder.ports, [*names, _API_PORT])
        for spec in self._request.processes:
            port = ports[spec.name]
            env = {**self._environment(spec), "RUNSTREAM_HTTP_PORT": str(port)}
            if spec.role == "api":
                # Stable, and its own for each stack; a port of the caller's goes first.
                env[_API_PORT] = os.environ.get(_API_PORT) or str(ports[_API_PORT])
                self._api_url = f"http://127.0.0.1:{env[_API_PORT]}"
            member = Member(
                Child(self._launch(spec, env)), http_ready(port), probe_every=5.0, http_port=port
            )
            self._processes.append(member)
            member.start(time.monotonic())

    def _wait_for(self, members: Sequence[Member]) -> None:
        deadline = time.monotonic() + self._request.ready_seconds
        while not all(member.healthy for member in members):
            self._tick(progress=True)
            for member in members:
                if member.restarts >= _MOST_RESTARTS:
                    raise LocalStackError(_failure(member, "keeps ending"))
                if time.monotonic() > deadline and not member.healthy:
                    seconds = self._request.ready_seconds
                    raise LocalStackError(_failure(member, f"not ready within {seconds:.0f} s"))
            if self._stopping:
                raise Stopped

    def _prepare(self) -> None:
        """Run everything that has to be done before the processes, at once, each to its end."""
        specs = self._request.preparation
        waiting = [Child(self._launch(spec, self._environment(spec))) for spec in specs]
        if not waiting:
            return
        self._log(f"running {', '.join(spec.name for spec in specs)}", progress=True)
        began = time.monotonic()
        try:
            for child in waiting:
                child.start()
            while waiting:
                self._tick()
                for child in list(waiting):
                    if self._has_ended(child, began):
                        waiting.remove(child)
                if self._stopping:
                    raise Stopped
        finally:
            for child in waiting:
                child.stop()

    def _has_ended(self, child: Child, began: float) -> bool:
        """Whether it ended well; raises LocalStackError if it ended otherwise or takes too long."""
        code = child.poll()
        seconds = time.monotonic() - began
        name = child.launch.name
        if code is None:
            if seconds > _PREPARATION_SECONDS:
                raise LocalStackError(f"{name} took over {_PREPARATION_SECONDS:.0f} s")
            return False
        if code != 0:
            raise LocalStackError(f"{name} ended with code {code}:\n{log_tail(child.launch.log)}")
        self._log(f"{name} done in {seconds:.1f} s", progress=True)
        return True

    def _launch(self, spec: ProcessSpec, env: dict[str, str]) -> Launch:
        return Launch(name=spec.name, argv=spec.argv, log=self._folder.log(spec.name), env=env)

    def _environment(self, spec: ProcessSpec) -> dict[str, str]:
        """What is added to this process's own; credentials only where they are needed."""
        # Of the rest, every process needs those for the receiver of its spans.
        wanted = self._credentials if spec.secrets else RECEIVER_HEADERS & self._credentials.keys()
        given = {name: self._credentials[name] for name in wanted}
        options: ClientOptions = dict(self._client_options)
        if spec.name in self._logins:
            options |= self._logins[spec.name].options()
        options.pop("bootstrap.servers", None)
        if spec.database:
            given["DATABASE_URL"] = self._process_database_url or ""
        if spec.inventory and self._inventory_url is not None:
            given[_INVENTORY] = self._inventory_url
        # Also where it signs nothing: a key that the caller has set is a person's.
        key = "" if spec.key is None else str(self._folder.keys.private(spec.key))
        given |= {
            "RUNSTREAM_SIGNING_KEY": key,
            "RUNSTREAM_TRUSTED_KEYS": str(self._folder.keys.trusted),
        }
        return given | {
            "KAFKA_BOOTSTRAP_SERVERS": self._bootstrap_servers or "",
            KAFKA_OPTIONS: json.dumps(options),
            "RUNSTREAM_INSTANCE": spec.name,
            "RUNSTREAM_STATE_DIR": str(self._folder.path),
            "RUNSTREAM_ENVIRONMENT": self._request.environment,
            "RUNSTREAM_TEST_TOOLS": str(self._request.test_tools).lower(),
            "PYTHONUNBUFFERED": "1",
            # The clients have many threads; with few malloc arenas they leave less memory unused.
            "MALLOC_ARENA_MAX": "2",
        }

    def _tick(self, progress: bool = False) -> None:
        now = time.monotonic()
        for member in self._members():
            member.tick(now, self._pool)
            for message in member.messages:
                self._log(message, progress=progress)
            member.messages.clear()
        cut_log(self._folder.log("supervisor"))
        self._publish()
        time.sleep(_TICK_SECONDS.get(self._phase, 0.05))

    def _stop(self) -> None:
        self._enter("stopping")
        self._stop_together(self._processes)
        # The broker last, since all processes are its clients.
        for server in reversed(self._servers):
            self._stop_together([server])
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._enter("stopped" if self._error is None else "failed")

    def _stop_together(self, members: Sequence[Member]) -> None:
        began = time.monotonic()
        for member in members:
            member.child.signal_stop()
        for member in members:
            member.child.wait_stopped(began + member.child.launch.grace_seconds)
            member.stopped()
            self._log(f"{member.name} stopped within {time.monotonic() - began:.1f} s")
            self._publish()

    def _members(self) -> list[Member]:
        return [*self._servers, *self._processes]

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._log(phase)
        self._publish()

    def _publish(self) -> None:
        status = StackStatus(
            supervisor_pid=os.getpid(),
            supervisor_mark=self._mark,
            phase=self._phase,
            error=self._error,
            bootstrap_servers=self._bootstrap_servers,
            database_url=self._database_url,
            progress=tuple(self._progress),
            processes=tuple(member.status() for member in self._members()),
            environment=self._request.environment,
            api_url=self._api_url,
            client_options=self._client_options,
        )
        if status != self._last:
            self._folder.write(status)
            self._last = status

    def _log(self, line: str, progress: bool = False) -> None:
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")
        sys.stderr.flush()
        if progress:
            self._progress.append(line)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def _given_options(credentials: Mapping[str, str]) -> ClientOptions:
    """What RUNSTREAM_KAFKA_OPTIONS says; raises LocalStackError where it is not such an object."""
    try:
        return TypeAdapter(ClientOptions).validate_json(credentials.get(KAFKA_OPTIONS) or "{}")
    except ValidationError:
        raise LocalStackError(
            f"{KAFKA_OPTIONS} is not a JSON object of librdkafka options."
        ) from None


def _failure(member: Member, what: str) -> str:
    return f"{member.name} {what}:\n{log_tail(member.child.launch.log)}"


def main(state_dir: Path) -> int:
    """Run the stack described in the folder's launch request."""
    # Programs of steps run as the same user, and could read the environment of this process.
    known = secret_variables()
    credentials = environment.take(lambda name: environment.is_credential(name) or name in known)
    credentials.pop("DATABASE_URL", None)
    environment.forbid_reading()
    folder = StateFolder(state_dir)
    with folder.open_lock() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ALREADY_RUNNING
        end_leftovers(folder.read())
        request = LaunchRequest.model_validate_json(folder.launch.read_bytes())
        return Supervisor(folder, request, credentials).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
