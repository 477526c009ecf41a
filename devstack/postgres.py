"""A real Postgres on this machine, without a container engine."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Final

import psycopg

from devstack.account import database_account, private_folder, remove_folder
from devstack.child import Child, Launch
from devstack.errors import LocalStackError
from devstack.ports import assign_ports
from devstack.postgres_binaries import PostgresBinaries, find_postgres, reachable_copy
from devstack.postgres_data import DATABASE, USER, data_version, make_data, read_password
from devstack.server import LocalServer

#: What the log of a server says that backends of a killed one keep from starting.
_BACKENDS: Final = "pre-existing shared memory block"
_BACKENDS_SECONDS: Final = 10.0


class PostgresServer(LocalServer):
    """A database server whose data and log are in one folder."""

    def __init__(self, folder: Path, *, log: Path | None = None) -> None:
        """Nothing is read or written before the start."""
        self._folder = folder.absolute()
        self._log = log or self._folder.with_name(f"{self._folder.name}.log")
        self._port = 0
        self._password = ""

    @property
    def dsn(self) -> str:
        """The URL for clients; known once prepared."""
        return self._dsn_of(USER, self._password)

    @property
    def process_dsn(self) -> str:
        """The URL for our processes: they log in by SCRAM or not at all.

        Another program that listens on the port of a stopped server would else be sent the
        password. Clients of people may be too old to know the option (libpq before 16).
        """
        return self.process_dsn_of(USER, self._password)

    def process_dsn_of(self, user: str, password: str) -> str:
        """The same for another role; neither part holds a character that a URL escapes."""
        return f"{self._dsn_of(user, password)}?require_auth=scram-sha-256"

    def _dsn_of(self, user: str, password: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self._port}/{DATABASE}"

    def prepare(self) -> Child:
        """Find the programs, make the data folder if there is none, and choose the port."""
        account = database_account()
        home = private_folder(self._folder, account)
        data = home / "data"
        binaries = reachable_copy(find_postgres(data_version(data)), account, home)
        if not data.exists():
            make_data(binaries, data, account)
        self._password = read_password(data)
        self._port = assign_ports(home / "ports.json", ["database"])["database"]
        self._child = Child(
            Launch(
                name="postgres",
                argv=_server_command(binaries, data, self._port),
                log=self._log,
                account=account,
                # SIGINT ends sessions and stops in order; SIGTERM would wait for every client.
                stop_signal=signal.SIGINT,
                # SIGKILL would leave its workers and its shared memory behind.
                orphan_signal=signal.SIGQUIT,
                last_signal=signal.SIGQUIT,
                grace_seconds=20.0,
            )
        )
        return self._child

    def start(self, timeout_seconds: float = 60.0) -> None:
        """As any server's; after a kill it is tried again until the last old backend has ended.

        A backend notices that its server was killed when it looks up from its work; until then
        PostgreSQL refuses to start on the same data.
        """
        until = time.monotonic() + _BACKENDS_SECONDS
        while True:
            try:
                super().start(timeout_seconds)
                return
            except LocalStackError as error:
                if _BACKENDS not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """Whether it answers a query."""
        try:
            with psycopg.connect(self.process_dsn, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def remove(self) -> None:
        """Stop and delete the data, also where `folder` is a link to it."""
        self.stop()
        self._child = None
        remove_folder(self._folder)


def _server_command(binaries: PostgresBinaries, data: Path, port: int) -> tuple[str, ...]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        # No socket file: its path may not exceed 107 bytes, which the path of a state folder may.
        "unix_socket_directories": "",
        "max_connections": 100,
        # The data is small; what is not in these buffers is in the kernel's page cache.
        "shared_buffers": "32MB",
        "max_logical_replication_workers": 0,
        "max_wal_size": "512MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = (option for key, value in settings.items() for option in ("-c", f"{key}={value}"))
    return (str(binaries.postgres), "-D", str(data), *options)
