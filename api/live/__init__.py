"""Live: events, progress and output of the topics, sent to readers as they are written."""
