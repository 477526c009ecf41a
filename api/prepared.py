"""From the body of an HTTP request to the record of an execution request; pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from api.caller import Caller
from api.problems import FieldError, Problem, forbidden
from streams.actors import same_actor
from streams.ids import is_execution_id, mint_execution_id, route_key, route_of
from streams.limits import MAX_REQUEST_BYTES

#: What only the API or a router may say.
_OURS: Final = ("on_behalf_of", "started_by")
#: What stands around a plan; everything else of a body without one is the plan.
_AROUND: Final = ("execution_id", "tenant", "actor", "idempotency_key", "explain")
#: What the API adds to a body.
_ROOM_BYTES: Final = 2_048
_KEY: Final = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to be sent, and the ids by which its answer is known."""

    execution_id: str
    tenant: str
    idempotency_key: str
    value: bytes

    @property
    def route(self) -> str:
        """The Kafka key of the request and of all of its events."""
        return route_of(self.execution_id)


def idempotency_key(header: str | None) -> str | None:
    """The key in the header `Idempotency-Key`, with or without quotes; raises Problem."""
    if header is None:
        return None
    key = header[1:-1] if len(header) > 2 and header[0] == header[-1] == '"' else header
    if _KEY.fullmatch(key) is None:
        raise _wrong("Idempotency-Key", "it has 1 to 256 characters of printable ASCII")
    return key


def prepare(
    body: bytes,
    caller: Caller,
    key: str | None,
    *,
    explain: bool,
    unix_ms: int,
    random_bits: int,
) -> Prepared:
    """The request in a body, of the tenant and the actor of the caller; raises Problem.

    `key` is the idempotency key of the header; without one, there or in the body, each request has
    a new one of `random_bits`. What is wrong with the plan is for the router to say.
    """
    request = _whole(_object(body))
    _refuse_foreign(request, caller, explain=explain)
    given = request.get("idempotency_key")
    if key is not None and given is not None and given != key:
        raise _wrong("idempotency_key", "it is not that of the header Idempotency-Key: give one")
    if given is not None and not (isinstance(given, str) and 0 < len(given) <= 256):
        raise _wrong("idempotency_key", "it is a text of 1 to 256 characters")
    name = key or given or f"api-{random_bits:022x}"
    try:
        route = route_key(caller.tenant, name)
    except UnicodeEncodeError:
        raise _wrong("idempotency_key", "it is no Unicode text") from None
    ident = request.get("execution_id")
    if ident is None:
        ident = mint_execution_id(route, unix_ms, random_bits)
    elif not isinstance(ident, str) or not is_execution_id(ident) or route_of(ident) != route:
        told = f"it does not carry the route key {route} of its idempotency key: leave it out"
        raise _wrong("execution_id", told)
    around: dict[str, Any] = {
        "execution_id": ident,
        "tenant": caller.tenant,
        "actor": caller.actor,
        "idempotency_key": name,
        "on_behalf_of": {"key": caller.identity.kid},
    }
    if explain:
        around["explain"] = True
    try:
        text = json.dumps(
            request | around, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        value = text.encode()
    except (ValueError, RecursionError):
        raise _wrong("body", "it has a number or a text that JSON cannot hold") from None
    return Prepared(ident, caller.tenant, name, value)


def _object(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_REQUEST_BYTES - _ROOM_BYTES:
        limit = (MAX_REQUEST_BYTES - _ROOM_BYTES) // 1024
        raise Problem(413, "too_large", f"a request has at most {limit} KiB: send less")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _wrong("body", f"it is not JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise _wrong("body", 'it is no JSON object such as {"steps": [...]}')
    return found


def _whole(body: dict[str, Any]) -> dict[str, Any]:
    """The whole form of a request: a plan that stands alone is put into one."""
    if "plan" in body or "procedure" in body:
        return body
    ours = (*_AROUND, *_OURS)
    around = {name: body[name] for name in ours if name in body}
    return {**around, "plan": {name: body[name] for name in body if name not in ours}}


def _refuse_foreign(request: dict[str, Any], caller: Caller, *, explain: bool) -> None:
    for name in _OURS:
        if request.get(name) is not None:
            raise _wrong(name, "it is not for a caller to say: leave it out")
    tenant, actor = request.get("tenant"), request.get("actor")
    if tenant is not None and tenant != caller.tenant:
        raise forbidden(f"tenant: the token is of the tenant {caller.tenant}: leave it out")
    if actor is not None and not (isinstance(actor, str) and same_actor(actor, caller.actor)):
        raise forbidden(f"actor: the token is of the actor {caller.actor}: leave it out")
    if request.get("explain") not in (None, False, explain):
        raise _wrong("explain", "ask at /v1/explain what would become of a request")


def _wrong(field: str, told: str) -> Problem:
    error = FieldError(field=field, message=told)
    return Problem(422, "invalid_request", f"{field}: {told}", errors=[error])
