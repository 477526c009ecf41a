-- What attempts wrote, what could not be read, and how far the sink has come.

CREATE TABLE execution.output (
    execution_id  uuid        NOT NULL,
    step          text        NOT NULL,
    attempt       integer     NOT NULL,
    stream        text        NOT NULL CHECK (stream IN ('stdout', 'stderr')),
    -- Chunk number of the stream, from 0, and the bytes before it.
    chunk         bigint      NOT NULL,
    byte_offset   bigint      NOT NULL,
    tenant        text        NOT NULL,
    text          text        NOT NULL,
    -- The broker's time of the chunk.
    at            timestamptz NOT NULL,
    PRIMARY KEY (execution_id, step, attempt, stream, chunk)
);

-- A copy of every dead letter for search and statistics; the topic keeps the letter itself.
CREATE TABLE execution.execution_dlq (
    topic            text        NOT NULL,
    partition        integer     NOT NULL,
    "offset"         bigint      NOT NULL,
    at               timestamptz NOT NULL,
    error_class      text,
    error_message    text,
    stage            text,
    source_topic     text,
    source_partition integer,
    source_offset    bigint,
    execution_id     text,
    -- The first bytes; the lengths are those of the letter.
    key              bytea,
    key_bytes        integer,
    value            bytea,
    value_bytes      integer,
    headers          jsonb       NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);
CREATE INDEX execution_dlq_by_class ON execution.execution_dlq (error_class, at);
CREATE INDEX execution_dlq_by_execution ON execution.execution_dlq (execution_id)
    WHERE execution_id IS NOT NULL;

-- The next record that the sink wants, per partition, written in the transaction of the rows.
CREATE TABLE execution.sink_offsets (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);
