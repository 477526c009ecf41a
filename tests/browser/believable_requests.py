"""Believable approvals, procedures and answers of a router, for pages without one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from api.problems import FieldError, Problem
from reading.models.approvals import (
    ApprovalPage,
    ApprovalRequest,
    EffectCounts,
    HostEffects,
    PlannedCall,
    Verdict,
)
from reading.models.executions import ApprovalState, Decision
from reading.models.procedures import (
    ProcedureDetail,
    ProcedureInput,
    ProcedureList,
    ProcedureSummary,
    VersionUse,
)
from streams.explained import Explained, ExplainedCall
from streams.problems import Problem as PlanProblem
from tests.browser.believable import HOSTILE, NOW, execution_id, summary

PLAN_HASH: Final = "9f2c6a1be07d43f5a8c1d2e3f4051627384950a1b2c3d4e5f60718293a4b5c6d"
_WEB: Final = [f"web-{number:02}" for number in range(1, 13)]


def approval(number: int, **given: Any) -> ApprovalRequest:
    """One approval; number 1 is of two, and one was given."""
    name, actor, environment, effects, hosts = _APPROVALS[number % len(_APPROVALS)]
    own = actor == "dana@acme"
    execution = summary(
        number, status="pending_approval", name=name, actor=actor, environment=environment,
        approval_level=2 if number == 1 else 1, procedure="rotate-credentials", step_counts=None,
    )  # fmt: skip
    decisions = [Decision(at=NOW - timedelta(minutes=4), actor="sam@acme", approved=True,
                          reason="checked against the change CHG-2231")]  # fmt: skip
    state = ApprovalState(
        state="pending", level=execution.approval_level, given=1 if number == 1 else 0,
        plan_hash=PLAN_HASH, requested_by=actor, requested_at=NOW - timedelta(minutes=7 + number),
        expires_at=NOW + timedelta(minutes=23 + 40 * number), decided_by=None, decided_at=None,
        reason=None, decisions=decisions if number == 1 else [],
    )  # fmt: skip
    values: dict[str, Any] = dict(
        execution=execution, approval=state, effects=EffectCounts(**effects), hosts=hosts,
        hosts_left_out=0, calls=_calls(number), calls_left_out=0,
        verdicts=[Verdict(at=NOW, action="systemctl:restart", resource=host, allowed=True,
                          rule="operators", message=None) for host in _WEB[:6]],
        may_approve=not own, may_reject=True,
        why_not="you asked for it, so somebody else must approve it" if own else None,
    )  # fmt: skip
    values.update(given)
    return ApprovalRequest(**values)


def _host(name: str | None, read: int, modify: int, destroy: int = 0) -> HostEffects:
    return HostEffects(host=name, read=read, modify=modify, destroy=destroy)


_APPROVALS: Final = (
    ("patch web tier", "ci@acme", "prod", {"read": 24, "modify": 12, "destroy": 0},
     [_host(name, 2, 1) for name in _WEB]),
    ("rotate database credentials", "ci@acme", "prod", {"read": 5, "modify": 4, "destroy": 1},
     [_host("db-primary", 2, 2, 1), _host("db-replica-1", 1, 1), _host("db-replica-2", 1, 1),
      _host(None, 1, 0)]),
    ("update packages on 40 hosts", "dana@acme", "prod", {"read": 40, "modify": 40, "destroy": 0},
     [_host(f"host-{number:02}", 1, 1) for number in range(1, 41)]),
    (HOSTILE, "intern@acme", "staging", {"read": 0, "modify": 0, "destroy": 3},
     [_host(HOSTILE, 0, 0, 3)]),
)  # fmt: skip


def _calls(number: int) -> list[PlannedCall]:
    def call(
        step: str, tool: str, effect: Any, hosts: list[str | None], **more: Any
    ) -> PlannedCall:
        values: dict[str, Any] = dict(
            field=f"plan.steps.{step}", step=step, description=None, tool=tool, domain="system",
            effect=effect, hosts=hosts, items=1, compensates=False, when=None, become=None,
            parameters={},
        )  # fmt: skip
        return PlannedCall(**{**values, **more})

    if number == 3:
        return [call(HOSTILE, "rm", "destroy", [HOSTILE], description=HOSTILE, when=HOSTILE,
                     parameters={HOSTILE: HOSTILE})]  # fmt: skip
    return [
        call("check-replication", "postgres-query", "read", ["db-primary"],
             description="lag of every replica",
             parameters={"query": "SELECT * FROM pg_stat_replication"}),
        call("new-password", "postgres-execute", "modify", ["db-primary"], become="postgres",
             parameters={"statement": "ALTER ROLE app PASSWORD :password",
                         "password": {"type": "secret", "path": "vault/app-db"}}),
        call("reload-pools", "systemctl", "modify", ["db-replica-1", "db-replica-2", *_WEB],
             items=14, parameters={"action": "reload", "unit": "pgbouncer"}),
        call("drop-old-role", "postgres-execute", "destroy", ["db-primary"],
             when="steps['check-replication'].output.rows.all(r, r.lag < 10)",
             parameters={"statement": "DROP ROLE app_old"}),
        call("restore-password", "postgres-execute", "modify", [None], compensates=True),
    ]  # fmt: skip


class BelievableApprovals:
    """What waits for a person, and decisions that are kept."""

    def __init__(self, count: int = 4) -> None:
        """With so many approvals."""
        self.count = count
        self.decided: list[tuple[str, str, str | None]] = []

    def page(self, after: str | None) -> ApprovalPage:
        """All of them."""
        return ApprovalPage(approvals=[approval(one) for one in range(self.count)], next=None)

    def one(self, ident: str) -> ApprovalRequest | None:
        """One of them."""
        for number in range(self.count):
            if execution_id(number) == ident:
                return approval(number)
        return None

    async def approve(self, ident: str, plan_hash: str, reason: str | None) -> None:
        """Keep the decision; another plan than the one that was read is refused."""
        if plan_hash != PLAN_HASH:
            raise Problem(409, "refused", "the plan is not the one that was read: read it again")
        self.decided.append(("approve", ident, reason))

    async def reject(self, ident: str, reason: str | None) -> None:
        """Keep the decision."""
        self.decided.append(("reject", ident, reason))


def input_of(name: str, kind: str = "string", **more: Any) -> ProcedureInput:
    """One declared input."""
    nothing = dict.fromkeys(
        ("description", "default", "enum", "pattern", "minimum", "maximum", "min_length",
         "max_length", "items")
    )  # fmt: skip
    values = {**nothing, "name": name, "type": kind, "required": False, "secret": False, **more}
    return ProcedureInput(**values)


INPUTS: Final = [
    input_of("hosts", "list", items="string", required=True, min_length=1, max_length=40,
           description="Hosts to update, in this order."),
    input_of("release", required=True, pattern=r"[0-9]+\.[0-9]+\.[0-9]+",
           description="The release to install."),
    input_of("channel", enum=["stable", "candidate", "nightly"], default="stable"),
    input_of("batch", "integer", default=4, minimum=1, maximum=20,
           description="Hosts at the same time."),
    input_of("pause_seconds", "number", default=1.5, minimum=0),
    input_of("reboot", "boolean", default=False, description="Reboot where the kernel is new."),
    input_of("token", secret=True, description="For the package repository."),
    input_of("labels", "object", default={"team": "web"}),
]  # fmt: skip
_PROCEDURES: Final = (
    ("backup", "Nightly backup of every database", "prod", "platform@acme", 6, ()),
    ("deploy-api", "Deploy a release of the API, one host after the other", "prod", "ci@acme", 9,
     ("release",)),
    ("disk-report", "Free space of every host, as one table", None, "dana@acme", 2, ()),
    ("patch-web", "Update packages of the web tier in batches", "prod", "platform@acme", 7,
     ("hosts", "release")),
    ("renew-certs", "Renew certificates that end within 30 days", "prod", "platform@acme", 4, ()),
    ("rotate-credentials", "New passwords for the application's database role", "prod",
     "security@acme", 5, ("role",)),
)  # fmt: skip


class BelievableProcedures:
    """Procedures, of which `patch-web` has an input of each kind."""

    def __init__(self, *, empty: bool = False) -> None:
        """With procedures, unless it is empty."""
        self.empty = empty

    def every(self) -> ProcedureList:
        """All of them."""
        found = [] if self.empty else [_procedure(*one) for one in _PROCEDURES]
        return ProcedureList(procedures=found, total=len(found))

    def one(self, name: str) -> ProcedureDetail | None:
        """One of them."""
        for one in _PROCEDURES:
            if one[0] == name:
                return ProcedureDetail(
                    **_procedure(*one).model_dump(),
                    input_list=INPUTS if name == "patch-web" else [],
                    input_schema={}, plan={"name": one[1], "steps": [{"tool": "apt-upgrade"}]},
                    versions=[VersionUse(version="3", digest=PLAN_HASH, executions=41,
                                         first_at=NOW - timedelta(days=60),
                                         last_at=NOW - timedelta(hours=5))],
                )  # fmt: skip
        return None


def _procedure(
    name: str, text: str, environment: str | None, actor: str, steps: int, needs: tuple[str, ...]
) -> ProcedureSummary:
    return ProcedureSummary(
        name=name, version="3", description=text, environment=environment, actor=actor,
        signed=actor != "ci@acme", digest=PLAN_HASH, steps=steps,
        inputs=len(INPUTS) if name == "patch-web" else len(needs), required_inputs=list(needs),
    )  # fmt: skip


class BelievableRequests:
    """A router that answers by what stands in the request."""

    def __init__(self) -> None:
        """Nothing was submitted yet."""
        self.submitted: dict[str, dict[str, Any]] = {}

    async def explain(self, request: dict[str, Any]) -> Explained:
        """Refuse a release that is none, as the router does; else two calls."""
        release = request.get("inputs", {}).get("release", "2.14.1")
        if not str(release).replace(".", "").isdigit():
            problems = [PlanProblem("inputs.release", f"{release!r} does not match its pattern"),
                        PlanProblem("plan.steps[2].tool", HOSTILE)]  # fmt: skip
            return Explained("rejected", "dana@acme", "invalid", "the request is not valid",
                             problems)  # fmt: skip
        return Explained(
            "accepted", "dana@acme", plan_hash=PLAN_HASH, environment="prod", sla_class="medium",
            action_class="modify", timeout_seconds=3600, sla_seconds=600, approval_level=1,
            approval_seconds=1800, calls=[
                ExplainedCall("plan.steps[0]", "df", "read", ["web-01", "web-02"], False,
                              False, True, "operators-read", 30, 1, step="free-space",
                              invocation={"driver": "ssh", "argv": ["df", "-P", "/"]}),
                ExplainedCall("plan.steps[1]", "apt-upgrade", "write", [None], True, True,
                              True, "operators-modify", 900, 3, step="upgrade", become="root",
                              templates=["host"]),
                ExplainedCall("plan.steps[2]", "reboot", "write", ["web-01"], True, True,
                              False, "no-reboots", 300, 1, step="reboot",
                              message="no rule allows reboot on web-01 in prod"),
            ],
        )  # fmt: skip

    async def submit(self, request: dict[str, Any], key: str) -> str:
        """Keep it, once for its key."""
        if request.get("plan", request).get("steps") == []:
            errors = [FieldError(field="plan.steps", message="give one at least")]
            raise Problem(422, "invalid_plan", "the plan has no steps", errors=errors)
        self.submitted.setdefault(key, request)
        return execution_id(0)
