"""The status of the stack in `stack.json`, and the paths of the state folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authority.key_folder import KeyFolder
from devstack.errors import LocalStackError
from devstack.files import read_own, write_atomically
from devstack.identity import is_same
from devstack.processes import ProcessSpec
from streams.vocabulary import Environment

#: Exit code of a supervisor that finds the state folder in use by another one.
ALREADY_RUNNING = 75

#: Options of a Kafka client, as librdkafka spells them.
ClientOptions = dict[str, str | int | float | bool]
Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]
ProcessState = Literal["starting", "running", "unready", "backing-off", "stopped"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class ProcessStatus(_Record):
    """One process of the stack."""

    name: str
    pid: int | None
    healthy: bool
    state: ProcessState
    restarts: int
    last_exit: int | None
    http_port: int | None
    log: str
    #: Start mark of the pid, so that a later process of the same number is left alone.
    mark: str | None


class StackStatus(_Record):
    """The whole stack, as of the last change."""

    supervisor_pid: int
    supervisor_mark: str | None
    phase: Phase
    error: str | None
    bootstrap_servers: str | None
    database_url: str | None
    progress: tuple[str, ...]
    processes: tuple[ProcessStatus, ...]
    #: What the executors serve.
    environment: Environment = "dev"
    #: Where the HTTP API listens; None where the stack runs none.
    api_url: str | None = None
    #: What a client of the owner needs to connect, as librdkafka spells it; a password is among it.
    client_options: ClientOptions = Field(default_factory=dict, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        return is_same(self.supervisor_pid, self.supervisor_mark)


class LaunchRequest(_Record):
    """What a supervisor runs; it starts a server whose address is None."""

    bootstrap_servers: str | None
    database_url: str | None
    preparation: tuple[ProcessSpec, ...]
    processes: tuple[ProcessSpec, ...]
    test_tools: bool
    environment: Environment
    ready_seconds: float


class StateFolder:
    """The files of one stack."""

    def __init__(self, path: Path) -> None:
        """Nothing is made yet."""
        self.path = path.absolute()
        self.stack = self.path / "stack.json"
        self.launch = self.path / "launch.json"
        self.lock = self.path / "supervisor.lock"
        self.ports = self.path / "ports.json"
        self.kafka = self.path / "kafka"
        self.postgres = self.path / "postgres"
        self.client_properties = self.path / "client.properties"
        self.java_properties = self.path / "java.properties"
        self.logs = self.path / "logs"
        self.keys = KeyFolder(self.path / "keys")

    def make(self) -> None:
        """Make the folder with mode 711: the database's account has to pass through it.

        What stands in it is run as this user: raises LocalStackError where it is somebody else's.
        """
        self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
        found = self.path.stat()
        if found.st_uid != os.geteuid():
            raise LocalStackError(
                f"{self.path} belongs to another user: choose a folder of yours with --state-dir."
            )
        if found.st_mode & 0o022:
            self.path.chmod(0o711)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    def open_lock(self) -> BinaryIO:
        """The file that a supervisor locks; others, who could lock it too, may not open it."""
        file = os.fdopen(os.open(self.lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb")
        # Earlier versions made it readable for everybody.
        os.fchmod(file.fileno(), 0o600)
        return file

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{name}.log"

    def read(self) -> StackStatus | None:
        """The last status written; None if there is none that can be understood.

        Raises LocalStackError where it is not this user's: processes that it names are ended.
        """
        try:
            return StackStatus.model_validate_json(read_own(self.stack))
        except (FileNotFoundError, ValidationError):
            return None
        except PermissionError:
            raise LocalStackError(
                f"{self.stack} belongs to another user: choose a folder of yours with --state-dir."
            ) from None

    def write(self, status: StackStatus) -> None:
        """Replace the status in one step."""
        write_atomically(self.stack, status.model_dump_json(indent=1))
