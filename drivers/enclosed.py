"""Starts a program in a network namespace of its own; its only way out is the proxy.

Run as a script, with nothing but the standard library: SOCKET PORT -- PROGRAM [ARGUMENT ...].
Inside the namespace, port PORT of loopback leads to SOCKET, the proxy's socket in the file system;
there is no other interface. So a program that does not heed its proxy reaches nothing, loopback
included.

Where no namespace can be made (it takes CAP_SYS_ADMIN or user namespaces), the program starts
without one and has the proxy by its variables only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import threading

_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000
_SET_PDEATHSIG = 1
_GET_FLAGS = 0x8913
_SET_FLAGS = 0x8914
_UP = 0x1
_PIECE = 64 * 1024
#: Connections at once; further ones wait in the kernel's queue.
_CONNECTIONS = 256


def main(arguments: list[str]) -> None:
    """Never returns: becomes the program, or ends with 127 as a shell does."""
    path, port, _, *argv = arguments
    listener = _enclosed(int(port))
    if listener is not None:
        parent = os.getpid()
        if os.fork() == 0:
            _relay(listener, path, parent)
        listener.close()
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # no shell is the point
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        os._exit(127)


def _enclosed(port: int) -> socket.socket | None:
    """The listener inside a new namespace; None where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_NETWORK) != 0:
        if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
            return None
        with contextlib.suppress(OSError):
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/gid_map", f"{group} {group} 1")
            _write("/proc/self/uid_map", f"{user} {user} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sH14x", b"lo", 0)
        (_, flags) = struct.unpack("16sH14x", fcntl.ioctl(control, _GET_FLAGS, asked))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    listener.listen(_CONNECTIONS)
    return listener


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(text)


def _relay(listener: socket.socket, path: str, parent: int) -> None:
    """Serve until the program has ended; holds none of its streams."""
    ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    slots = threading.Semaphore(_CONNECTIONS)
    while True:
        slots.acquire()
        near, _ = listener.accept()
        threading.Thread(target=_carry, args=(near, path, slots), daemon=True).start()


def _carry(near: socket.socket, path: str, slots: threading.Semaphore) -> None:
    far = socket.socket(socket.AF_UNIX)
    try:
        far.connect(path)
        onward = {near: far, far: near}
        while onward:
            for ready in select.select(list(onward), [], [])[0]:
                data = ready.recv(_PIECE)
                if data:
                    onward[ready].sendall(data)
                    continue
                # One direction has ended; the other may go on.
                onward.pop(ready).shutdown(socket.SHUT_WR)
    except OSError:
        pass  # A side went away: the program sees its connection end.
    finally:
        near.close()
        far.close()
        slots.release()


if __name__ == "__main__":
    main(sys.argv[1:])
