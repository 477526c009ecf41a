"""From captured packets to findings: pure functions, no socket, no process, no clock."""
