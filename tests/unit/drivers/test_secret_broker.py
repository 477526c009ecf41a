"""The secret broker as a process: what it answers and shows, how it ends and comes back."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from drivers import secret_broker, secret_client
from drivers.secret_client import BrokerFault, SecretBroker
from drivers.secret_config import SecretsConfig, VaultAccess
from drivers.secret_use import SecretError, Use
from drivers.step_users import FIRST_UID
from tests.driver_kit import until
from tests.secret_kit import secret_file
from toolmeta.secret_references import SecretPath

USE = Use("default", "ci", "curl", "dev", "e", "s", 1, parameter="headers")
CANARY = 'canary-7f3a "quoted"\nsecond line'
TOKEN = SecretPath("env", "TOKEN")


def with_broker(
    act: Callable[[SecretBroker], Awaitable[None]], user: str | None = None, **changed: object
) -> None:
    config = SecretsConfig({"TOKEN": CANARY}, **changed)  # type: ignore[arg-type]

    async def story() -> None:
        broker = SecretBroker(config, user)
        await broker.start()
        try:
            await act(broker)
        finally:
            await broker.close()
        assert broker.pid is None

    asyncio.run(story())


def test_it_answers_many_at_once() -> None:
    async def act(broker: SecretBroker) -> None:
        found = await asyncio.gather(*(broker.resolve(TOKEN, USE) for _ in range(300)))
        assert {(one.value, one.rule) for one in found} == {(CANARY, "default-tenant")}
        with pytest.raises(SecretError) as caught:
            await broker.resolve(SecretPath("env", "OTHER"), USE)
        assert caught.value.error_class == "secret_missing"
        with pytest.raises(SecretError) as caught:
            await broker.resolve(TOKEN, replace(USE, tenant="acme"))
        assert (caught.value.error_class, caught.value.rule) == ("secret_denied", "no-rule")

    with_broker(act)


def test_the_largest_secret_passes(tmp_path: Path) -> None:
    value = "\x01" * 65_536
    secret_file(tmp_path, "large", value)

    async def act(broker: SecretBroker) -> None:
        assert (await broker.resolve(SecretPath("file", "large"), USE)).value == value

    with_broker(act, directory=str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_neither_its_arguments_nor_its_environment_hold_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_OTHER", "canary-other")
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary")

    async def act(broker: SecretBroker) -> None:
        await broker.resolve(TOKEN, USE)
        folder = Path(f"/proc/{broker.pid}")
        assert b"canary" not in (folder / "cmdline").read_bytes()
        assert b"canary" not in (folder / "environ").read_bytes()
        # Not dumpable: its files in /proc belong to root, whoever's process it is.
        assert (folder / "environ").stat().st_uid == 0

    with_broker(act)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user")
def test_it_can_be_another_users_process(tmp_path: Path) -> None:
    async def act(broker: SecretBroker) -> None:
        process = psutil.Process(broker.pid)
        assert process.username() == "nobody"
        assert 0 not in process.gids()
        assert (await broker.resolve(TOKEN, USE)).value == CANARY

    with_broker(act, user="nobody")
    with pytest.raises(BrokerFault, match="RUNSTREAM_SECRETS_USER"):
        with_broker(act, user="no-such-user-here")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user")
def test_the_files_of_its_user_are_closed_to_steps_and_the_files_of_others_to_it() -> None:
    account = pwd.getpwnam("nobody")
    # Folders of pytest are closed to every other user.
    with TemporaryDirectory(prefix="secrets-") as opened:
        folder = Path(opened)
        folder.chmod(0o755)
        for name, owner in (("own", account.pw_uid), ("roots", 0), ("others", FIRST_UID)):
            os.chown(secret_file(folder, name, "file-value"), owner, -1)

        async def act(broker: SecretBroker) -> None:
            assert (await broker.resolve(SecretPath("file", "own"), USE)).value == "file-value"
            for name in ("roots", "others"):
                with pytest.raises(SecretError, match="may not be read") as caught:
                    await broker.resolve(SecretPath("file", name), USE)
                assert caught.value.error_class == "secret_denied"

        with_broker(act, user="nobody", directory=opened)
        read = subprocess.run(
            ["cat", folder / "own"], user=FIRST_UID, group=FIRST_UID, extra_groups=[],
            capture_output=True, timeout=20,
        )  # fmt: skip
        assert (read.returncode, read.stdout) == (1, b"")
        assert b"Permission denied" in read.stderr


def test_a_request_after_its_death_fails_once_whenever_the_end_is_read() -> None:
    async def act(broker: SecretBroker) -> None:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        # The event loop does not run meanwhile, so that nothing of the end has been read.
        deadline = time.monotonic() + 20
        while not _is_zombie(first):
            assert time.monotonic() < deadline
            time.sleep(0.001)  # noqa: ASYNC251
        found = [await _after(broker) for _ in range(2)]
        assert found[-1] == CANARY
        assert broker.pid != first

    with_broker(act)


def test_it_is_started_again_after_its_death() -> None:
    async def act(broker: SecretBroker) -> None:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: not psutil.pid_exists(first) or _is_zombie(first))
        found = [await _after(broker) for _ in range(2)]
        assert found[-1] == CANARY
        assert broker.pid != first

    with_broker(act)


async def _after(broker: SecretBroker) -> str:
    try:
        return (await broker.resolve(TOKEN, USE)).value
    except SecretError as error:
        # Asked before its death was noticed.
        assert error.error_class == "secret_unavailable"
        return str(error)


def _is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_one_that_is_frozen_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_client, "ANSWER_SECONDS", 0.1)

    async def act(broker: SecretBroker) -> None:
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SecretError) as caught:
                await broker.resolve(TOKEN, USE)
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        assert caught.value.error_class == "secret_unavailable"

    with_broker(act)


def test_one_that_stays_frozen_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(broker: SecretBroker) -> None:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        monkeypatch.setattr(secret_client, "ANSWER_SECONDS", 0.1)
        with pytest.raises(SecretError):
            await broker.resolve(TOKEN, USE)
        monkeypatch.setattr(secret_client, "ANSWER_SECONDS", 20.0)
        assert (await broker.resolve(TOKEN, USE)).value == CANARY
        assert broker.pid != first
        assert not psutil.pid_exists(first)

    with_broker(act)


def test_those_who_wait_for_one_that_does_not_start_give_up_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(secret_client, "START_SECONDS", 0.1)
    monkeypatch.setattr(secret_client, "READY_SECONDS", 0.3)
    monkeypatch.setattr(secret_client, "_RESTART_SECONDS", 0.0)
    starts = []
    broker = SecretBroker(SecretsConfig({"TOKEN": CANARY}))

    async def never() -> asyncio.StreamWriter:
        starts.append(1)
        await asyncio.sleep(secret_client.START_SECONDS)
        raise BrokerFault("the secret broker did not start")

    monkeypatch.setattr(broker, "start", never)

    async def story() -> None:
        found = await asyncio.gather(
            *(broker.resolve(TOKEN, USE) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(one, SecretError) for one in found)

    asyncio.run(story())
    assert len(starts) < 10


def test_it_ignores_the_signals_of_a_terminal_and_ends_with_its_executor() -> None:
    async def act(broker: SecretBroker) -> None:
        assert broker.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(broker.pid, number)
        assert (await broker.resolve(TOKEN, USE)).value == CANARY
        process = psutil.Process(broker.pid)
        await broker.close()
        assert not process.is_running()

    with_broker(act)


def test_a_source_without_its_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.secret_resolver import Resolver

    monkeypatch.setitem(sys.modules, "drivers.secret_stores.vault", None)
    with pytest.raises(ValueError, match=r"runstream\[vault\]"):
        Resolver(SecretsConfig(vault=VaultAccess("https://v")))


def test_only_its_parent_is_answered() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # Both ends are this process's, and its parent is another one.
        assert not secret_broker.is_parent(theirs) or sys.platform != "linux"
