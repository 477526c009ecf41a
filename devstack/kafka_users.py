"""The users of the embedded broker besides its owner: kcat, and one per process with a role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devstack.errors import LocalStackError
from devstack.login import KCAT, Login, new_login
from devstack.processes import ProcessSpec
from runtime.kafka import access as cluster
from streams import access

#: Begins their names, so that they are no users that `runstream topics acls` declares.
_PREFIX: Final = "local-"


def make_users(
    owner: Mapping[str, str | int | float | bool], specs: Iterable[ProcessSpec], prefix: str
) -> dict[str, Login]:
    """Logins by the names of the processes with a role, each allowed what that needs and no more.

    The passwords are new at each start, and stand in no file. `owner` are the options of the
    owner's client, `prefix` is that of all topics. Raises LocalStackError.
    """
    users = {spec.name: found for spec in specs if (found := principal(spec, prefix)) is not None}
    logins = {name: new_login(user.name) for name, user in users.items()}
    # The broker's configuration has its password, so that it is there with the broker.
    kcat = access.people(KCAT, prefix)
    admin = AdminClient(dict(owner))
    try:
        cluster.apply(admin, [*users.values(), kcat], remove=True)
        cluster.set_passwords(admin, {one.username: one.password for one in logins.values()})
    except (KafkaException, TimeoutError) as error:
        raise LocalStackError(f"The broker's users could not be made: {error}") from None
    return logins


def principal(spec: ProcessSpec, prefix: str) -> access.Principal | None:
    """The user of a process; None where it has no role, and logs in as the owner."""
    name = _PREFIX + spec.name
    match spec.role:
        case None:
            return None
        case "router":
            return access.router(name, prefix)
        case "executor":
            return access.executor(name, spec.domains, prefix)
        case "sink":
            return access.sink(name, prefix)
        case "projector":
            return access.projector(name, prefix)
        case "matcher":
            return access.matcher(name, prefix, every_topic=True)
        case "api":
            return access.api(name, prefix)
