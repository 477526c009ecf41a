"""A cancel before anything went out is certain; one after it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from drivers.resources import Resources
from tests.driver_kit import Run, settings, until
from toolmeta.invocation import Invocation

Story = Callable[[Resources, int, asyncio.Event], Awaitable[Run]]


def with_silent_server(story: Story, **wanted: object) -> Run:
    """A server that accepts connections and never answers; the event is a connection.

    When the story is over, the client must have closed it.
    """

    async def inside() -> Run:
        accepted, closed = asyncio.Event(), asyncio.Event()
        held: list[asyncio.StreamWriter] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append(writer)
            accepted.set()
            with suppress(ConnectionError):
                while await reader.read(65_536):
                    continue
            closed.set()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        given = {key: port if value == "PORT" else value for key, value in wanted.items()}
        opened = Resources(settings(allow_private_addresses=True, **given))
        try:
            run = await story(opened, port, accepted)
            async with asyncio.timeout(10):
                await closed.wait()
            return run
        finally:
            await opened.close()
            for writer in held:
                writer.close()
            server.close()

    return asyncio.run(inside())


def _request(driver: str, scheme: str, port: int) -> Invocation:
    """A request to this machine, by a driver that sends one."""
    url = f"{scheme}://127.0.0.1:{port}/"
    arguments: dict[str, object] = {"url": url}
    if driver in ("slack", "teams"):
        arguments = {"webhook_url": url, "message": "hello"}
    if driver == "vapix":
        login = {"username": "ops", "password": "long-enough-password"}
        where = {"host": "127.0.0.1", "port": port, "scheme": scheme}
        arguments = {**where, **login, "operation": "get_all_info"}
    call = "device_info" if driver == "vapix" else "request"
    return Invocation("any", driver, call=call, arguments=arguments)


@pytest.mark.parametrize("driver", ["http", "webhook", "slack", "teams", "vapix"])
@pytest.mark.parametrize(("scheme", "effect"), [("https", "none"), ("http", "possible")])
def test_a_cancelled_request_is_closed_and_had_no_effect_before_it_went_out(
    scheme: str, driver: str, effect: str
) -> None:
    """Over TLS the silent server keeps the handshake waiting, before any byte of the request."""

    async def story(opened: Resources, port: int, accepted: asyncio.Event) -> Run:
        run = Run(opened, _request(driver, scheme, port))
        await run.cancelled(lambda: accepted.is_set() and run.context.stop.effect == effect, 5)
        return run

    stop = with_silent_server(story).context.stop
    assert (stop.ended, stop.effect) == (effect == "none", effect)


def test_a_mail_that_never_went_out_had_no_effect() -> None:
    async def story(opened: Resources, port: int, accepted: asyncio.Event) -> Run:
        arguments = {"to": "ops@example.com", "subject": "x", "body": "y"}
        run = Run(opened, Invocation("mail", "smtp", call="send", arguments=arguments))
        await run.cancelled(accepted.is_set)
        return run

    wanted = {"smtp_host": "127.0.0.1", "smtp_port": "PORT", "smtp_use_tls": False}
    stop = with_silent_server(story, **wanted).context.stop
    assert (stop.ended, stop.effect) == (True, "none")


def test_a_step_that_waits_for_a_windows_session_has_done_nothing() -> None:
    pytest.importorskip("pypsrp")

    async def inside() -> Run:
        opened = Resources(settings())
        opened.winrm_threads = asyncio.Semaphore(0)
        arguments = {
            "cmdlet": "Get-Process",
            "connection": {"user": "ops", "password": "long-enough-password"},
        }
        run = Run(opened, Invocation("get_process", "winrm", host="127.0.0.1", arguments=arguments))
        try:
            task = asyncio.create_task(run.outcome())
            waiters = opened.winrm_threads
            await until(lambda: bool(waiters._waiters) or task.done())
            assert not task.done(), task.result()
            run.cancel(task)
            await asyncio.wait({task}, timeout=60)
            assert task.cancelled()
        finally:
            await opened.close()
        return run

    stop = asyncio.run(inside()).context.stop
    assert (stop.ended, stop.effect) == (True, "none")
