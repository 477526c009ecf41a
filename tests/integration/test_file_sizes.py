"""Large files over SFTP: memory stays flat, and whatever ends a transfer leaves the old file."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from drivers.context import Failure
from drivers.resources import Resources
from tests.driver_kit import Run, command, until
from tests.files_kit import bound, names_in, parts_in
from tests.integration.test_drivers_ssh import SSHD, Sshd, running_sshd
from tests.sizes import LONG

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is not installed")

BLOCK = random.Random(10).randbytes(1024 * 1024)
#: Of the large file: 64 MiB in CI, 1 GiB on request.
BLOCKS = 1024 if LONG else 64
#: What a transfer may take beyond what a small one took before it.
MORE_MEMORY = 32 * 1024 * 1024
OLD = b"the old file\n" * 100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(
        tmp_path_factory.mktemp("sizes"), "Subsystem sftp internal-sftp", "MaxStartups 100"
    ) as made:
        yield made


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sources") / "acme"
    folder.mkdir()
    (folder / "small").write_bytes(BLOCK)
    with (folder / "large").open("wb") as file:
        for number in range(BLOCKS):
            file.write(number.to_bytes(8) + BLOCK[8:])
    yield folder
    (folder / "large").unlink()


def settings_of(server: Sshd, sources: Path) -> dict[str, Any]:
    return {
        **server.settings().model_dump(exclude_unset=True),
        "transfer_folders": str(sources.parent),
    }


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def moved(server: Sshd, sources: Path, *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    given = {"settings": settings_of(server, sources), "calls": calls}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.file_mover", json.dumps(given)],
        capture_output=True, text=True, timeout=900, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_memory_stays_flat(server: Sshd, sources: Path, tmp_path: Path) -> None:
    target, copy, back = tmp_path / "target", tmp_path / "copy", sources / "back"
    target.write_bytes(OLD)
    host = server.host
    source = {"from_host": host, "from_path": str(target)}
    began = time.monotonic()
    found = moved(
        server,
        sources,
        ("file_put", {"host": host, "path": f"{tmp_path}/s", "source": f"{sources}/small"}),
        ("file_put", {"host": host, "path": str(target), "source": f"{sources}/large"}),
        ("file_put", {"host": host, "path": str(target), "source": f"{sources}/large"}),
        ("file_copy", {"host": host, "path": str(copy), **source}),
        ("file_get", {"host": host, "path": str(copy), "save_as": str(back),
                      "max_file_bytes": 2 * 1024**3}),
    )  # fmt: skip
    took = time.monotonic() - began
    assert not any(one["failed"] for one in found), found
    small, put, again, copied, got = found
    wanted = hashed(sources / "large")
    assert hashed(target) == hashed(copy) == hashed(back) == put["output"]["sha256"] == wanted
    assert [one["output"]["changed"] for one in (put, again, copied, got)] == [
        True,
        False,
        True,
        True,
    ]
    grown = [one["most"] - small["most"] for one in (put, again, copied, got)]
    print(
        f"{BLOCKS} MiB put, compared, copied, got in {took:.1f} s; memory {small['most']} + {grown}"
    )
    assert max(grown) < MORE_MEMORY, grown
    back.unlink()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").write_bytes(OLD)
    return tmp_path / "target"


def put_in_the_middle(
    server: Sshd, sources: Path, target: Path, opened: Resources, **changed: Any
) -> Run:
    wanted = {"host": server.host, "path": str(target), "source": f"{sources}/large", **changed}
    call = bound("file_put", backup=True, **wanted)
    return Run(opened, call, command(tenant="acme"))


def is_growing(folder: Path) -> bool:
    return any(part.stat().st_size > 4 * 1024**2 for part in folder.glob(".runstream-*.part"))


def cancelled(
    server: Sshd, sources: Path, target: Path, ready: Callable[[], bool], **changed: Any
) -> Run:
    async def inside() -> Run:
        opened = Resources(server.settings(transfer_folders=str(sources.parent)))
        try:
            run = put_in_the_middle(server, sources, target, opened, **changed)
            await run.cancelled(ready, 60)
            return run
        finally:
            await opened.close()

    return asyncio.run(inside())


def test_a_cancel_leaves_the_old_file(server: Sshd, sources: Path, target: Path) -> None:
    run = cancelled(server, sources, target, lambda: is_growing(target.parent))
    assert run.context.evidence == {}
    assert (run.context.stop.ended, run.context.stop.effect) == (True, "none")
    assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]
    percent = [one for one, text in run.progress if one is not None and "writing" in (text or "")]
    assert percent == sorted(percent) and 0 < percent[-1] < 100


def test_a_cancel_on_this_machine(server: Sshd, sources: Path) -> None:
    (sources / "here").mkdir()
    target = sources / "here" / "target"
    target.write_bytes(OLD)
    ready = partial(is_growing, target.parent)
    run = cancelled(server, sources, target, ready, host="localhost")
    assert (run.context.evidence, run.context.stop.ended) == ({}, True)
    assert run.context.stop.effect == "none"
    assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]


def test_a_host_that_does_not_answer_any_more(server: Sshd, sources: Path, target: Path) -> None:
    frozen: list[psutil.Process] = []

    def ready() -> bool:
        if not is_growing(target.parent):
            return False
        frozen.extend(psutil.Process(server.pid).children(recursive=True))
        for session in frozen:
            session.suspend()
        return True

    try:
        run = cancelled(server, sources, target, ready)
    finally:
        for session in frozen:
            session.kill()
    # It took a new connection, which the server still gave.
    assert (run.context.evidence, run.context.stop.ended) == ({}, True)
    assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]


def test_a_broken_connection_leaves_the_old_file(server: Sshd, sources: Path, target: Path) -> None:
    async def inside() -> Any:
        opened = Resources(server.settings(transfer_folders=str(sources.parent)))
        try:
            run = put_in_the_middle(server, sources, target, opened)
            task = asyncio.create_task(run.outcome())
            await until(lambda: is_growing(target.parent) or task.done())
            for session in psutil.Process(server.pid).children(recursive=True):
                session.kill()
            return await task
        finally:
            await opened.close()

    outcome = asyncio.run(inside())
    assert isinstance(outcome, Failure) and outcome.error_class == "connection_lost", outcome
    assert outcome.transient
    assert target.read_bytes() == OLD and names_in(target.parent) == ["target"]


def test_a_killed_executor_leaves_the_old_file(server: Sshd, sources: Path, target: Path) -> None:
    put = {"host": server.host, "path": str(target), "source": f"{sources}/large"}
    given = {"settings": settings_of(server, sources), "calls": [("file_put", put)]}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.file_mover", json.dumps(given)]
    )
    asyncio.run(until(lambda: is_growing(target.parent) or process.poll() is not None))
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    assert target.read_bytes() == OLD
    # What is left over is its owner's alone, and in the way of nobody.
    (left,) = parts_in(target.parent)
    assert (target.parent / left).stat().st_mode & 0o777 == 0o600
    (done,) = moved(server, sources, ("file_put", put))
    assert done["output"]["changed"] and hashed(target) == hashed(sources / "large")
