"""Resolves secrets: the rules, the memory cache, and one request at a time for one secret."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from drivers.secret_config import SecretsConfig
from drivers.secret_forms import SHORTEST
from drivers.secret_policy import decide
from drivers.secret_policy_file import PolicyFile
from drivers.secret_stores import SecretStore
from drivers.secret_stores.files import SecretFiles
from drivers.secret_stores.variables import SecretVariables
from drivers.secret_use import Resolved, SecretError, Use
from runtime.secret_files import LARGEST_BYTES
from toolmeta.secret_references import SecretPath

#: Of one read from a back end, all its tries included.
READ_SECONDS: Final = 8.0
_MOST_CACHED: Final = 500
_THREADS: Final = 8

_Key = tuple[SecretPath, str]


class Resolver:
    """Secrets of the back ends that are configured; for one event loop."""

    def __init__(self, config: SecretsConfig) -> None:
        """Connects to nothing; raises ValueError where a library or a setting is missing."""
        self._stores = _stores(config)
        self._policy = PolicyFile(config.policy)
        self._keep_seconds = config.cache_seconds
        self._cache: OrderedDict[_Key, tuple[float, str]] = OrderedDict()
        self._reading: dict[_Key, asyncio.Task[str]] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def resolve(self, path: SecretPath, use: Use) -> Resolved:
        """The secret, if the rules allow this use of it; raises SecretError.

        The rules are asked each time, also for a secret that is in the cache.
        """
        verdict = decide(self._policy.rules(), path, use)
        if not verdict.allowed:
            to = "" if use.destination is None else f" towards {use.destination}"
            raise SecretError(
                f"The tenant {use.tenant} may not use the secret {path} in {use.tool}{to} "
                f"(rule {verdict.rule}); allow it in RUNSTREAM_SECRETS_POLICY.",
                "secret_denied",
                verdict.rule,
            )
        key = (path, use.tenant if path.source == "file" else "")
        cached = self._cache.get(key)
        if cached is not None and time.monotonic() < cached[0]:
            return Resolved(cached[1], verdict.rule)
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.create_task(self._read(key))
            self._reading[key] = reading
            reading.add_done_callback(lambda _: self._reading.pop(key, None))
        # One that stops waiting does not end the request of the others.
        return Resolved(await asyncio.shield(reading), verdict.rule)

    async def _read(self, key: _Key) -> str:
        path, tenant = key
        store = self._stores.get(path.source)
        if store is None:
            raise SecretError(f"This executor has no source of {path.source}/ secrets.")
        if isinstance(store, SecretVariables):
            value = store.read(path.name, tenant)
        else:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="secrets")
            loop = asyncio.get_running_loop()
            call = loop.run_in_executor(self._threads, store.read, path.name, tenant)
            try:
                async with asyncio.timeout(READ_SECONDS):
                    value = await call
            except TimeoutError:
                message = f"The source of {path} did not answer within {READ_SECONDS:g} s."
                raise SecretError(message, "secret_unavailable") from None
        if value is None:
            raise SecretError(f"There is no secret {path}.")
        _check(path, value)
        if self._keep_seconds > 0:
            self._cache[key] = (time.monotonic() + self._keep_seconds, value)
            self._cache.move_to_end(key)
            while len(self._cache) > _MOST_CACHED:
                self._cache.popitem(last=False)
        return value

    def close(self) -> None:
        """Wait for no thread."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _check(path: SecretPath, value: str) -> None:
    if "\x00" in value or len(value) < SHORTEST:
        raise SecretError(
            f"The secret {path} has fewer than {SHORTEST} characters or holds a NUL, so it could "
            "not be masked."
        )
    if len(value) > LARGEST_BYTES:
        raise SecretError(f"The secret {path} is larger than {LARGEST_BYTES} bytes.")


def _stores(config: SecretsConfig) -> Mapping[str, SecretStore]:
    stores: dict[str, SecretStore] = {"env": SecretVariables(config.variables)}
    if config.directory is not None:
        stores["file"] = SecretFiles(config.directory)
    # The two libraries are optional, and take some 200 ms to load.
    if config.vault is not None:
        try:
            from drivers.secret_stores.vault import Vault
        except ImportError:
            raise ValueError("vault/ secrets need hvac: pip install 'runstream[vault]'") from None
        stores["vault"] = Vault(config.vault)
    if config.aws is not None:
        try:
            from drivers.secret_stores.aws import AwsSecrets
        except ImportError:
            raise ValueError("aws/ secrets need boto3: pip install 'runstream[aws]'") from None
        stores["aws"] = AwsSecrets(config.aws)
    return stores
