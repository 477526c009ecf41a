-- What retention looks for, and what it has deleted.

-- Ended executions, oldest first.
CREATE INDEX executions_by_end ON execution.executions (completed_at, execution_id)
    WHERE completed_at IS NOT NULL;
CREATE INDEX execution_dlq_by_time ON execution.execution_dlq USING brin (at);

-- One row per rule of a run that deleted something. Retention never deletes from it.
CREATE TABLE execution.retention_runs (
    ran_at       timestamptz NOT NULL DEFAULT now(),
    -- output, attempts, executions, events or dead_letters.
    class        text        NOT NULL,
    -- Null: every tenant without a rule of its own.
    tenant       text,
    -- What ended before this moment went.
    before       timestamptz NOT NULL,
    deleted_rows bigint      NOT NULL,
    bytes        bigint      NOT NULL,
    -- False where it was stopped or failed on the way.
    finished     boolean     NOT NULL
);
CREATE INDEX retention_runs_by_time ON execution.retention_runs (ran_at DESC);
