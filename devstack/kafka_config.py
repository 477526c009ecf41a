"""The broker's configuration: one KRaft node that is both controller and broker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devstack.login import MECHANISM, Login, new_login

#: For clusters of one node: the local stack, and the container of the tests.
ONE_NODE: Final[dict[str, str | int]] = {
    # There is one node to hold each of the broker's own topics.
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "min.insync.replicas": 1,
    # The defaults of 50 partitions each cost start-up time and serve clusters only.
    "offsets.topic.num.partitions": 8,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 1,
    # A broker that was killed may not register again until its old session is over: with the
    # default of 9 s a restart takes 12 s instead of 6.
    "broker.session.timeout.ms": 4000,
    "broker.heartbeat.interval.ms": 1000,
    # The controller writes an empty record whenever nothing happened for that long, which every
    # broker reads; the default of 500 ms is a good part of what an idle broker does.
    "metadata.max.idle.interval.ms": 5000,
    # The first member of a group need not wait for others to join.
    "group.initial.rebalance.delay.ms": 0,
    # Topics come from the registry only; a misspelt name is an error.
    "auto.create.topics.enable": "false",
    # A producer's wrong clock must not decide when records are deleted.
    "log.message.timestamp.type": "LogAppendTime",
    # Allocated for the whole run; the default of 128 MB is a quarter of the heap. Enough for
    # 150,000 keys in one pass.
    "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
    "log.index.size.max.bytes": 2 * 1024 * 1024,
    "num.io.threads": 4,
    "num.network.threads": 2,
    "background.threads": 2,
    # The broker's metrics are not read here, and JMX keeps an object for each.
    "metric.reporters": "",
}


@dataclass(frozen=True)
class BrokerPorts:
    """Where the broker listens on loopback."""

    clients: int
    controller: int


def server_properties(
    data: Path,
    ports: BrokerPorts,
    login: Login,
    kcat: Login | None = None,
    *,
    first: bool = False,
) -> str:
    """The text of `server.properties`, written anew at each start.

    Nobody connects without a login, other users of the machine included: neither to the port of
    clients nor to that of the controller. The controller cannot look a user up before it has read
    its log, hence PLAIN there; the one who connects is this very process, and its password is
    another one at each start.

    `kcat` may log in by PLAIN besides. With `first` the owner does so, and nobody by SCRAM: the
    broker runs to be told the SCRAM login of `login`.
    """
    mechanism = "PLAIN" if first else MECHANISM
    module = _plain(login) if first else login.jaas()
    mechanisms = mechanism
    others: dict[str, str] = {}
    if kcat is not None:
        mechanisms += ",PLAIN"
        others["listener.name.clients.plain.sasl.jaas.config"] = _accepted(kcat)
    controller = _plain(new_login(login.username))
    settings: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
        "listeners": f"CLIENTS://127.0.0.1:{ports.clients},"
        f"CONTROLLER://127.0.0.1:{ports.controller}",
        "advertised.listeners": f"CLIENTS://127.0.0.1:{ports.clients}",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol": mechanism,
        "listener.name.clients.sasl.enabled.mechanisms": mechanisms,
        f"listener.name.clients.{mechanism.lower()}.sasl.jaas.config": module,
        **others,
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": controller,
        # Other users than the owner get what is granted to them, and nothing else.
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{login.username}",
        "log.dirs": str(data),
        **ONE_NODE,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _accepted(login: Login) -> str:
    """One user of a listener with PLAIN; the broker itself logs in otherwise."""
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return f'{module} required user_{login.username}="{login.password}";'


def _plain(login: Login) -> str:
    """One user of a listener with PLAIN, as whom the broker connects to itself too."""
    return (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{login.username}" password="{login.password}" '
        f'user_{login.username}="{login.password}";'
    )
