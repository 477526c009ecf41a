-- Which schedule or trigger an execution came from, as execution.accepted says it.
--
-- Rows of earlier versions, and of executions that somebody asked for, have none.

ALTER TABLE execution.executions
    ADD COLUMN started_by_kind text CHECK (started_by_kind IN ('schedule', 'trigger')),
    ADD COLUMN started_by text,
    -- The moment of the schedule, or topic, partition and offset of the record.
    ADD COLUMN started_by_cause text;

CREATE INDEX executions_by_starter ON execution.executions (started_by, created_at DESC)
    WHERE started_by IS NOT NULL;
