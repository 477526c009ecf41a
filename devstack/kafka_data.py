"""The data folder of the local broker, and the login that is kept in it."""

from __future__ import annotations

import base64
import shutil
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.child import Child
from devstack.errors import LocalStackError
from devstack.files import write_atomically
from devstack.jars import Report
from devstack.kafka_config import BrokerPorts, server_properties
from devstack.kafka_jvm import Jvm
from devstack.kafka_ready import serves
from devstack.login import MECHANISM, OWNER, Login, new_login, stored_login
from devstack.ports import free_port
from devstack.server import LocalServer
from runtime.kafka.access import ITERATIONS, set_passwords

_PASSWORD_FILE = "password"  # noqa: S105 - a file name
_HEAP_MEGABYTES = 256


def ensure_data(
    jvm: Jvm, folder: Path, ports: BrokerPorts, log: Path, report: Report
) -> tuple[Path, Login]:
    """The data folder below `folder` and the owner's login; made where they are missing.

    The data of a broker without a login, as earlier versions left it, gets one.
    """
    data = folder / "data"
    file = folder / _PASSWORD_FILE
    login = stored_login(file)
    if login is not None and data.exists():
        return data, login
    login = new_login(OWNER)
    if data.exists():
        report("the broker's data has no login yet: adding one")
        _set_login(jvm, folder, data, login, log)
        write_atomically(file, login.password)
    else:
        # The password first: data is not formatted again, and without it nobody could log in.
        write_atomically(file, login.password)
        _format(jvm, folder, data, ports, login)
    return data, login


def _format(jvm: Jvm, folder: Path, data: Path, ports: BrokerPorts, login: Login) -> None:
    # In another folder that is renamed last: an interrupted format is not taken for data.
    draft = folder / "data.draft"
    shutil.rmtree(draft, ignore_errors=True)
    properties = folder / "format.properties"
    write_atomically(properties, server_properties(draft, ports, login))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    user = f"name={login.username},iterations={ITERATIONS},password={login.password}"
    jvm.format(
        [
            # An id that begins with a dash would be read as an option, hence the `=` form.
            f"--cluster-id={cluster}",
            f"--config={properties}",
            f"--add-scram={MECHANISM}=[{user}]",
        ],
        folder / "format.arguments",
    )
    properties.unlink()
    draft.rename(data)


def _set_login(jvm: Jvm, folder: Path, data: Path, login: Login, log: Path) -> None:
    """Give existing data the login, by a broker that runs for that alone.

    It listens on other ports than usual and takes a password that ends with it, so that nobody
    who waits for the broker on its usual port learns anything.
    """
    first = new_login(login.username)
    server = _FirstBroker(jvm, folder, data, first, log)
    server.start()
    try:
        set_passwords(AdminClient(dict(server.options)), {login.username: login.password})
    except (KafkaException, TimeoutError) as error:
        raise LocalStackError(f"The broker's data could not be given a login: {error}") from None
    finally:
        server.stop()
        server.properties.unlink(missing_ok=True)


class _FirstBroker(LocalServer):
    """A broker that is asked to store the first login."""

    def __init__(self, jvm: Jvm, folder: Path, data: Path, login: Login, log: Path) -> None:
        """Write its settings; it does not run yet."""
        self._jvm = jvm
        self._log = log
        self._port = free_port()
        ports = BrokerPorts(self._port, free_port({self._port}))
        self.properties = folder / "first.properties"
        write_atomically(self.properties, server_properties(data, ports, login, first=True))
        self.options = {
            **login.options(),
            "sasl.mechanism": "PLAIN",
            "bootstrap.servers": f"127.0.0.1:{self._port}",
        }

    def prepare(self) -> Child:
        """The process, not started yet."""
        self._child = self._jvm.broker(self.properties, _HEAP_MEGABYTES, self._log, small=True)
        return self._child

    def is_ready(self) -> bool:
        """Whether a client gets metadata with a live broker."""
        return serves(self._port, self.options)
