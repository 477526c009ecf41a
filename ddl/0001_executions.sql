-- Executions, their steps and attempts, and the event log that all of it is derived from.
--
-- Every row of this file is a function of `execution.events`: the sink writes nothing that is not
-- in an event, so an empty database filled from the topics is equal to this one.
--
-- No foreign keys on purpose. The log is the truth and has one writer; a parked event must not
-- take the later events of its execution with it, and history may be deleted table by table.

CREATE SCHEMA IF NOT EXISTS execution;

CREATE TYPE execution.execution_status AS ENUM (
    'pending_approval', 'approved', 'queued', 'running', 'paused', 'needs_attention',
    'completed', 'partial', 'failed', 'cancelled', 'timeout', 'rejected'
);
CREATE TYPE execution.execution_mode AS ENUM ('immediate', 'background');
CREATE TYPE execution.sla_class AS ENUM ('fast', 'medium', 'long');
CREATE TYPE execution.approval_state AS ENUM (
    'pending', 'approved', 'rejected', 'expired', 'cancelled'
);
CREATE TYPE execution.step_status AS ENUM (
    'pending', 'waiting', 'dispatched', 'running', 'needs_attention', 'lost',
    'succeeded', 'failed', 'timed_out', 'cancelled', 'skipped', 'compensated'
);

CREATE TABLE execution.execution_events (
    event_id     text        NOT NULL PRIMARY KEY,
    execution_id uuid        NOT NULL,
    seq          bigint      NOT NULL CHECK (seq >= 1),
    event_type   text        NOT NULL,
    at           timestamptz NOT NULL,
    tenant       text        NOT NULL,
    step         text,
    attempt      integer,
    data         jsonb       NOT NULL,
    UNIQUE (execution_id, seq)
);
CREATE INDEX execution_events_at ON execution.execution_events USING brin (at);

CREATE TABLE execution.executions (
    execution_id        uuid        NOT NULL PRIMARY KEY,
    tenant              text        NOT NULL,
    name                text,
    actor               text,
    environment         text,
    idempotency_key     text,
    -- Null only where the events that would say it were parked or have expired.
    status              execution.execution_status,
    -- Why it stands where it stands: who paused it, what needs attention, why it ended.
    status_reason       text,
    execution_mode      execution.execution_mode,
    sla_class           execution.sla_class,
    action_class        text,
    priority            integer,
    approval_level      integer,
    plan                jsonb,
    plan_hash           text,
    timeout_seconds     double precision,
    sla_seconds         double precision,
    rerun_of            text,
    -- Only on a rejection: the first execution whose key it used for another body.
    conflicts_with      text,
    total_steps         integer,
    -- Steps by final status, from the event that ended the execution.
    step_counts         jsonb,
    created_at          timestamptz NOT NULL,
    queued_at           timestamptz,
    started_at          timestamptz,
    cancel_requested_at timestamptz,
    completed_at        timestamptz,
    duration_seconds    double precision,
    error_class         text,
    error_message       text,
    updated_at          timestamptz NOT NULL,
    -- The number of the last event that is in this row.
    last_seq            bigint      NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX executions_by_tenant ON execution.executions (tenant, created_at DESC);
CREATE INDEX executions_by_key ON execution.executions (tenant, idempotency_key);
-- The live ones are few, whatever the history.
CREATE INDEX executions_live ON execution.executions (tenant, status, created_at)
    WHERE completed_at IS NULL;

CREATE TABLE execution.execution_steps (
    execution_id     uuid    NOT NULL,
    step             text    NOT NULL,
    tenant           text    NOT NULL,
    -- Place in the plan, from 0; the items of a `for_each` step have the place of their parent.
    step_index       integer,
    -- The `for_each` step that this is an item of; the step that this one undoes.
    parent           text,
    undoes           text,
    tool             text,
    domain           text,
    description      text,
    depends_on       jsonb,
    target           text,
    status           execution.step_status,
    -- Why it waits, was skipped or cancelled.
    status_reason    text,
    waiting_until    timestamptz,
    -- The latest; 0 until the first dispatch.
    attempt          integer NOT NULL DEFAULT 0,
    executor         text,
    percent          double precision,
    progress_message text,
    -- The plan's parameters; from the first dispatch on, with their references filled in.
    input_data       jsonb,
    output_data      jsonb,
    started_at       timestamptz,
    completed_at     timestamptz,
    duration_seconds double precision,
    -- Of the status that it has; earlier failures stand with their attempts.
    error_class      text,
    error_message    text,
    updated_at       timestamptz NOT NULL,
    last_seq         bigint  NOT NULL,
    PRIMARY KEY (execution_id, step)
) WITH (fillfactor = 80);
CREATE INDEX execution_steps_by_tool ON execution.execution_steps (tool);

CREATE TABLE execution.attempts (
    execution_id     uuid    NOT NULL,
    step             text    NOT NULL,
    attempt          integer NOT NULL,
    tenant           text    NOT NULL,
    tool             text,
    domain           text,
    target           text,
    executor         text,
    status           execution.step_status,
    dispatched_at    timestamptz,
    expires_at       timestamptz,
    started_at       timestamptz,
    completed_at     timestamptz,
    duration_seconds double precision,
    -- What a failed attempt brought nevertheless; that of a success is the step's output_data.
    output           jsonb,
    stdout           jsonb,
    stderr           jsonb,
    error_class      text,
    error_message    text,
    -- A new attempt may succeed, and was safe to make.
    transient        boolean,
    -- No other attempt followed.
    final            boolean,
    -- What a cancelled attempt left behind: pids reaped, or that nobody knows.
    evidence         jsonb,
    last_seq         bigint  NOT NULL,
    PRIMARY KEY (execution_id, step, attempt)
) WITH (fillfactor = 80);

CREATE TABLE execution.approvals (
    execution_id   uuid    NOT NULL PRIMARY KEY,
    tenant         text    NOT NULL,
    state          execution.approval_state NOT NULL,
    approval_level integer,
    plan_hash      text,
    requested_by   text,
    requested_at   timestamptz,
    expires_at     timestamptz,
    decided_by     text,
    decided_at     timestamptz,
    reason         text,
    last_seq       bigint  NOT NULL
);
CREATE INDEX approvals_pending ON execution.approvals (tenant, expires_at) WHERE state = 'pending';

CREATE TABLE execution.audit (
    event_id     text        NOT NULL PRIMARY KEY,
    execution_id uuid        NOT NULL,
    seq          bigint      NOT NULL,
    at           timestamptz NOT NULL,
    tenant       text        NOT NULL,
    actor        text,
    action       text        NOT NULL,
    allowed      boolean,
    message      text,
    data         jsonb       NOT NULL
);
CREATE INDEX audit_by_execution ON execution.audit (execution_id, seq);
CREATE INDEX audit_by_actor ON execution.audit (tenant, actor, at);
