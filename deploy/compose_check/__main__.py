"""Bring compose.yaml up with Podman, run the README's first plan, take everything down.

`python -m deploy.compose_check [--registry] [--storage FOLDER] [--minutes N]`. As root, on Debian.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.compose_check import images, kafka_ui, plan, prometheus
from deploy.compose_check.commands import CheckFailed, run
from deploy.compose_check.engine import Engine, engine, missing
from deploy.compose_check.project import Project, prepare

#: Services of compose.yaml by the image that only a registry has.
_BY_IMAGE = {"kafbat/kafka-ui:v1.5.0": "kafka-ui", "grafana/grafana:12.2.0": "grafana"}
_UP_SECONDS = 300.0


def main() -> int:
    """Exit code 0 only where everything was seen that is printed."""
    words = argparse.ArgumentParser(prog="python -m deploy.compose_check")
    words.add_argument("--registry", action="store_true", help="fetch the images, make none here")
    words.add_argument("--storage", type=Path, help="keep the images in this folder")
    words.add_argument("--minutes", type=int, default=20, help="give up after these")
    given = words.parse_args()
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, _stop)
    signal.alarm(given.minutes * 60)
    started = time.monotonic()
    folder = given.storage or Path(tempfile.mkdtemp(prefix="runstream-compose-"))
    try:
        _check(folder.resolve(), registry=given.registry)
    except (CheckFailed, KeyboardInterrupt) as error:
        print(f"\ncompose-check failed: {error or 'stopped'}", file=sys.stderr)
        return 1
    finally:
        signal.alarm(0)
        if given.storage is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\ncompose-check passed in {time.monotonic() - started:.0f} s", flush=True)
    return 0


def _check(folder: Path, *, registry: bool) -> None:
    program = _compose_program()
    if os.geteuid() != 0:
        raise CheckFailed("Podman's own storage and networks need root here")
    if packages := missing():
        raise CheckFailed(f"install what is missing: apt-get install {' '.join(packages)}")
    with engine(folder) as made, tempfile.TemporaryDirectory(prefix="runstream-check-") as own:
        with _stage("images"):
            _prepare_images(made, registry=registry)
        project = prepare(made, program, Path(own), ("compose.yaml",))
        left_out = [] if registry else list(_BY_IMAGE.values())
        services = project.compose("config", "--services").split()
        try:
            with _stage("up, from nothing to healthy"):
                project.up([name for name in services if name not in left_out], _UP_SECONDS)
            for name, state in sorted(project.states().items()):
                print(f"    {name}: {state}")
            outcome = _run_plan(project)
            _look(project, outcome, registry=registry)
            with _stage("down and up again: the volumes keep the execution"):
                project.compose("down", "--timeout=40", seconds=200)
                project.up([name for name in services if name not in left_out], _UP_SECONDS)
                plan.told(project, outcome)
        except CheckFailed:
            print(project.compose("logs", "--no-color", "--tail=15"), file=sys.stderr)
            raise
        finally:
            with _stage("down"):
                project.compose(
                    "down", "--volumes", "--remove-orphans", "--timeout=10", seconds=200
                )


def _prepare_images(made: Engine, *, registry: bool) -> None:
    if registry:
        images.pull_all(made, [*images.STANDS_FOR, *images.ONLY_THEIR_OWN])
    else:
        images.make_all(made)
        for name, stand_in in images.STANDS_FOR.items():
            print(f"    {name} is here: {stand_in.what}")
    images.build_runstream(made, "runstream")


def _run_plan(project: Project) -> plan.Outcome:
    with _stage("the README's first plan, published to Kafka"):
        plan.publish(project)
        outcome = plan.follow(project)
        print(f"    {outcome.execution_id}: {', '.join(outcome.events)}")
    with _stage("in Postgres"):
        rows = plan.stored(project, outcome)
        if rows != outcome.events:
            raise CheckFailed(f"the table has {rows}")
    with _stage("by the HTTP API and the console"):
        plan.told(project, outcome)
        plan.console_page(project)
    return outcome


def _look(project: Project, outcome: plan.Outcome, *, registry: bool) -> None:
    with _stage("by Kafka's own console consumer, with the login of Kafka UI"):
        kafka_ui.login_reads(project, outcome)
    if registry:
        with _stage("by Kafka UI's own API"):
            print(f"    {kafka_ui.shows(project, outcome)} events")
    else:
        print(
            "  NOT CHECKED: Kafka UI and Grafana. Only their own images have them, and without "
            "--registry none is fetched."
        )
    with _stage("by Prometheus: every process is scraped, every rule is loaded"):
        prometheus.scrapes(project)


def _compose_program() -> Path:
    """Docker Compose 2, which `.ci/programs docker-compose` builds."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    built = Path(base) / "runstream" / "programs" / "docker-compose"
    plugin = Path("/usr/libexec/docker/cli-plugins/docker-compose")
    for candidate in (built, plugin):
        if candidate.is_file():
            run(candidate, "version")
            return candidate
    raise CheckFailed("Docker Compose 2 is not here: .ci/programs docker-compose builds it")


@contextmanager
def _stage(what: str) -> Iterator[None]:
    print(f"  {what} …", flush=True)
    begun = time.monotonic()
    yield
    print(f"  {what}: {time.monotonic() - begun:.1f} s", flush=True)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise CheckFailed("the time is over" if number == signal.SIGALRM else "stopped")


if __name__ == "__main__":
    sys.exit(main())
