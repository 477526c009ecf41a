"""`make bench`: the system, the same unguarded, and the bare loop, on one broker in the same run.

Prints a table and writes `build/bench.json`. They are measured in turn, round by round, since the
machine's speed drifts; what counts is the median of each and the ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from authority.key_folder import KeyFolder
from bench.load import Load, Options, bare_request, system_request
from devstack.kafka import KafkaServer
from devstack.ports import assign_ports
from runtime.settings import KAFKA_OPTIONS
from streams.topics import all_topics

#: What is measured; each has topics of its own, with its name as their prefix.
SYSTEM, UNGUARDED, BARE = "system", "unguarded", "bare"
#: Rounds of warming up, at most; and what one that still falls has of the CPU of the one before.
WARM_UPS = 8
STILL_FALLING = 0.93
#: The concurrency of an executor bounds its claims; no-op steps take no room, so it may be high.
EXECUTOR = {
    "RUNSTREAM_CONCURRENCY": "1024",
    "RUNSTREAM_IMMEDIATE_CONCURRENCY": "256",
    "RUNSTREAM_ENVIRONMENT": "dev",
}


def main() -> int:
    """Measure and report; 0 whatever the figures are, since they are measured and not asserted."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--executions", type=int, default=4_000, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=200, help="executions timed one by one")
    parser.add_argument("--in-flight", type=int, default=2_000)
    parser.add_argument("--locks", action="store_true", help="steps lock an asset, and change none")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runstream-bench-") as folder:
        server = KafkaServer(Path(folder) / "kafka", small=False)
        server.start()
        try:
            figures = _measure(server, Path(folder), wanted)
        finally:
            server.stop()
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(figures, indent=2) + "\n")
    _show(figures)
    print(f"\nwritten to {wanted.output}")
    return 0


