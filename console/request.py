"""From a plan file and options to the request; pure: time and random bits are arguments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from console import signing
from console.exits import Exit, Failure
from streams.ids import is_execution_id, mint_execution_id, route_key, route_of

if TYPE_CHECKING:
    from authority.keys import PrivateKey

_AROUND: Final[tuple[str, ...]] = ("execution_id", "tenant", "actor", "idempotency_key")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be produced, and the ids to watch it by."""

    execution_id: str
    tenant: str
    idempotency_key: str
    body: bytes

    @property
    def route(self) -> str:
        """The Kafka key of the request and of all of its events."""
        return route_of(self.execution_id)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line; None leaves the value to the file."""

    tenant: str | None = None
    actor: str | None = None
    key: str | None = None
    environment: str | None = None


def prepare(
    document: dict[str, Any],
    options: Options,
    *,
    login: str,
    unix_ms: int,
    random_bits: int,
    key: PrivateKey | None = None,
) -> Prepared:
    """Complete a request: options win over the file, and the file over the defaults.

    Tenant and actor are those of the key that signs it; raises Failure where others are named.

    Without a key in either, each call makes a new one of `random_bits`, so that running a plan
    twice runs it twice. Raises Failure for an execution id that does not belong to the key.
    """
    request = _whole(document)
    plan = request.get("plan")
    if options.environment is not None and "procedure" in request:
        raise Failure(
            "a procedure says itself where it acts: --environment is for plans",
            Exit.USAGE,
            "let the procedure have an input for it: environment: '{{ inputs.environment }}'",
        )
    if options.environment is not None and isinstance(plan, dict):
        request["plan"] = {**plan, "environment": options.environment}
    tenant = str(signing.tenant_of(key, options.tenant or request.get("tenant")) or "default")
    name = str(options.key or request.get("idempotency_key") or f"cli-{random_bits:022x}")
    route = route_key(tenant, name)
    ident = request.get("execution_id")
    if ident is None:
        ident = mint_execution_id(route, unix_ms, random_bits)
    elif not isinstance(ident, str) or not is_execution_id(ident) or route_of(ident) != route:
        raise Failure(
            f"execution_id {ident!r} does not carry the route key {route} of its idempotency key",
            Exit.USAGE,
            "leave execution_id out of the file, and the command makes one",
        )
    around: dict[str, Any] = {
        "execution_id": ident,
        "tenant": tenant,
        "actor": signing.actor_of(key, options.actor or request.get("actor"), login),
        "idempotency_key": name,
    }
    body = json.dumps(request | around, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Prepared(ident, tenant, name, body.encode())


def _whole(document: dict[str, Any]) -> dict[str, Any]:
    """The whole form of a request; fields beside the plan are kept."""
    if "plan" in document or "procedure" in document:
        return dict(document)
    around = {name: document[name] for name in _AROUND if name in document}
    inner = {name: value for name, value in document.items() if name not in _AROUND}
    return {**around, "plan": inner}
