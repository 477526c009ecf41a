"""Evolve: the state after an event. The only place where an execution changes.

The state is changed in place, since the caller owns it; everything the new state needs is in the
event, so folding the log gives the state again. The last functions change what is derived and
never written down: leases and the progress that was told last.
"""

from __future__ import annotations

from processors.router.state import (
    MAX_FAILURES,
    MAX_USED,
    Execution,
    FailedAttempt,
    StepState,
    derive,
    inner_steps,
    report_bit,
    use_digest,
)
from streams.admitted import AdmittedStep
from streams.audit_payloads import SIGNATURE_RULE, Audit, SecretsUsed
from streams.control_payloads import (
    ApprovalGiven,
    ApprovalRequested,
    By,
    CancelRequested,
    FinallyStarted,
    SlaBreached,
)
from streams.events import Event
from streams.lifecycle import (
    ENDED,
    STEP_ENDED,
    STEP_FAILED,
    check_transition,
    execution_status,
    step_status,
)
from streams.lock_payloads import LockAcquired, LockEnded
from streams.payloads import (
    Accepted,
    CompensationScheduled,
    CompensationSkipped,
    Dispatched,
    Expanded,
    LateResult,
    Polled,
    RetryScheduled,
    StepCancelled,
    StepFailed,
    StepStarted,
    StepSucceeded,
    Waiting,
)
from streams.timestamps import unix

#: Statuses in which the execution waits for a person, and its timeout with it.
_CLOCK_STOPS = frozenset({"paused", "needs_attention"})
#: The last of the approvals that a level needs has a type of its own.
_APPROVALS = frozenset({"execution.approval_given", "execution.approved"})


def accepted(event: Event, at: float) -> Execution:
    """The state after `execution.accepted`, the first event of every admitted execution."""
    data = event.data
    assert isinstance(data, Accepted)  # noqa: S101
    execution = Execution(
        id=event.execution_id,
        tenant=event.tenant,
        actor=data.actor,
        idempotency_key=data.idempotency_key,
        plan=data.plan,
        plan_hash=data.plan_hash,
        mode=data.mode,
        sla_class=data.sla_class,
        sla_seconds=data.sla_seconds,
        action_class=data.action_class,
        environment=data.environment,
        priority=data.priority,
        timeout_seconds=data.timeout_seconds,
        approval_level=data.approval_level,
        accepted_at=at,
        run=data.run,
        rerun_of=data.rerun_of,
        earlier_actors=data.earlier_actors or [],
        claimed_actor=data.claimed_actor,
        signed_at=data.signed_at,
        definitions=data.definitions,
        procedure=data.procedure,
        started_by=data.started_by,
        seq=event.seq,
        chain=event.chain,
        steps={spec.id: StepState(spec.id) for spec in data.plan.roots},
    )
    for name, output in (data.carried or {}).items():
        step = execution.steps[name]
        step.status = "succeeded"
        step.output = output
        step.ended_at = at
    derive(execution)
    return execution


def evolve(execution: Execution, event: Event, at: float) -> None:
    """Apply one event that happened at `at` (Unix seconds).

    Raises IllegalTransition where the status of the execution cannot follow: a defect.
    """
    execution.seq = event.seq
    if event.chain is not None:  # A decision has none yet; it gets it when its events are written.
        execution.chain = event.chain
    if event.step is None:
        _execution(execution, event, at)
    else:
        _step(execution, execution.steps[event.step], event, at)


def _execution(execution: Execution, event: Event, at: float) -> None:
    data = event.data
    if isinstance(data, CancelRequested):
        execution.finally_ending = execution.outcome is not None
        if execution.ending is None:
            execution.ending = data.ending
            execution.ending_reason = data.reason
        return
    if isinstance(data, FinallyStarted):
        execution.outcome = data.status
        execution.outcome_reason = data.reason
        execution.finally_at = at
        return
    if isinstance(data, SlaBreached):
        execution.sla_breached = True
        return
    if isinstance(data, Audit) and data.rule == SIGNATURE_RULE:
        execution.forged += 1
    if isinstance(data, LockAcquired):
        execution.locks.update(data.tokens)
        return
    if isinstance(data, LockEnded):
        for asset in data.tokens:
            del execution.locks[asset]
        if event.type == "lock.expired":
            execution.locks_lost.update(data.tokens)
        return
    status = execution_status(execution.status, event)
    assert status is not None  # there is one before  # noqa: S101
    check_transition(execution.status, status)
    if status in _CLOCK_STOPS:
        execution.paused_at = execution.paused_at or at
    elif execution.paused_at is not None and status != execution.status:
        # The time that it was held does not count against its timeout.
        execution.paused_seconds += at - execution.paused_at
        execution.paused_at = None
    execution.status = status
    if isinstance(data, ApprovalRequested):
        execution.approval_expires_at = unix(data.expires_at)
    elif isinstance(data, By | ApprovalGiven) and event.type in _APPROVALS:
        execution.approved_by.append(data.actor)
    elif event.type == "execution.started" and execution.started_at is None:
        execution.started_at = at
    elif status in ENDED and execution.ended_at is None:
        execution.ended_at = at


