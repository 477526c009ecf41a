-- An execution is shown with those that repeat it.

CREATE INDEX executions_by_rerun ON execution.executions (rerun_of, created_at)
    WHERE rerun_of IS NOT NULL;
