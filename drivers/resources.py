"""What the drivers of one process share: settings, HTTP client, database pool, SSH options."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from drivers.connections import AssetCache
from drivers.launcher import Launcher
from drivers.output_quota import OutputQuota
from drivers.pacing import Pacing
from drivers.secrets import Secrets, SecretSource
from drivers.step_users import StepUsers
from runtime.pattern_matcher import patterns_of
from runtime.settings import ExecutorSettings, passwords

if TYPE_CHECKING:  # each is loaded on first use: an executor of one domain needs few of them
    import httpx
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from drivers.proxy import GuardProxy


#: Windows steps at once; further ones wait. An idle one costs a small thread.
WINRM_THREADS: Final = 64


class NoInventory(Exception):
    """The executor was given no database."""


class Resources:
    """Opened on first use, closed once on drain; for one event loop."""

    def __init__(
        self,
        settings: ExecutorSettings,
        secrets: SecretSource | None = None,
        held: Iterable[str] = (),
    ) -> None:
        """Opens nothing; `secrets` resolves references, and `held` values are masked."""
        self.settings = settings
        self.launcher = Launcher()
        self.step_users = StepUsers(settings)
        self.output_quota = OutputQuota(settings.quotas)
        self.pacing = Pacing(settings.rate_limits)
        self.secrets = Secrets(secrets, [*held, *passwords(settings)])
        #: What only looks like a secret.
        self.patterns = patterns_of(settings)
        self.remembered = AssetCache()
        #: Threads for WinRM: its library blocks.
        self.winrm_threads = asyncio.Semaphore(WINRM_THREADS)
        self._http: httpx.AsyncClient | None = None
        self._pool: AsyncConnectionPool[AsyncConnection[dict[str, Any]]] | None = None
        self._proxy: GuardProxy | None = None
        self._opening = asyncio.Lock()

    async def http(self) -> httpx.AsyncClient:
        """The client of every HTTP driver: guarded addresses, no proxies, redirects or cookies.

        10 s for each of connect, read, write and pool; one connection per request.
        """
        async with self._opening:
            if self._http is None:
                # The import and the authorities of the machine take some 150 ms.
                self._http = await asyncio.to_thread(self.http_client)
        return self._http

    def http_client(self, tls: ssl.SSLContext | None = None) -> httpx.AsyncClient:
        """A client of the same rules with a TLS of its own; whoever asks for it closes it."""
        import httpx

        from drivers.http.addresses import GuardedTransport

        return httpx.AsyncClient(
            transport=GuardedTransport(
                tls or trusted(), allow_private=self.settings.allow_private_addresses
            ),
            timeout=10.0,
            trust_env=False,
            follow_redirects=False,
            headers={"User-Agent": "runstream"},
        )

    async def proxy(self) -> GuardProxy:
        """The proxy of programs that take URLs; listens from the first use on."""
        async with self._opening:
            if self._proxy is None:
                from drivers.proxy import GuardProxy

                started = GuardProxy()
                await started.start()
                self._proxy = started
        return self._proxy

    async def database(self) -> AsyncConnectionPool[AsyncConnection[dict[str, Any]]]:
        """The pool on the inventory: rows as dicts, at most 8 connections.

        Raises NoInventory where the settings name none.
        """
        url = self.settings.assets_database_url
        if url is None:
            raise NoInventory
        async with self._opening:
            if self._pool is None:
                from psycopg import AsyncConnection
                from psycopg.rows import dict_row
                from psycopg_pool import AsyncConnectionPool

                self._pool = AsyncConnectionPool(
                    url.get_secret_value(),
                    connection_class=AsyncConnection[dict[str, Any]],
                    kwargs={
                        "row_factory": dict_row,
                        "application_name": "runstream-executor",
                    },
                    min_size=0,
                    max_size=8,
                    max_waiting=256,
                    timeout=10.0,
                    max_idle=60.0,
                    check=AsyncConnectionPool.check_connection,
                    open=False,
                )
                await self._pool.open()
        return self._pool

    def ssh_options(self) -> dict[str, Any]:
        """Connection options of asyncssh: host keys are always checked, no agent, no config file.

        The login name, where a host names none, is `settings.ssh_user`, else this process's user.
        """
        settings = self.settings
        options: dict[str, Any] = {
            "agent_path": None,
            "agent_forwarding": False,
            "config": None,
            "password": None,
            "preferred_auth": ("publickey",),
            # None would turn the check off in asyncssh; with an absent file every host is refused.
            "known_hosts": settings.ssh_known_hosts or str(Path("~/.ssh/known_hosts").expanduser()),
            "connect_timeout": 10.0,
            "login_timeout": 10.0,
            # With the instructions of today's processors nearly twice as fast as what comes first
            # by default; a host that has neither gets one of the others.
            "encryption_algs": "^aes128-gcm@openssh.com,aes256-gcm@openssh.com",
            "keepalive_interval": 15.0,
            "keepalive_count_max": 3,
        }
        if settings.ssh_user is not None:
            options["username"] = settings.ssh_user
        if settings.ssh_key_file is not None:
            options["client_keys"] = [settings.ssh_key_file]
        return options

    async def close(self) -> None:
        """Close what was opened; safe to call twice."""
        await asyncio.to_thread(self.launcher.close)
        http, self._http = self._http, None
        pool, self._pool = self._pool, None
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            await proxy.close()
        if http is not None:
            await http.aclose()
        if pool is not None:
            await pool.close(timeout=5.0)


def trusted(ca_file: str | None = None) -> ssl.SSLContext:
    """A verifying TLS context: the machine's authorities, certifi's where it has none.

    `ca_file` adds a private authority to them. Reads files: call it once, not per request.
    """
    paths = ssl.get_default_verify_paths()
    system = paths.cafile or (paths.capath and any(Path(paths.capath).iterdir()))
    if system:
        context = ssl.create_default_context()
    else:
        import certifi

        context = ssl.create_default_context(cafile=certifi.where())
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
