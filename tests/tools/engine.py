"""A container engine of the tests' own: Podman's service, which the Docker programs can talk to.

The image is one static busybox, so nothing is fetched; everything lies in a folder of the test.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

IMAGE = "localhost/tiny:1"
#: No network and low limits: what a container may have where the tests themselves are confined.
MODEST = ("--network=none", "--ulimit=nofile=256:256", "--ulimit=nproc=256:256")
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Engine:
    """A running engine; `address` is its socket."""

    address: str
    base: tuple[str, ...]

    def podman(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Podman beside the service, on the same storage."""
        return subprocess.run(
            [*self.base, *arguments], input=data, capture_output=True, timeout=60, check=False
        )

    def run(self, name: str, *words: str) -> None:
        """Start a container that stays."""
        done = self.podman("run", "--detach", f"--name={name}", *MODEST, IMAGE, *words)
        assert done.returncode == 0, done.stderr

    def remove(self, *names: str) -> None:
        """End and remove containers, whether they are there or not."""
        self.podman("rm", "--force", "--ignore", "--time=0", *names)


@contextmanager
def engine(folder: Path, authorities: Path | None = None) -> Iterator[Engine]:
    """The engine; skips where there is none, or where containers cannot be started here.

    `authorities` are those that it trusts when it asks a registry.
    """
    for program, package in (("podman", "podman"), ("runc", "runc")):
        if shutil.which(program) is None:
            pytest.skip(f"program {program} is not installed: apt install {package}")
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("program busybox is not installed: apt install busybox-static")
    base = (
        "podman",
        f"--root={folder / 'root'}",
        f"--runroot={folder / 'run'}",
        "--storage-driver=vfs",
        "--cgroup-manager=cgroupfs",
        "--events-backend=file",
        "--runtime=runc",
    )
    socket = folder / "engine.sock"
    made = Engine(f"unix://{socket}", base)
    imported = made.podman("import", "-", IMAGE, data=_image(Path(busybox)))
    tried = made.podman("run", "--rm", *MODEST, IMAGE, "/bin/busybox", "true")
    if imported.returncode or tried.returncode:
        said = (imported.stderr + tried.stderr).decode(errors="replace").strip()
        pytest.skip(f"containers cannot be started here: {said[-300:]}")
    service = subprocess.Popen(
        [*base, "system", "service", "--time=0", made.address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **({"SSL_CERT_FILE": str(authorities)} if authorities else {})},
    )
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not socket.exists():
            assert service.poll() is None, "the engine's service ended"
            assert time.monotonic() < deadline, "the engine's service did not come up"
            time.sleep(0.05)
        yield made
    finally:
        made.podman("rm", "--force", "--all", "--time=0")
        service.terminate()
        service.wait(_PATIENCE_SECONDS)
        _end_monitors(folder)


def _end_monitors(folder: Path) -> None:
    """The monitor of an `exec` stays for five minutes, in case somebody asks how it ended."""
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or ()
        if process.info["name"] == "conmon" and any(str(folder) in word for word in words):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _image(busybox: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(busybox, "bin/busybox")
        for name in ("sh", "cat", "id", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return file.getvalue()
