"""A real `runstream api` beside the stack of the tests, and people with keys and tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from authority import bearer
from authority.key_files import changing_trusted
from authority.key_folder import KeyFolder
from authority.keys import KeyUse, PrivateKey
from devstack.ports import free_port
from devstack.stack import LocalStack
from tests.brokers import kafka_options

AUDIENCE = "runstream"
_START_SECONDS = 60.0


class Person:
    """An actor with a key that the processes trust."""

    def __init__(self, keys: KeyFolder, actor: str, tenant: str = "default") -> None:
        """A new key each time: two people of one name have different ones."""
        self.actor = actor
        self.tenant = tenant
        self.key = PrivateKey.generate(KeyUse(role="actor", tenant=tenant, actor=actor))
        self._keys = keys
        with changing_trusted(keys.trusted) as trusted:
            trusted[self.key.kid] = self.key.trusted

    def token(self, *, read_only: bool = False, seconds: float = 3_600.0) -> str:
        """A token that counts from now on."""
        return bearer.make(
            self.key, AUDIENCE, time.time(), seconds, os.urandom(8).hex(), read_only=read_only
        )

    def revoke(self) -> None:
        """The key counts no more."""
        with changing_trusted(self._keys.trusted) as trusted:
            del trusted[self.key.kid]


class ApiServer:
    """One process of the API; as a context manager it runs."""

    def __init__(
        self,
        folder: Path,
        keys: KeyFolder,
        *,
        bootstrap_servers: str,
        database_url: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Nothing runs yet; its log is in the folder."""
        self.keys = keys
        self.log = folder / "api.log"
        port, health = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.health_url = f"http://127.0.0.1:{health}"
        self._folder = folder
        self._environment = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "RUNSTREAM_KAFKA_OPTIONS": json.dumps(kafka_options(bootstrap_servers)),
            "DATABASE_URL": database_url,
            "RUNSTREAM_SIGNING_KEY": str(keys.private("api")),
            "RUNSTREAM_TRUSTED_KEYS": str(keys.trusted),
            "RUNSTREAM_API_PORT": str(port),
            "RUNSTREAM_HTTP_PORT": str(health),
            "RUNSTREAM_INSTANCE": f"api-{port}",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, stack: LocalStack, folder: Path) -> ApiServer:
        """The API of a stack."""
        return cls(
            folder,
            stack.keys,
            bootstrap_servers=stack.bootstrap_servers,
            database_url=stack.database_url,
            environment={"RUNSTREAM_TEST_TOOLS": "true"},
        )

    def __enter__(self) -> Self:
        """Start, and wait until it answers; that needs neither broker nor database."""
        root = Path(__file__).parents[1]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "console", "api"],
                env={**self._environment, "PYTHONPATH": str(root)},
                cwd=self._folder,
                stderr=log,
                stdout=log,
            )
        self.wait_for(f"{self.url}/v1/openapi.json")
        return self

    def wait_ready(self) -> None:
        """Wait until Kafka and Postgres answer it."""
        self.wait_for(f"{self.health_url}/readyz")

    def wait_for(self, url: str) -> None:
        """Wait until the address answers 200."""
        assert self.process is not None
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                if httpx.get(url, timeout=2, verify=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            ended = self.process.poll()
            assert ended is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.stop() == 0, self.log.read_text()

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(40)

    def person(self, actor: str, tenant: str = "default") -> Person:
        """Somebody whose key is trusted."""
        return Person(self.keys, actor, tenant)

    def client(self, token: str | None) -> httpx.Client:
        """A client that shows this token."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=40, verify=False)
