"""A Podman of its own: storage, networks and socket lie in one folder, and go with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from deploy.compose_check.commands import CheckFailed, run

#: Program, or file, and the Debian package that brings it.
NEEDED: Final = {
    "podman": "podman",
    "runc": "runc",
    "debootstrap": "debootstrap",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "/usr/bin/catatonit": "catatonit",
}
_SOCKET_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Engine:
    """A running engine: `address` is its socket, which speaks Docker's API."""

    folder: Path
    address: str
    base: tuple[str, ...]
    environment: dict[str, str]

    def podman(self, *arguments: str | Path, seconds: float = 120, given: str = "") -> str:
        """Podman on the same storage; its stdout."""
        return run(
            *self.base, *arguments, seconds=seconds, environment=self.environment, given=given
        )

    def has(self, image: str) -> bool:
        """Whether there is an image of that name."""
        with contextlib.suppress(CheckFailed):
            self.podman("image", "exists", image)
            return True
        return False

    def run_health_checks(self) -> None:
        """Run the health check of every container that is not known to be healthy.

        Podman leaves that to timers of systemd, which is not on every machine.
        """
        for state in ("starting", "unhealthy"):
            for container in self.podman("ps", "--quiet", f"--filter=health={state}").split():
                # It fails where the check does, which the engine notes.
                with contextlib.suppress(CheckFailed):
                    self.podman("healthcheck", "run", container, seconds=30)


def missing() -> list[str]:
    """The Debian packages that are not installed and have to be."""
    return [package for name, package in NEEDED.items() if shutil.which(name) is None]


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """The engine; whatever it started, mounted and made is gone afterwards, but for its images."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "containers.conf"
    settings.write_text(
        '[network]\nnetwork_backend = "netavark"\n'
        f'network_config_dir = "{folder / "networks"}"\n'
        '[containers]\ninit_path = "/usr/bin/catatonit"\n'
        '[engine]\ninit_path = "/usr/bin/catatonit"\nevents_logger = "file"\n'
        'cgroup_manager = "cgroupfs"\nruntime = "runc"\n',
        "utf-8",
    )
    base = (
        "podman",
        f"--root={folder / 'root'}",
        f"--runroot={folder / 'run'}",
        "--storage-driver=overlay",
    )
    address = f"unix://{folder / 'engine.sock'}"
    made = Engine(
        folder=folder,
        address=address,
        base=base,
        # Health checks are run by `run_health_checks`.
        environment={
            **os.environ,
            "CONTAINERS_CONF": str(settings),
            "DISABLE_HC_SYSTEMD": "true",
        },
    )
    with (folder / "engine.log").open("wb") as log:
        service = subprocess.Popen(
            [*base, "system", "service", "--time=0", address],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=made.environment,
        )
    try:
        _await_socket(folder / "engine.sock", service, folder / "engine.log")
        yield made
    finally:
        _remove_containers(made)
        service.terminate()
        try:
            service.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            service.kill()
        _end_monitors(folder)
        for mount in _mounts_below(folder):
            with contextlib.suppress(CheckFailed):
                run("umount", "--lazy", mount)


def _remove_containers(made: Engine) -> None:
    for words in (
        ("rm", "--force", "--all", "--volumes", "--time=0"),
        ("volume", "prune", "--force"),
        ("network", "prune", "--force"),
    ):
        try:
            made.podman(*words)
        except CheckFailed as error:
            print(f"taking down: {error}", flush=True)


def _await_socket(socket: Path, service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SOCKET_SECONDS
    while not socket.exists():
        if service.poll() is not None or time.monotonic() > deadline:
            said = log.read_text("utf-8", errors="replace")[-2000:]
            raise CheckFailed(f"Podman's service did not come up\n{said}")
        time.sleep(0.05)


def _end_monitors(folder: Path) -> None:
    """The monitor of an `exec` stays for five minutes, in case somebody asks how it ended."""
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or ()
        if process.info["name"] in ("conmon", "aardvark-dns") and any(
            str(folder) in word for word in words
        ):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _mounts_below(folder: Path) -> list[str]:
    """What is still mounted below the folder, the deepest first."""
    lines = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    points = [line.split()[1] for line in lines]
    return sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True)
