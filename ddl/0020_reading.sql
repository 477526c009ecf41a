-- What the API asks besides the command line.

-- An execution is shown with those that repeat it.
CREATE INDEX executions_by_rerun ON execution.executions (rerun_of, created_at)
    WHERE rerun_of IS NOT NULL;

-- Dead letters are listed newest first.
CREATE INDEX execution_dlq_newest
    ON execution.execution_dlq (at DESC, topic, partition, "offset" DESC);
