-- Steps that are being cancelled, what compensations came to, and how often a key has run.
--
-- Rows of earlier versions stay valid: every new column may be empty.

-- A new value must not be used in the transaction that adds it, so the conditions below compare
-- text and dates only.
ALTER TYPE execution.step_status ADD VALUE IF NOT EXISTS 'cancelling' AFTER 'running';

ALTER TABLE execution.execution_steps
    -- Set while an attempt is told to end and has not answered.
    ADD COLUMN cancel_requested_at timestamptz;
CREATE INDEX execution_steps_cancelling ON execution.execution_steps (execution_id)
    WHERE cancel_requested_at IS NOT NULL;

ALTER TABLE execution.executions
    -- Steps that undid another one, by final status, from the event that ended the execution.
    ADD COLUMN compensation_counts jsonb,
    -- 1 for the first execution that was accepted under its idempotency key.
    ADD COLUMN run integer;

-- A claimed attempt may be held back by its executor, and one that is told to end is still out.
ALTER TABLE execution.execution_queue DROP CONSTRAINT execution_queue_status_check;
ALTER TABLE execution.execution_queue ADD CONSTRAINT execution_queue_status_check
    CHECK (status::text IN ('dispatched', 'waiting', 'running', 'cancelling'));
