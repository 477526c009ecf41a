"""The Java programs of Apache Kafka: the broker, and the tool that formats its data folder."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from devstack.child import Child, Launch
from devstack.errors import LocalStackError
from devstack.files import write_atomically
from devstack.jars import Report, ensure_jars
from devstack.java import find_java

_FORMAT_SECONDS = 60
_FIRST_HEAP_MEGABYTES = 64
#: For a machine with few cores: the serial collector, the fast compiler only (the optimizing one
#: takes more time in the first minutes than it saves, also while nothing happens), and no file of
#: performance counters for monitoring tools of the JVM.
_SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData")


@dataclass(frozen=True)
class Jvm:
    """A Java and the jars of Kafka."""

    java: str
    classpath: str

    def broker(self, properties: Path, heap_megabytes: int, log: Path, *, small: bool) -> Child:
        """The broker with these settings, not started yet."""
        return Child(
            Launch(
                name="kafka",
                argv=(
                    self.java,
                    f"-Xms{min(_FIRST_HEAP_MEGABYTES, heap_megabytes)}m",
                    f"-Xmx{heap_megabytes}m",
                    *(_SMALL if small else ()),
                    "-XX:+ExitOnOutOfMemoryError",
                    "-Djava.awt.headless=true",
                    *_logging("warn"),
                    "kafka.Kafka",
                    str(properties),
                ),
                # As a variable, since 46 paths in the argv make process lists unreadable.
                env={"CLASSPATH": self.classpath, "MALLOC_ARENA_MAX": "2"},
                log=log,
                grace_seconds=20.0,
            )
        )

    def format(self, arguments: list[str], file: Path) -> None:
        """Run `kafka-storage format`; raises LocalStackError where it fails.

        The arguments, a password among them, are read from `file`: every user sees an argv.
        """
        write_atomically(file, "".join(f"{argument}\n" for argument in ["format", *arguments]))
        tool = [self.java, *_SMALL, "-Xmx128m", *_logging("error"), "-cp", self.classpath]
        try:
            answer = subprocess.run(
                [*tool, "kafka.tools.StorageTool", f"@{file}"],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_FORMAT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LocalStackError(
                f"Formatting the broker's data took over {_FORMAT_SECONDS} s."
            ) from None
        finally:
            file.unlink()
        if answer.returncode != 0:
            said = answer.stderr or answer.stdout
            # It repeats an argument that it does not understand.
            lines = [line for line in said.splitlines() if "password" not in line]
            raise LocalStackError("Formatting the broker's data failed: " + "\n".join(lines))


def find_jvm(report: Report) -> Jvm:
    """The Java of this machine and the jars, which are fetched where they are missing."""
    java = str(find_java())
    return Jvm(java, ":".join(str(jar) for jar in ensure_jars(report)))


def _logging(level: str) -> tuple[str, ...]:
    prefix = "-Dorg.slf4j.simpleLogger."
    return (
        f"{prefix}defaultLogLevel={level}",
        f"{prefix}showDateTime=true",
        f"{prefix}dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    )
