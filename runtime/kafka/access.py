"""Users and ACLs of a cluster, through its admin API. Every call raises KafkaException."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

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
    """Create the ACLs of the principals that are missing; safe to repeat.

    Returns those that were missing, and those of the same principals that are not declared, which
    are deleted with `remove`.
    """
    missing: list[AclBinding] = []
    extra: list[AclBinding] = []
    for principal in principals:
        declared = bindings(principal)
        found = _found(admin, principal)
        missing += [one for one in declared if one not in set(found)]
        extra += [one for one in found if one not in set(declared)]
    if missing:
        for future in admin.create_acls(missing, request_timeout=_TIMEOUT).values():
            future.result(_TIMEOUT + 5)
    if extra and remove:
        filters = [_exactly(one) for one in extra]
        for future in admin.delete_acls(filters, request_timeout=_TIMEOUT).values():
            future.result(_TIMEOUT + 5)
    return missing, extra


def set_passwords(admin: AdminClient, passwords: Mapping[str, str]) -> None:
    """Give these users their SCRAM-SHA-256 passwords; a user that does not exist is created."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, ITERATIONS)
    changes: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(name, info, password.encode())
        for name, password in passwords.items()
    ]
    if changes:
        answers = admin.alter_user_scram_credentials(changes, request_timeout=_TIMEOUT)
        for future in answers.values():
            future.result(_TIMEOUT + 5)


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
