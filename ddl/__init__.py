"""The tables of the system, as numbered plain SQL; `sinks.migrate` applies them in order."""
