-- What is out at this moment, who holds which asset, and the timing matrix.

-- One row per attempt that was dispatched and has not ended; derived from the events. The queue
-- that executors work from is the topic of their domain: nothing reads work from this table.
CREATE TABLE execution.execution_queue (
    execution_id  uuid    NOT NULL,
    step          text    NOT NULL,
    attempt       integer NOT NULL,
    tenant        text    NOT NULL,
    tool          text,
    domain        text,
    topic         text,
    target        text,
    status        execution.step_status NOT NULL CHECK (status IN ('dispatched', 'running')),
    enqueued_at   timestamptz,
    -- No claim is good after this moment.
    expires_at    timestamptz,
    claimed_at    timestamptz,
    -- The instance that holds the claim, and how long it may be silent.
    executor      text,
    lease_seconds double precision,
    last_seq      bigint  NOT NULL,
    PRIMARY KEY (execution_id, step, attempt)
) WITH (fillfactor = 80);
CREATE INDEX execution_queue_by_domain ON execution.execution_queue (domain, status, enqueued_at);

-- Filled from lock events; empty until assets are locked.
CREATE TABLE execution.execution_locks (
    tenant        text        NOT NULL,
    asset         text        NOT NULL,
    execution_id  uuid        NOT NULL,
    step          text,
    owner         text,
    -- Grows by one per grant of this asset.
    fencing_token bigint      NOT NULL,
    acquired_at   timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    last_seq      bigint      NOT NULL,
    PRIMARY KEY (tenant, asset)
);
CREATE INDEX execution_locks_by_execution ON execution.execution_locks (execution_id);

-- The matrix by which the router chooses timings, for people and reports; the router's own copy
-- is code. Seconds, except the attempts, which depend on the SLA class alone.
CREATE TABLE execution.timeout_policies (
    sla_class                 execution.sla_class NOT NULL,
    action_class              text    NOT NULL CHECK (action_class IN ('read', 'modify', 'deploy')),
    step_timeout_seconds      integer NOT NULL,
    execution_timeout_seconds integer NOT NULL,
    lease_timeout_seconds     integer NOT NULL,
    approval_timeout_seconds  integer NOT NULL,
    max_attempts              integer NOT NULL,
    PRIMARY KEY (sla_class, action_class)
);
INSERT INTO execution.timeout_policies VALUES
    ('fast',   'read',     5,   10,   15,  300, 2),
    ('fast',   'modify',   8,   15,   20,  600, 2),
    ('fast',   'deploy',  10,   20,   30,  900, 2),
    ('medium', 'read',    15,   30,   45,  600, 3),
    ('medium', 'modify',  20,   45,   60,  900, 3),
    ('medium', 'deploy',  30,   60,   90, 1800, 3),
    ('long',   'read',    60,  300,  360, 1800, 5),
    ('long',   'modify', 120,  600,  720, 3600, 5),
    ('long',   'deploy', 300, 1800, 2160, 7200, 5);
