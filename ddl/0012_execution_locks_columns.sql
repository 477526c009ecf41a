-- Nothing ever filled these two. Who holds an asset is the execution, which has a column; the end of
-- a lease moves without an event, so the tables cannot say it: acquired_at and lease_seconds say
-- when it would have ended without a renewal.

ALTER TABLE execution.execution_locks
    DROP COLUMN owner,
    DROP COLUMN expires_at;
