-- What `runstream list` and `runstream stats` ask, at millions of events.
--
-- Lists are newest first, so each index ends with the time or, where it leads to executions from
-- another table, with the execution id, whose first 48 bits are the time.

CREATE INDEX executions_by_time ON execution.executions (created_at DESC, execution_id DESC);
CREATE INDEX executions_by_status ON execution.executions (status, created_at DESC);
CREATE INDEX executions_by_actor ON execution.executions (actor, created_at DESC);

-- Words of what people see of an execution: its name, and why it stands or ended as it did.
CREATE INDEX executions_by_words ON execution.executions USING gin (
    to_tsvector('simple', coalesce(name, '') || ' ' || coalesce(status_reason, '') || ' '
                          || coalesce(error_message, ''))
);

-- Those that took longer than their class promises are few.
CREATE INDEX executions_late ON execution.executions (created_at DESC)
    WHERE completed_at IS NOT NULL
      AND extract(epoch FROM completed_at - created_at) > sla_seconds;

CREATE INDEX execution_steps_by_target ON execution.execution_steps (target, execution_id DESC)
    WHERE target IS NOT NULL;

-- Rows are written in the order of time, so a few pages of a range are read and no others.
CREATE INDEX attempts_by_time ON execution.attempts USING brin (completed_at);