def _measure(server: KafkaServer, folder: Path, wanted: argparse.Namespace) -> dict[str, Any]:
    options = server.client_options
    _create_topics(options)
    KeyFolder(folder / "keys").complete("bench")
    rounds: dict[str, list[float]] = {}
    spent: dict[str, dict[str, float]] = {}
    figures: dict[str, Any] = {}
    with ExitStack() as running:
        loads: dict[str, Load] = {}
        pids: dict[str, dict[str, int]] = {}
        guarded = partial(system_request, locks=wanted.locks)
        for name, module, request in (
            (SYSTEM, "console", guarded),
            (UNGUARDED, "bench.unguarded", guarded),
            (BARE, "bench.bare", bare_request),
        ):
            found = running.enter_context(_processes(options, folder, name, module))
            pids[name] = {**found, "broker": server.pid or 0}
            loads[name] = Load(options, f"{name}.", request)
            running.callback(loads[name].close)
        for load in loads.values():
            _warm_up(load, server.pid or 0, wanted.executions // 2, wanted.in_flight)
        for _ in range(wanted.rounds):
            for name, load in loads.items():
                before = {part: _cpu_seconds(pid) for part, pid in pids[name].items()}
                speed = load.throughput(wanted.executions, 5, wanted.in_flight)
                rounds.setdefault(name, []).append(speed)
                for part, pid in pids[name].items():
                    used = (_cpu_seconds(pid) - before[part]) * 1_000 / wanted.executions
                    parts = spent.setdefault(name, {})
                    parts[part] = parts.get(part, 0.0) + used / wanted.rounds
        for name in (SYSTEM, BARE):
            for steps, word in ((1, "one"), (5, "five")):
                loads[name].latency(wanted.samples // 4, steps)
                times = _percentiles(loads[name].latency(wanted.samples, steps))
                figures[f"{'' if name == SYSTEM else 'bare_'}{word}_step_ms"] = times
    speeds = {name: statistics.median(values) for name, values in rounds.items()}
    return {
        "executions_per_second": round(speeds[SYSTEM], 1),
        "unguarded_executions_per_second": round(speeds[UNGUARDED], 1),
        "bare_executions_per_second": round(speeds[BARE], 1),
        "ratio": round(speeds[SYSTEM] / speeds[BARE], 3),
        "ratio_to_unguarded": round(speeds[SYSTEM] / speeds[UNGUARDED], 3),
        **figures,
        "cpu_ms_per_execution": {
            name: {part: round(used, 3) for part, used in parts.items()}
            for name, parts in spent.items()
        },
        "rounds": {name: [round(value, 1) for value in values] for name, values in rounds.items()},
        "steps": 5,
        "executions_per_round": wanted.executions,
        "in_flight": wanted.in_flight,
        "locks": wanted.locks,
        "cores": os.cpu_count(),
    }


def _warm_up(load: Load, broker: int, executions: int, in_flight: int) -> None:
    """Run until the broker's CPU per execution stops falling: its compiler is done, or so nearly.

    In the first seconds of a JVM compiling costs more than the work itself.
    """
    last = math.inf
    for _ in range(WARM_UPS):
        before = _cpu_seconds(broker)
        load.throughput(executions, 5, in_flight)
        used = _cpu_seconds(broker) - before
        if used > last * STILL_FALLING:
            return
        last = used


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {name: round(cuts[at - 1], 2) for name, at in (("p50", 50), ("p95", 95), ("p99", 99))}


def _create_topics(options: Options) -> None:
    admin = AdminClient(dict(options))
    new = [
        NewTopic(f"{name}.{topic.name}", topic.partitions, 1, config=topic.config())
        for name in (SYSTEM, UNGUARDED, BARE)
        for topic in all_topics()
    ]
    for future in admin.create_topics(new, operation_timeout=30).values():
        future.result(60)


@contextmanager
def _processes(options: Options, folder: Path, name: str, module: str) -> Iterator[dict[str, int]]:
    """A router and an executor of one kind; gives their process ids."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    login = {key: value for key, value in options.items() if key != "bootstrap.servers"}
    keys = KeyFolder(folder / "keys")
    ports = assign_ports(folder / "ports.json", [f"{name}.router", f"{name}.executor"])
    try:
        for part, words in (("router", []), ("executor", ["--domain", "test"])):
            environment = {
                **os.environ,
                **EXECUTOR,
                "KAFKA_BOOTSTRAP_SERVERS": options["bootstrap.servers"],
                KAFKA_OPTIONS: json.dumps(login),
                "RUNSTREAM_TOPIC_PREFIX": f"{name}.",
                "RUNSTREAM_INSTANCE": f"bench-{part}",
                "RUNSTREAM_HTTP_PORT": str(ports[f"{name}.{part}"]),
                "RUNSTREAM_LOG_LEVEL": "warning",
                "RUNSTREAM_TEST_TOOLS": "true",
                "RUNSTREAM_SIGNING_KEY": str(keys.private(part)),
                "RUNSTREAM_TRUSTED_KEYS": str(keys.trusted),
            }
            command = [sys.executable, "-m", module, part, *(words if name != BARE else [])]
            started[part] = subprocess.Popen(command, env=environment)
            if name != BARE:
                _wait_until_ready(ports[f"{name}.{part}"], started[part])
        yield {part: process.pid for part, process in started.items()}
    finally:
        for process in reversed(started.values()):
            process.terminate()
        for process in reversed(started.values()):
            process.wait(30)


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"a process of the system ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError("a process of the system did not become ready")


def _show(figures: dict[str, Any]) -> None:
    print("\nfive-step no-op executions per second (median of the rounds)")
    print(f"  system      {figures['executions_per_second']:>10,.0f}")
    print(f"  unguarded   {figures['unguarded_executions_per_second']:>10,.0f}")
    print(f"  ratio       {figures['ratio_to_unguarded']:>10.2f}   (goal: at least 0.80)")
    print(f"  bare loop   {figures['bare_executions_per_second']:>10,.0f}")
    print(f"  ratio       {figures['ratio']:>10.2f}   (goal: at least 0.50)")
    for name, parts in figures["cpu_ms_per_execution"].items():
        used = ", ".join(f"{part} {value:.2f}" for part, value in parts.items())
        print(f"  CPU ms per execution, {name}: {used}")
    print("\nsubmitted → ended, one at a time, milliseconds")
    print(f"  {'':<22}{'p50':>8}{'p95':>8}{'p99':>8}")
    for name, words in (
        ("one_step_ms", "system, one step"),
        ("five_step_ms", "system, five steps"),
        ("bare_one_step_ms", "bare, one step"),
        ("bare_five_step_ms", "bare, five steps"),
    ):
        row = figures[name]
        print(f"  {words:<22}{row['p50']:>8.1f}{row['p95']:>8.1f}{row['p99']:>8.1f}")


if __name__ == "__main__":
    sys.exit(main())
