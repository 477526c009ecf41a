"""A program that is to be stopped: its own end where that came first, else what was ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from drivers.cleanup import run_uncancelled
from drivers.context import Outcome, RunContext

#: For what a program that has ended wrote to be read and published.
_READ_SECONDS: Final = 15.0
#: Before a second search where the first one found nothing.
_LOOK_AGAIN_SECONDS: Final = 2.0


async def run_until_stopped(
    work: Coroutine[Any, Any, Outcome],
    stop: Callable[[], Coroutine[Any, Any, dict[str, Any]]],
    exit_code: Callable[[], int | None],
    context: RunContext,
    *,
    success_codes: tuple[int, ...],
    confirm_seconds: float,
) -> Outcome:
    """The outcome of `work`, which runs a program; a cancel calls `stop`, which ends the program.

    `stop` returns evidence: `pids_ended` for what it ended, `cancel_unconfirmed` where it cannot
    tell. It has the grace of the attempt, which is known only then, and `confirm_seconds`. Where
    nothing was left to end, the program had ended by itself: its outcome is returned as without a
    cancel. `exit_code` is None while it is not known. After any other exception of `work` the
    program is ended too, and the exception is raised.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        context.stop.requested = True
        if task.done() and not task.cancelled():
            return task.result()
        evidence = await _stop(stop, context.stop.grace_seconds + confirm_seconds)
        if _nothing_found(evidence) and not await _ends(task, _LOOK_AGAIN_SECONDS):
            # It was being started, or is still writing.
            evidence = await _stop(stop, context.stop.grace_seconds + confirm_seconds)
        searched = "cancel_unconfirmed" not in evidence
        if searched:
            await _ends(task, _READ_SECONDS)
        code = exit_code()
        known = code is not None or context.stop.effect == "none"
        if _nothing_found(evidence) and task.done() and not task.cancelled() and known:
            return task.result()
        await _abandon(task)
        if context.stop.effect != "none":
            _record(context, evidence, code, success_codes)
        raise
    except BaseException:
        context.evidence.update(await _stop(stop, context.stop.grace_seconds + confirm_seconds))
        raise


async def _stop(
    stop: Callable[[], Coroutine[Any, Any, dict[str, Any]]], seconds: float
) -> dict[str, Any]:
    try:
        return await run_uncancelled(stop(), seconds)
    except TimeoutError:
        return {"cancel_unconfirmed": f"ending it took more than {seconds:g} s"}


def _nothing_found(evidence: dict[str, Any]) -> bool:
    return not evidence.get("pids_ended") and "cancel_unconfirmed" not in evidence


def _record(
    context: RunContext, evidence: dict[str, Any], code: int | None, success_codes: tuple[int, ...]
) -> None:
    """Put what is known of the end into the context."""
    doubt: str | None = None
    if _nothing_found(evidence) and code is not None:
        doubt = f"it had ended by itself with exit code {code}, and its output could not be read"
        if code in success_codes:
            context.stop.effect = "done"
    elif _nothing_found(evidence):
        doubt = "no process of it was found, and how it ended is not known"
    elif code is not None and code in success_codes:
        doubt = (
            f"it ended with exit code {code} while it was stopped: it may have done all its work"
        )
    context.stop.ended = "cancel_unconfirmed" not in evidence and not _nothing_found(evidence)
    context.evidence.update(evidence)
    if code is not None:
        context.evidence["exit_code"] = code
    if doubt is not None:
        context.evidence.setdefault("cancel_unconfirmed", doubt)


async def _ends(task: asyncio.Task[Outcome], seconds: float) -> bool:
    """Wait for the readers to reach the end of what the program wrote; whether they did."""
    await run_uncancelled(asyncio.wait({task}, timeout=seconds), seconds + 1)
    return task.done()


async def _abandon(task: asyncio.Task[Outcome]) -> None:
    if not task.done():
        task.cancel()
        await run_uncancelled(asyncio.wait({task}, timeout=1.0), 2.0)
    if task.done() and not task.cancelled():
        task.exception()  # Retrieved, so that asyncio does not log it.
