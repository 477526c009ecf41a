"""Users and ACLs of a cluster, through its admin API.

Every call raises KafkaException, and TimeoutError where the brokers do not follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from runtime.clock import monotonic
from streams.access import Operation, Principal, Resource

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

_TIMEOUT: Final = 30.0
#: Kafka's least; the passwords are random, so that more would only make each connection slower.
ITERATIONS: Final = 4_096
_RESOURCES: Final = {
    Resource.TOPIC: ResourceType.TOPIC,
    Resource.GROUP: ResourceType.GROUP,
    Resource.TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS: Final = {
    Operation.ALL: AclOperation.ALL,
    Operation.READ: AclOperation.READ,
    Operation.WRITE: AclOperation.WRITE,
    Operation.DESCRIBE: AclOperation.DESCRIBE,
}


def bindings(principal: Principal) -> list[AclBinding]:
    """The ACLs of a principal, as the admin client takes them."""
    return [
        AclBinding(
            _RESOURCES[grant.resource],
            grant.name,
            ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL,
            f"User:{principal.name}",
            "*",
            _OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for grant in principal.grants
        for operation in grant.operations
    ]


def apply(
    admin: AdminClient, principals: Iterable[Principal], *, remove: bool
) -> tuple[list[AclBinding], list[AclBinding]]:
    """Create the ACLs of the principals that are missing, and wait until they hold.

    Safe to repeat. Returns those that were missing, and those of the same principals that are not
    declared, which are deleted with `remove`.
    """
    known = list(principals)
    missing: list[AclBinding] = []
    extra: list[AclBinding] = []
    for principal in known:
        declared = bindings(principal)
        found = _found(admin, principal)
        missing += [one for one in declared if one not in set(found)]
        extra += [one for one in found if one not in set(declared)]
    if missing:
        for future in admin.create_acls(missing, request_timeout=_TIMEOUT).values():
            future.result(_TIMEOUT + 5)
        wanted = set(missing)
        _wait(lambda: wanted.issubset(one for who in known for one in _found(admin, who)))
    if extra and remove:
        filters = [_exactly(one) for one in extra]
        for future in admin.delete_acls(filters, request_timeout=_TIMEOUT).values():
            future.result(_TIMEOUT + 5)
    return missing, extra


def set_passwords(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    """Give these users their SCRAM-SHA-256 passwords, and wait until they are there.

    A user that does not exist is created. Another password of one that does is waited for no
    longer than until the cluster has written it.
    """
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, ITERATIONS)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(name, info, password.encode())
        for name, password in passwords.items()
    ]
    if changes:
        answers = admin.alter_user_scram_credentials(changes, request_timeout=_TIMEOUT)
        for future in answers.values():
            future.result(_TIMEOUT + 5)
        _wait(lambda: _have_passwords(admin, list(passwords)))


def _wait(holds: Callable[[], bool]) -> None:
    """Until the broker has applied what the controller has written.

    It does so in order, and first makes hundreds of partitions where topics are new. Raises
    TimeoutError.
    """
    until = monotonic() + _TIMEOUT
    while not holds():
        if monotonic() > until:
            raise TimeoutError(f"the brokers did not apply the change within {_TIMEOUT:.0f} s")
        sleep(0.05)


def _have_passwords(admin: AdminClient, users: list[str]) -> bool:
    answers: Any = admin.describe_user_scram_credentials(users, request_timeout=_TIMEOUT)
    try:
        return all(one.result(_TIMEOUT + 5).scram_credential_infos for one in answers.values())
    except KafkaException as error:
        if error.args[0].code() != KafkaError.RESOURCE_NOT_FOUND:
            raise
        return False


def _found(admin: AdminClient, principal: Principal) -> list[AclBinding]:
    everything = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        f"User:{principal.name}",
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    answer = admin.describe_acls(everything, request_timeout=_TIMEOUT)
    return list(answer.result(_TIMEOUT + 5))


def _exactly(one: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        one.restype,
        one.name,
        one.resource_pattern_type,
        one.principal,
        one.host,
        one.operation,
        one.permission_type,
    )
