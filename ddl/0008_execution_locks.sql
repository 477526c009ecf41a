-- Who holds which asset, from lock.acquired, lock.released and lock.expired.
--
-- A lease is renewed without an event, so its end is not known here. Tokens grow with each grant, by
-- one or more. Of an asset that has just changed hands the row may be missing for a moment, since
-- the events of two executions are read apart; it never shows the former holder after the new one.

ALTER TABLE execution.execution_locks
    ALTER COLUMN expires_at DROP NOT NULL,
    ADD COLUMN lease_seconds double precision;
