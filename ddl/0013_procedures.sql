-- Which procedure a request named in the place of a plan, as execution.accepted says it.
--
-- Rows of earlier versions, and of plans that stand in their request, have none.

ALTER TABLE execution.executions
    ADD COLUMN procedure text,
    ADD COLUMN procedure_version text,
    -- SHA-256 of the procedure's plan with its inputs.
    ADD COLUMN procedure_digest text;

CREATE INDEX executions_by_procedure ON execution.executions (procedure, created_at DESC)
    WHERE procedure IS NOT NULL;