def _step(execution: Execution, step: StepState, event: Event, at: float) -> None:
    before = step.status
    step.status = step_status(before, event)
    match event.data:
        case Dispatched():
            _dispatched(step, event.attempt or 1, at)
        case StepStarted(executor):
            step.executor = executor
            step.started_at = at
            step.waiting = None
            step.reported |= report_bit("started", step.attempt)
        case StepSucceeded(output=output, report=report):
            step.output = output
            step.error = None
            _end_attempt(step, report)
        case StepFailed() as data:
            _failed(execution, step, data, event)
        case StepCancelled(output=output, report=report):
            step.output = output
            _end_attempt(step, report)
        case RetryScheduled(at=when):
            step.waiting = "backoff"
            step.retry_at = unix(when)
        case Waiting(reason, until=until):
            step.waiting = reason
            if reason == "lock" and until is not None:
                step.retry_at = unix(until)
        case Expanded(values=values):
            _expanded(execution, step, values, at)
        case Polled(output=output, report=report, at=when):
            step.output = output
            step.error = None
            step.polls += 1
            step.waiting = "until"
            step.retry_at = unix(when)
            _end_attempt(step, report)
        case CompensationScheduled(by):
            execution.steps[by] = StepState(by, undoes=step.id)
            execution.open_steps += 1
        case CompensationSkipped():
            step.unchanged = True
        case LateResult(report):
            step.late += 1
            step.reported |= report_bit(report, event.attempt or 0)
        case SecretsUsed() as data:
            used = use_digest(event.attempt or 0, data.executor, data.uses)
            step.used = (*step.used, used)[-MAX_USED:]
        case _:
            _plain(step, event.type, at)
    if step.status in STEP_ENDED and before not in STEP_ENDED:
        _ended(execution, step, at)


def _plain(step: StepState, kind: str, at: float) -> None:
    """The events whose type says it all."""
    if kind == "step.resumed":
        step.started_at = at
        step.waiting = None
    elif kind == "step.cancel_requested":
        step.cancelling_at = at
    elif kind in ("step.lost", "step.needs_attention"):
        step.in_flight = False


def _dispatched(step: StepState, attempt: int, at: float) -> None:
    step.attempt = attempt
    step.in_flight = True
    step.dispatched_at = at
    step.started_at = 0.0
    step.cancelling_at = 0.0
    step.executor = None
    step.retry_at = None
    step.waiting = None
    step.progress = None
    step.heard_at = step.held_at = 0


def _end_attempt(step: StepState, report: str | None) -> None:
    """The attempt is over; a report that said so counts once."""
    step.in_flight = False
    if report is not None:
        step.reported |= report_bit(report, step.attempt)


def _failed(execution: Execution, step: StepState, data: StepFailed, event: Event) -> None:
    step.error = data.error
    step.output = data.output
    _end_attempt(step, data.report)
    if event.attempt is not None:
        failed = FailedAttempt(event.attempt, event.at, data.error)
        step.failures = (*step.failures, failed)[-MAX_FAILURES:]
    if data.final and step.undoes is None:
        _stop(execution, step)


def _stop(execution: Execution, step: StepState) -> None:
    """A final failure stops what the step stands in, unless the plan says otherwise."""
    spec = execution.spec(step)
    if step.is_item:
        container = execution.steps[step.parent or ""]
        if spec.max_failures is not None:
            if failures(execution, container) > allowed_failures(spec, container):
                container.stopping = "stop"
            return
        # Without a limit the first failure is that of the step.
        step = container
    wish = spec.on_failure
    if wish == "continue":
        return
    if step.parent is not None:
        block = execution.steps[step.parent]
        block.stopping = wish if block.stopping != "compensate" else block.stopping
    elif execution.stopping != "compensate":
        execution.stopping = wish


def failures(execution: Execution, container: StepState) -> int:
    """How many of its items have failed."""
    return sum(
        execution.steps[name].status in STEP_FAILED for name in execution.children(container)
    )


def allowed_failures(spec: AdmittedStep, container: StepState) -> int:
    """How many of its items may fail; of a part the whole items."""
    limit = spec.max_failures
    if isinstance(limit, str):
        return len(container.items or ()) * int(limit.removesuffix("%")) // 100
    return limit or 0


def _expanded(execution: Execution, step: StepState, values: list[object], at: float) -> None:
    spec = execution.spec(step)
    if spec.for_each is not None and not step.is_item:
        step.items = values
    else:
        step.entered = True
    step.started_at = at
    step.waiting = None
    inner = inner_steps(execution, step)
    execution.steps.update((one.id, one) for one in inner)
    if step.entered:
        waits = (len(one.depends_on) for one in spec.steps)
        execution.unmet.update(zip((one.id for one in inner), waits, strict=True))
    execution.open_steps += len(inner)


def _ended(execution: Execution, step: StepState, at: float) -> None:
    """The step has ended; those that waited for it wait for one less."""
    step.in_flight = False
    step.retry_at = None
    step.waiting = None
    step.ended_at = at
    execution.open_steps -= 1
    for dependent in execution.dependents_of(step):
        execution.unmet[dependent] -= 1


def renew_lease(step: StepState, until: float) -> None:
    """The executor of the attempt lives: nothing is done about it before `until`."""
    step.lease_until = until


def told_progress(step: StepState, told: tuple[float | None, str | None], at: float) -> None:
    """Remember what the last `step.progress` said."""
    step.progress = told
    step.progress_at = at


def heard(step: StepState, signed_at: int) -> bool:
    """Whether a heartbeat was signed later than the last one that counted; then it counts."""
    later = signed_at > step.heard_at
    step.heard_at = max(signed_at, step.heard_at)
    return later


def held(step: StepState, signed_at: int) -> bool:
    """The same of a report that the attempt waits, or goes on.

    Apart from heartbeats: it may have been signed before one, and sent after it.
    """
    later = signed_at > step.held_at
    step.held_at = max(signed_at, step.held_at)
    return later
