"""The process that forks a supervisor for each attempt: small, and with one thread.

A fork is cheap and safe here, which it is not in the executor with its threads and its memory. Over
stdin, a socket, comes one byte for each attempt, with descriptors: the connection of its
supervisor; stdin, stdout and stderr of the program; and, where it has a user id of its own, the
lock of that, held until the supervisor has ended. At the end of the input this process ends; each
supervisor sees the end of its own connection. Standard library only.
"""

from __future__ import annotations

import gc
import os
import signal
import socket

from drivers.attempt_supervisor import supervise
from runtime.environment import forbid_reading

_MOST_DESCRIPTORS = 5


def main() -> None:
    """Serve until the executor closes the other end."""
    # The supervisors get the environments of programs, in which secrets can be.
    forbid_reading()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Supervisors that have ended are no zombies.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    executor = socket.socket(fileno=os.dup(0))
    # The programs' descriptors take the places of the standard ones.
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    # What was loaded stays; a collection would make each process that is forked copy it.
    gc.disable()
    gc.freeze()
    while True:
        data, descriptors, _, _ = socket.recv_fds(executor, 1, _MOST_DESCRIPTORS)
        if not data:
            return
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        try:
            pid = os.fork()
        except OSError:
            pid = -1  # The executor sees that its connection is closed.
        if pid == 0:
            executor.close()
            supervise(socket.socket(fileno=descriptors[0]), descriptors[1:4])
        for descriptor in descriptors:
            os.close(descriptor)
