-- The chain of events, and the router's signature over it at the end of an execution.
--
-- Rows of earlier versions stay valid: they have neither.

ALTER TABLE execution.execution_events
    -- Hash over this event and all before it of its execution; see docs/audit.md.
    ADD COLUMN chain text,
    -- The header `runstream-signature` of the record.
    ADD COLUMN signature text;
