"""A network namespace for one program, whose only way out is the proxy. Standard library only.

Inside, a port of loopback leads to the proxy's socket in the file system; there is no other
interface. So a program that does not heed its proxy reaches nothing, loopback included.

Where no namespace can be made (it takes CAP_SYS_ADMIN, or user namespaces for a program that runs
as the executor's own user), the program has the proxy by its variables only.

Sources: unshare(2), network_namespaces(7), user_namespaces(7), netdevice(7).
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
import threading
from dataclasses import dataclass
from pathlib import Path

from drivers import confinement

_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000
_GET_FLAGS = 0x8913
_SET_FLAGS = 0x8914
_UP = 0x1
_PIECE = 64 * 1024
#: Connections at once; further ones wait in the kernel's queue.
_CONNECTIONS = 256
#: Beyond any descriptor of a supervisor.
_DESCRIPTORS = 65_536


@dataclass(frozen=True, slots=True)
class WayOut:
    """The proxy: its socket in the file system, and the port by which the program finds it."""

    socket: str
    port: int


def enter(port: int, *, other_user: bool) -> socket.socket | None:
    """Move this process into a new namespace; its listener there, or None where it stays.

    `other_user` says that the process becomes another user afterwards, which it could not in a
    user namespace of its own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_NETWORK) != 0:
        if other_user or libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
            return None
        with contextlib.suppress(OSError):
            _write("setgroups", "deny")
            _write("gid_map", f"{group} {group} 1")
            _write("uid_map", f"{user} {user} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sH14x", b"lo", 0)
        (_, flags) = struct.unpack("16sH14x", fcntl.ioctl(control, _GET_FLAGS, asked))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags | _UP))
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    listener.listen(_CONNECTIONS)
    return listener


def relay(listener: socket.socket, path: str) -> None:
    """Lead what connects to `path`, from a child of this process that ends with it."""
    parent = os.getpid()
    if os.fork() != 0:
        listener.close()
        return
    try:
        confinement.end_with_parent(parent)
        # Nothing else of this process may be held open by it.
        signal.set_wakeup_fd(-1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.closerange(3, listener.fileno())
        os.closerange(listener.fileno() + 1, _DESCRIPTORS)
        _serve(listener, path)
    finally:
        os._exit(1)


def _write(file: str, text: str) -> None:
    Path("/proc/self", file).write_text(text, encoding="ascii")


def _serve(listener: socket.socket, path: str) -> None:
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
