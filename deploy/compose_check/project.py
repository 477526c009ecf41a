"""The project of compose.yaml under a name, passwords and ports of the check's own."""

from __future__ import annotations

import json
import os
import resource
import secrets
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from deploy.compose_check.commands import CheckFailed, run
from deploy.compose_check.engine import Engine
from deploy.compose_check.images import ROOT
from devstack.ports import free_port

_PASSWORDS: Final = (
    *("KAFKA_PASSWORD", "POSTGRES_PASSWORD", "ASSETS_PASSWORD"),
    *("KAFKA_UI_PASSWORD", "GRAFANA_PASSWORD"),
)
_PORTS: Final = (
    *("KAFKA_PORT", "POSTGRES_PORT", "API_PORT", "KAFKA_UI_PORT"),
    *("PROMETHEUS_PORT", "GRAFANA_PORT"),
)
_HEALTH_SECONDS: Final = 5.0
#: Of processes and of open files: more than any service of the file needs.
_MOST: Final = 4_096


@dataclass(frozen=True)
class Project:
    """compose.yaml on an engine; `values` are what stands in its `.env`."""

    engine: Engine
    program: Path
    folder: Path
    files: tuple[str, ...]
    values: dict[str, str]

    def compose(self, *arguments: str, seconds: float = 120) -> str:
        """`docker compose ARGUMENTS` of this project; its stdout."""
        return run(
            *self._words(*arguments), seconds=seconds, environment=self._environment(), folder=ROOT
        )

    def up(self, services: list[str], seconds: float) -> None:
        """Start these and what they need, and wait until each is healthy or has ended well."""
        log = self.folder / "up.log"
        deadline = time.monotonic() + seconds
        words = self._words("up", "--detach", "--no-build", "--pull=never", *services)
        with (
            log.open("wb") as written,
            subprocess.Popen(
                words,
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            ) as starting,
        ):
            try:
                while starting.poll() is None:
                    if time.monotonic() > deadline:
                        raise CheckFailed(f"docker compose up has not ended{_end(log)}")
                    self.engine.run_health_checks()
                    time.sleep(_HEALTH_SECONDS)
            finally:
                starting.kill()
        if starting.returncode != 0:
            raise CheckFailed(f"docker compose up ended with {starting.returncode}{_end(log)}")
        while waiting := {name: state for name, state in self.states().items() if not _well(state)}:
            if time.monotonic() > deadline:
                raise CheckFailed(f"not well after {seconds:.0f} s: {waiting}")
            self.engine.run_health_checks()
            time.sleep(_HEALTH_SECONDS)

    def states(self) -> dict[str, str]:
        """Every service that has a container, with its state: `running (healthy)`, `exited (0)`."""
        lines = self.compose("ps", "--all", "--format=json").splitlines()
        found = [json.loads(line) for line in lines]
        return {
            one["Service"]: f"{one['State']} ({one['Health'] or one['ExitCode']})" for one in found
        }

    def port(self, name: str) -> int:
        """The port of this machine that a variable of compose.yaml was given."""
        return int(self.values[name])

    def _words(self, *arguments: str) -> list[str]:
        return [
            *(str(self.program), "--project-name=runstream-check", "--ansi=never"),
            *(f"--env-file={self.folder / 'values.env'}", "--profile=metrics"),
            *(f"--file={file}" for file in self.files),
            *arguments,
        ]

    def _environment(self) -> dict[str, str]:
        # Nothing else: a setting of this shell would reach the containers.
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DOCKER_HOST": self.engine.address,
            "COMPOSE_PROGRESS": "plain",
        }


def prepare(engine: Engine, program: Path, folder: Path, files: tuple[str, ...]) -> Project:
    """A project with new passwords, on free ports of loopback."""
    values = {name: secrets.token_hex(24) for name in _PASSWORDS}
    ports: set[int] = set()
    while len(ports) < len(_PORTS):
        ports.add(free_port())
    values |= {name: str(port) for name, port in zip(_PORTS, sorted(ports), strict=True)}
    written = folder / "values.env"
    written.touch(mode=0o600)
    written.write_text("".join(f"{name}={value}\n" for name, value in values.items()), "utf-8")
    project = Project(engine, program, folder, files, values)
    limits = folder / "limits.json"
    names = project.compose("config", "--services").split()
    services = {name: {"ulimits": _limits()} for name in names}
    limits.write_text(json.dumps({"services": services}), "utf-8")
    return replace(project, files=(*files, str(limits)))


def _limits() -> dict[str, int]:
    """Podman gives containers as much as the kernel knows, which a confined machine does not allow.

    Nor does it allow all that this process may have.
    """
    names = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(number)[1] for name, number in names.items()}
    return {name: min(most, _MOST) if most >= 0 else _MOST for name, most in hard.items()}


def _well(state: str) -> bool:
    return state in ("running (healthy)", "exited (0)")


def _end(log: Path) -> str:
    return "\n" + "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-25:])
