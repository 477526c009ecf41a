"""A cancel of drivers whose work is more than one program or request: what they began has ended."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from pydantic import SecretStr

from drivers.analysis.catalogue import ANALYSES
from drivers.captures.store import CaptureStore
from drivers.context import Stop, Success
from drivers.resources import Resources
from sinks.migrate import migrate
from tests.driver_kit import Run, command, settings, until
from tests.fakes.camera import Camera
from tests.integration.local_lab import alive, child_names
from toolmeta.bind import bind
from toolmeta.invocation import Invocation
from toolmeta.registry import load


def bound(tool: str, **parameters: Any) -> Invocation:
    definition = load().get(tool)
    assert definition is not None
    invocation = bind(definition, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation


def skip_without(program: str, library: str | None = None) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")


def test_a_cancel_ends_nmap() -> None:
    skip_without("nmap", "nmap")
    # A thousand ports at one a second.
    scan = bound("nmap", targets=["127.0.0.1"], ports="1-1000", max_rate=1, skip_discovery=True)

    async def inside() -> Stop:
        opened = Resources(settings(network_scope="127.0.0.0/8", root_tools="nmap"))
        try:
            run = Run(opened, scan)
            await run.cancelled(lambda: "nmap" in child_names())
            return run.context.stop
        finally:
            await opened.close()

    stop = asyncio.run(inside())
    assert stop.ended and stop.evidence["pids_ended"], stop
    assert "cancel_unconfirmed" not in stop.evidence
    assert not any(alive(pid) for pid in stop.evidence["pids_ended"])
    assert "nmap" not in child_names()


def stored_capture(folder: Path, packets: int) -> str:
    """A capture of so many small frames in the store of this folder; returns its id."""
    store = CaptureStore(settings(capture_dir=str(folder)))
    ident, file = store.begin(command())
    with file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        frame = b"\x02" * 12 + b"\x08\x00" + b"\x00" * 46
        file.write((struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame) * packets)
    store.finish(ident, command(), truncated=False)
    return ident


def test_a_cancel_ends_the_reader_of_a_library(tmp_path: Path) -> None:
    skip_without("tcpdump", "scapy")
    reading = bound("scapy", capture=stored_capture(tmp_path, 20_000), packets=20_000)

    def readers() -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [one for one in children if "scapy_reader.py" in " ".join(one.cmdline())]

    async def inside() -> Stop:
        opened = Resources(settings(capture_dir=str(tmp_path), root_tools="scapy"))
        try:
            run = Run(opened, reading)
            await run.cancelled(lambda: bool(readers()))
            return run.context.stop
        finally:
            await opened.close()

    stop = asyncio.run(inside())
    assert stop.ended and stop.evidence["pids_ended"], stop
    assert "cancel_unconfirmed" not in stop.evidence
    assert not any(alive(pid) for pid in stop.evidence["pids_ended"])


def test_a_cancelled_analysis_has_closed_its_capture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads in a thread, which nothing can end from outside: it stops at the next packet."""
    begun, read = threading.Event(), []

    def slow(packets: Iterable[object], options: object) -> dict[str, Any]:
        for packet in packets:
            begun.set()
            time.sleep(0.1)
            read.append(packet)
        return {}

    monkeypatch.setitem(ANALYSES, "tcp", slow)
    ident = stored_capture(tmp_path, 1_000)

    def is_open() -> bool:
        return any(ident in file.path for file in psutil.Process().open_files())

    async def inside() -> Stop:
        opened = Resources(settings(capture_dir=str(tmp_path)))
        try:
            run = Run(opened, bound("tcp_analyzer", capture=ident))
            await run.cancelled(begun.is_set)
            assert not is_open()
            return run.context.stop
        finally:
            await opened.close()

    stop = asyncio.run(inside())
    assert 1 <= len(read) < 100
    assert (stop.ended, stop.effect, stop.evidence) == (True, "none", {})


def test_a_cancel_does_not_promise_that_a_capture_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread deletes it, and goes on."""
    ident = stored_capture(tmp_path, 1)
    deleting, go = threading.Event(), threading.Event()
    drop = CaptureStore.drop

    def slow(store: CaptureStore, wanted: str) -> None:
        deleting.set()
        go.wait(60)
        drop(store, wanted)

    monkeypatch.setattr(CaptureStore, "drop", slow)

    async def inside() -> Stop:
        opened = Resources(settings(capture_dir=str(tmp_path)))
        try:
            run = Run(opened, bound("tcpdump", action="delete", capture=ident))
            await run.cancelled(deleting.is_set)
            return run.context.stop
        finally:
            go.set()
            await opened.close()

    stop = asyncio.run(inside())
    assert (stop.ended, stop.effect) == (False, "possible")


def test_a_cancelled_change_of_an_asset_is_rolled_back_on_the_server(database: str) -> None:
    migrate(database)
    change = bound("asset_update", hostname="web-01", owner="mallory")

    def waits() -> bool:
        with psycopg.connect(database) as connection:
            rows = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()"
            )
            return rows.fetchone() is not None

    async def inside() -> Stop:
        opened = Resources(settings(assets_database_url=SecretStr(database)))
        try:
            made = await Run(opened, bound("asset_create", hostname="web-01")).outcome()
            assert isinstance(made, Success)
            with psycopg.connect(database) as other:
                other.execute("SELECT 1 FROM execution.assets FOR UPDATE")
                run = Run(opened, change)
                await run.cancelled(waits)
                assert not waits(), "the server goes on"
            # The connection is as good as new.
            found = await Run(opened, bound("asset_query", hostname="web-01")).outcome()
            assert isinstance(found, Success)
            assert found.output["assets"][0]["owner"] is None
            return run.context.stop
        finally:
            await opened.close()

    stop = asyncio.run(inside())
    assert (stop.ended, stop.effect) == (True, "none")
    assert stop.evidence == {"transaction": "rolled back"}


def test_a_cancel_that_meets_the_commit_of_an_asset_says_so(database: str) -> None:
    """A deferred trigger makes the COMMIT last."""
    migrate(database)
    with psycopg.connect(database) as connection:
        connection.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON execution.assets"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
        )

    def committing() -> bool:
        with psycopg.connect(database) as connection:
            rows = connection.execute(
                "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active' "
                "AND datname = current_database()"
            )
            return rows.fetchone() is not None

    async def inside() -> Stop:
        opened = Resources(settings(assets_database_url=SecretStr(database)))
        try:
            run = Run(opened, bound("asset_create", hostname="web-01"))
            await run.cancelled(committing)
            assert not committing()
            return run.context.stop
        finally:
            await opened.close()

    stop = asyncio.run(inside())
    assert (stop.ended, stop.effect) == (False, "possible")
    assert "may hold" in stop.evidence["cancel_unconfirmed"]


def test_a_cancel_closes_the_event_stream_of_a_camera() -> None:
    with Camera() as camera:
        given = camera.given(operation="collect", duration=300)
        streaming = bound("axis_vapix_event_streaming", **given)

        def connections() -> int:
            found = psutil.Process(os.getpid()).net_connections("tcp")
            return sum(
                bool(one.raddr) and one.raddr.port == camera.port and one.status == "ESTABLISHED"
                for one in found
            )

        async def inside() -> Stop:
            opened = Resources(settings(allow_private_addresses=True))
            try:
                run = Run(opened, streaming)
                await run.cancelled(lambda: bool(run.progress))
                await until(lambda: connections() == 0, 10)
                return run.context.stop
            finally:
                await opened.close()

        stop = asyncio.run(inside())
    assert stop.ended and stop.effect == "none"
