"""A real Apache Kafka on this machine, without a container engine."""

from __future__ import annotations

import base64
import logging
import shutil
import subprocess
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.child import Child, Launch
from devstack.errors import LocalStackError
from devstack.files import write_atomically
from devstack.jars import Report, ensure_jars
from devstack.java import find_java
from devstack.kafka_config import server_properties
from devstack.ports import assign_ports, is_free
from devstack.server import LocalServer

_log = logging.getLogger(__name__)

_FORMAT_SECONDS = 60
#: Measured: 250 MB resident after the start, 410 MB under 220,000 records/s of 500 bytes to 240
#: partitions; with 768 MB and 1 GB the rate differed by less than it does from run to run.
DEFAULT_HEAP_MEGABYTES = 512
_FIRST_HEAP_MEGABYTES = 64
#: For a machine with few cores: the serial collector, the fast compiler only (the optimizing one
#: takes more time in the first minutes than it saves, also while nothing happens), and no file of
#: performance counters for monitoring tools of the JVM.
_SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData")


class KafkaServer(LocalServer):
    """A single-node broker whose data, configuration and log are in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        heap_megabytes: int = DEFAULT_HEAP_MEGABYTES,
        small: bool = True,
        report: Report = _log.debug,
        log: Path | None = None,
    ) -> None:
        """Nothing is read or written before the start.

        Without `small` the JVM chooses its collector and compilers for load: faster once it is
        warm, and larger.
        """
        self._folder = folder.resolve()
        self._options = _SMALL if small else ()
        self._heap_megabytes = heap_megabytes
        self._report = report
        self._log = log or self._folder / "kafka.log"
        self._port = 0

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect; known once prepared."""
        return f"127.0.0.1:{self._port}"

    def prepare(self) -> Child:
        """Fetch what is missing, format the data folder if it is new, and write the settings."""
        java = str(find_java())
        classpath = ":".join(str(jar) for jar in ensure_jars(self._report))
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ports = assign_ports(self._folder / "ports.json", ["broker", "controller"])
        self._port = ports["broker"]
        data = self._folder / "data"
        if not data.exists():
            self._format(java, classpath, data, ports)
        properties = self._folder / "server.properties"
        write_atomically(properties, server_properties(data, ports["broker"], ports["controller"]))
        self._child = Child(
            Launch(
                name="kafka",
                argv=(
                    java,
                    f"-Xms{min(_FIRST_HEAP_MEGABYTES, self._heap_megabytes)}m",
                    f"-Xmx{self._heap_megabytes}m",
                    *self._options,
                    "-XX:+ExitOnOutOfMemoryError",
                    "-Djava.awt.headless=true",
                    *_logging("warn"),
                    "kafka.Kafka",
                    str(properties),
                ),
                # As a variable, since 46 paths in the argv make process lists unreadable.
                env={"CLASSPATH": classpath, "MALLOC_ARENA_MAX": "2"},
                log=self._log,
                grace_seconds=20.0,
            )
        )
        return self._child

    def is_ready(self) -> bool:
        """Whether a client gets metadata with a live broker."""
        if is_free(self._port):
            # While nothing listens librdkafka would report connection errors.
            return False
        client = AdminClient(
            {"bootstrap.servers": self.bootstrap_servers, "socket.timeout.ms": 2000},
            logger=_SILENT,
        )
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def _format(self, java: str, classpath: str, data: Path, ports: dict[str, int]) -> None:
        # In another folder that is renamed last: an interrupted format is not taken for data.
        draft = self._folder / "data.draft"
        shutil.rmtree(draft, ignore_errors=True)
        properties = self._folder / "format.properties"
        content = server_properties(draft, ports["broker"], ports["controller"])
        write_atomically(properties, content)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [java, "-Xmx128m", *_logging("error"), "-cp", classpath, "kafka.tools.StorageTool"]
        try:
            # An id that begins with a dash would be read as an option, hence the `=` form.
            answer = subprocess.run(
                [*tool, "format", f"--cluster-id={cluster}", "--config", str(properties)],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=_FORMAT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalStackError(f"Formatting {data} took over {_FORMAT_SECONDS} s.") from error
        if answer.returncode != 0:
            raise LocalStackError(f"Formatting {data} failed: {answer.stderr or answer.stdout}")
        properties.unlink()
        draft.rename(data)


def _logging(level: str) -> tuple[str, ...]:
    prefix = "-Dorg.slf4j.simpleLogger."
    return (
        f"{prefix}defaultLogLevel={level}",
        f"{prefix}showDateTime=true",
        f"{prefix}dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    )


_SILENT = logging.getLogger("devstack.kafka.probe")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
