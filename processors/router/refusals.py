"""Refusals: what the rejection of a request says; pure."""

from __future__ import annotations

from authority.identity import Signer
from processors.router.entries import DedupEntry
from processors.router.request_decoder import Invalid
from processors.router.state import Execution
from streams.lifecycle import REPEATABLE
from streams.payloads import Rejected
from streams.problems import Problem as RejectedBecause
from streams.problems import RejectedReason
from toolmeta.invocation import Problem


def rejected(
    reason: RejectedReason,
    problems: list[Problem],
    about: Invalid,
    conflicts_with: str | None = None,
    said: str | None = None,
) -> Rejected:
    """The rejection of the request that `about` names; `said` in the place of the first problem."""
    message = problems[0].message if conflicts_with is not None else summary(problems)
    return Rejected(
        reason,
        message if said is None else said,
        [RejectedBecause(problem.field, problem.message) for problem in problems],
        actor=about.actor,
        name=about.name,
        idempotency_key=about.idempotency_key,
        conflicts_with=conflicts_with,
    )


def used_before(known: Execution | DedupEntry | None, signer: Signer | None) -> str | None:
    """Why a request does not count for a key that a signed one, `known`, has used, or None.

    A failed or cancelled execution may be asked for again, by a new signature only; while one
    lives, or has completed, the same record is a duplicate like any other. What is not signed
    gets neither: it would say something in the log of somebody else's execution, and after a
    run of its own the last signature for the key would be forgotten.
    """
    if known is None or known.signed_at is None:
        return None
    if signer is None:
        return "its idempotency key was used by a signed request: sign it, or use another key"
    if known.status not in REPEATABLE or signer.signed_at > known.signed_at:
        return None
    return f"its signature was used for {known.id}, which has ended; sign it again"


def summary(problems: list[Problem]) -> str:
    """The first problem in words, and how many more there are."""
    first, more = problems[0], len(problems) - 1
    return f"{first.field}: {first.message}" + (f" (and {more} more)" if more else "")
