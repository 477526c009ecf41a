"""Failures over WinRM by class: of the connection, the login, the host, the pipeline."""

from __future__ import annotations

from typing import Any, Final

import requests
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from spnego.exceptions import SpnegoError
from urllib3.exceptions import NameResolutionError, NewConnectionError

from drivers.context import Failure
from drivers.errors import fail
from drivers.powershell.clixml import ClixmlError
from drivers.powershell.collected import Collected, RemoteError
from drivers.powershell.connection import RESPONSE_SECONDS, ResponseTooLarge, Target
from toolmeta.invocation import Invocation

#: Win32 ERROR_ACCESS_DENIED, as a WS-Management fault carries it.
_ACCESS_DENIED: Final = 5
_QUOTA: Final = ("quota", "maximum number of concurrent", "maximum of")

#: Stable names of errors that PowerShell raises before it runs the command.
_BINDING: Final = (
    "NamedParameterNotFound",
    "ParameterBinding",
    "ParameterArgument",
    "CannotConvertArgument",
    "MissingMandatory",
    "AmbiguousParameter",
    "PositionalParameterNotFound",
)
_BY_CATEGORY: Final = {
    "ObjectNotFound": "not_found",
    "PermissionDenied": "capability_missing",
    "SecurityError": "capability_missing",
    "ResourceExists": "conflict",
}


def connection_failure(
    invocation: Invocation, target: Target, error: Exception, *, began: bool
) -> Failure:
    """The failure that this exception means; `began`: the pipeline was sent already.

    Texts of exceptions are not repeated, except the text of a fault from the host.
    """
    host = target.name

    def failure(before: str, after: str, message: str) -> Failure:
        return fail(invocation, after if began else before, message)

    match error:
        case AuthenticationError() | SpnegoError():
            return _login(invocation, target, error)
        case WSManFaultError():
            return _fault(invocation, host, error, began=began)
        case WinRMTransportError():
            return _status(invocation, host, int(error.code), began=began)
        case requests.exceptions.SSLError():
            message = f"{host}: no trusted TLS connection: {_tls_reason(error)}"
            return failure("tls_failed", "connection_lost", message)
        case requests.ReadTimeout():
            message = f"{host} gave no answer within {RESPONSE_SECONDS} s"
            return failure("unreachable", "no_answer", message)
        case requests.ConnectTimeout():
            message = f"{host} does not answer at port {target.port}"
            return failure("unreachable", "connection_lost", message)
        case requests.ConnectionError():
            return failure(*_unconnected(error), _unconnected_message(target, error))
        case requests.TooManyRedirects():
            return fail(invocation, "not_found", f"{host} redirects: there is no WinRM listener")
        case ResponseTooLarge():
            message = f"{host} sent an object or answer that is too large to hold"
            return failure("unreachable", "output_unparsable", message)
        case ClixmlError():
            return fail(invocation, "output_unparsable", f"{host}: {error}")
        case ValueError():
            # pypsrp refuses a combination of settings before it connects.
            return failure("invalid_parameters", "internal", f"{host}: {str(error)[:300]}")
    kind = type(error).__name__
    message = f"{host} does not speak PowerShell remoting as expected ({kind})"
    return failure("unreachable", "connection_lost", message)


def _login(invocation: Invocation, target: Target, error: Exception) -> Failure:
    if "authentication methods" in str(error):
        message = f"{target.name} does not offer the authentication {target.auth}"
    else:
        user = target.user or "no user"
        message = f"{target.name} refuses the login of {user} by {target.auth}"
    return fail(invocation, "login_refused", message)


def _fault(invocation: Invocation, host: str, error: WSManFaultError, *, began: bool) -> Failure:
    reason = " ".join(str(error.provider_fault or error.reason or "no reason").split())
    message = f"{host} refuses the session: {reason}"
    if began:
        return fail(invocation, "remote_error", f"{host} ended the session: {reason}")
    if error.code == _ACCESS_DENIED:
        return fail(invocation, "login_refused", message)
    if any(word in reason.lower() for word in _QUOTA):
        return fail(invocation, "rate_limited", message)
    return fail(invocation, "remote_error", message)


def _status(invocation: Invocation, host: str, status: int, *, began: bool) -> Failure:
    message = f"{host} answered with HTTP status {status}"
    if began:
        return fail(invocation, "connection_lost", message)
    known = {403: "login_refused", 404: "not_found", 429: "rate_limited", 503: "unreachable"}
    return fail(invocation, known.get(status, "unreachable"), message)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and its causes, which urllib3 and requests store in several attributes."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(found) < 20:
        one = waiting.pop()
        if not isinstance(one, BaseException) or any(one is other for other in found):
            continue
        found.append(one)
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return found


def _unconnected(error: BaseException) -> tuple[str, str]:
    causes = _causes(error)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "connection_refused", "connection_lost"
    return "unreachable", "connection_lost"


def _unconnected_message(target: Target, error: BaseException) -> str:
    causes = _causes(error)
    if any(isinstance(cause, NameResolutionError) for cause in causes):
        return f"{target.name}: the name cannot be resolved"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return f"{target.name} has no WinRM listener at port {target.port}"
    if any(isinstance(cause, NewConnectionError) for cause in causes):
        return f"{target.name} cannot be reached at port {target.port}"
    return f"the connection to {target.name} broke"


def _tls_reason(error: BaseException) -> str:
    for cause in _causes(error):
        reason = getattr(cause, "verify_message", None) or getattr(cause, "reason", None)
        if isinstance(reason, str) and reason:
            return reason
    return "handshake failed"


def pipeline_failure(
    invocation: Invocation, host: str, collected: Collected, output: dict[str, Any]
) -> Failure:
    """The failure for errors that PowerShell reported.

    A cmdlet that could not begin (no such cmdlet, wrong parameter, nothing of that name, not
    allowed) has a class of its own; whatever a script did before its error is not known.
    """
    errors = collected.errors
    cmdlet = invocation.arguments.get("cmdlet")
    classes = {_class(error) for error in errors}
    error_class = "remote_error"
    if isinstance(cmdlet, str) and len(classes) == 1 and not collected.objects:
        error_class = classes.pop()
    first = errors[0].message if errors else "the pipeline ended without a reason"
    more = f" (and {collected.error_count - 1} more)" if collected.error_count > 1 else ""
    message = f"{host}: {first}{more}"
    needs = invocation.arguments.get("needs")
    if error_class == "program_missing":
        hint = f"; install {needs} there" if needs else ""
        message = f"{host} has no cmdlet {cmdlet}{hint}"
    return fail(invocation, error_class, message, output)


def _class(error: RemoteError) -> str:
    if error.error_id == "CommandNotFoundException":
        return "program_missing"
    if error.error_id.startswith(_BINDING):
        return "invalid_parameters"
    return _BY_CATEGORY.get(error.category, "remote_error")
