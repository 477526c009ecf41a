"""The HTTP API: a window on the topics and tables; it writes requests and control messages only."""
