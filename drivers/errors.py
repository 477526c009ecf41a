"""The closed list of error classes: what can go wrong with an attempt, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from drivers.context import Failure
from drivers.secret_use import SecretError
from toolmeta.invocation import Invocation
from toolmeta.locking import LOCK_NAMES


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """One class: its meaning, whether it may pass by itself, whether nothing was done yet."""

    meaning: str
    transient: bool = False
    #: The error happens before any effect on the target: repeating the attempt is always safe.
    before_effect: bool = False


_BEFORE: Final[dict[str, ErrorClass]] = {
    name: ErrorClass(meaning, transient, before_effect=True)
    for name, transient, meaning in (
        ("invalid_parameters", False, "the driver cannot act on these parameters"),
        ("program_missing", False, "the program is not installed where it should run"),
        (
            "capability_missing",
            False,
            "the executor may not do this (permission, capability)",
        ),
        ("not_configured", False, "a setting of the executor is missing"),
        ("secret_missing", False, "there is no usable secret of that name"),
        ("secret_denied", False, "the rules or the source of the secret do not allow this use"),
        ("secret_unavailable", True, "the source of the secret does not answer"),
        ("connection_refused", True, "nobody listens at the target's port"),
        ("unreachable", True, "no name, no route or no answer when connecting"),
        ("login_refused", False, "the target refused the user, key or password"),
        ("host_key_unknown", False, "the host is not in known_hosts"),
        ("host_key_changed", False, "the host shows another key than known_hosts has"),
        ("tls_failed", False, "no trusted TLS connection could be made"),
        ("refused_address", False, "the address is loopback, private or reserved"),
        ("out_of_scope", False, "the target is outside the networks that may be scanned or probed"),
        (
            "environment",
            False,
            "an asset of the step belongs to a stricter environment than its plan",
        ),
        (
            LOCK_NAMES,
            False,
            "the inventory has names of an asset of the step that its lock does not cover; the "
            "router locks them and sends the step again, a few times",
        ),
        ("store_full", False, "the capture store is full"),
        ("rate_limited", True, "the target asks to come back later"),
        ("mail_deferred", True, "the mail server took nothing and asks to try again later"),
        (
            "busy",
            True,
            "the target rolled the work back: lock, deadlock or serialization",
        ),
        (
            "lease_lost",
            True,
            "the lease was over before the attempt could begin; set by the agent",
        ),
        ("expired", True, "held back until the command expired; set by the agent"),
        ("not_found", False, "the thing to act on does not exist"),
        (
            "conflict",
            False,
            "it exists already, was changed meanwhile, or is not unique",
        ),
    )
}

_AFTER: Final[dict[str, ErrorClass]] = {
    "exit_status": ErrorClass("the program ended with a code that means failure, or by a signal"),
    "remote_error": ErrorClass("PowerShell on the host reported an error"),
    "http_status": ErrorClass("the server answered with a status that means failure"),
    "http_unavailable": ErrorClass("the server answered 500, 502, 503 or 504", transient=True),
    "connection_lost": ErrorClass("the connection broke while acting", transient=True),
    "no_answer": ErrorClass("connected, but no answer in the driver's time", transient=True),
    "mail_refused": ErrorClass("the mail server refused the message or every recipient"),
    "database": ErrorClass("the database refused the statement"),
    "output_unparsable": ErrorClass("the program's output is not what its parser expects"),
    "injected": ErrorClass("a failure that a test requested", transient=True),
    "limit_exceeded": ErrorClass("a program or an answer took more than a step may, and was ended"),
    "timed_out": ErrorClass("the attempt's time was over; set by the agent"),
    "executor_stopped": ErrorClass("the executor was stopped first; set by the agent"),
    "cancelled": ErrorClass("the attempt was stopped on request; set by the agent"),
    "internal": ErrorClass("a fault of the executor itself"),
}

#: Every error class an attempt can end with, by name.
ERROR_CLASSES: Final[dict[str, ErrorClass]] = {**_BEFORE, **_AFTER}


def may_retry(error_class: str, invocation: Invocation) -> bool:
    """Whether a new attempt may succeed and is safe.

    Safe before any effect; afterwards only where the tool names the class and is retry-safe.
    """
    known = ERROR_CLASSES[error_class]
    declared = invocation.retry_safe and error_class in invocation.transient
    return declared or (known.transient and known.before_effect)


def fail(
    invocation: Invocation,
    error_class: str,
    message: str,
    output: dict[str, Any] | None = None,
) -> Failure:
    """A failure of this class, with the retry rule applied; the message is cut and cleaned."""
    clean = message.replace("\x00", "\\u0000")
    return Failure(
        error_class,
        clean if len(clean) <= 2_000 else clean[:1_999] + "…",
        may_retry(error_class, invocation),
        output,
    )


def secret_failure(invocation: Invocation, error: SecretError, where: str = "") -> Failure:
    """The failure of an attempt without its secret; `where` is the host that asks for it."""
    text = f"{where}: {error}" if where else str(error)
    return replace(fail(invocation, error.error_class, text), denied=error.denied)
