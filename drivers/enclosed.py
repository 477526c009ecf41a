"""A network namespace for one program, whose only way out is the proxy. Standard library only.

Inside, a port of loopback leads to the proxy's socket in the file system; there is no other
interface. So a program that does not heed its proxy reaches nothing, loopback included. Programs in
Go never use a proxy for loopback: a server there that the step names has its port here too, from
which a tunnel leads through the proxy, and so through its checks.

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
_HEAD = 1024
#: Connections at once; further ones wait in the kernel's queue.
_CONNECTIONS = 256
#: Beyond any descriptor of a supervisor.
_DESCRIPTORS = 65_536


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A port of loopback that leads through the proxy to the same port outside."""

    port: int
    #: What the proxy is sent first: a CONNECT request with the password of the step.
    request: str


@dataclass(frozen=True, slots=True)
class WayOut:
    """The proxy: its socket in the file system, and the port by which the program finds it."""

    socket: str
    port: int
    tunnels: tuple[Tunnel, ...] = ()


#: A socket that listens, and what is sent first for each of its connections.
Listener = tuple[socket.socket, bytes]


def enter(way_out: WayOut, *, other_user: bool) -> list[Listener] | None:
    """Move this process into a new namespace; its listeners there, or None where it stays.

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
    found = [(_listening(way_out.port), b"")]
    for tunnel in way_out.tunnels:
        with contextlib.suppress(OSError):  # The port is taken: the program says that it fails.
            found.append((_listening(tunnel.port), tunnel.request.encode()))
    return found


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def relay(listeners: list[Listener], path: str) -> None:
    """Lead what connects to `path`, from a child of this process that ends with it."""
    parent = os.getpid()
    if os.fork() != 0:
        for listener, _ in listeners:
            listener.close()
        return
    try:
        confinement.end_with_process(parent)
        # Nothing else of this process may be held open by it.
        signal.set_wakeup_fd(-1)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        first = 3
        for descriptor in sorted(listener.fileno() for listener, _ in listeners):
            os.closerange(first, descriptor)
            first = descriptor + 1
        os.closerange(first, _DESCRIPTORS)
        slots = threading.Semaphore(_CONNECTIONS)
        for one in listeners[1:]:
            threading.Thread(target=_serve, args=(one, path, slots), daemon=True).start()
        _serve(listeners[0], path, slots)
    finally:
        os._exit(1)


def _write(file: str, text: str) -> None:
    Path("/proc/self", file).write_text(text, encoding="ascii")


def _serve(listener: Listener, path: str, slots: threading.Semaphore) -> None:
    while True:
        slots.acquire()
        try:
            near, _ = listener[0].accept()
        except OSError:
            return  # Its server could not be connected to.
        threading.Thread(target=_carry, args=(near, path, listener, slots), daemon=True).start()


def _carry(near: socket.socket, path: str, listener: Listener, slots: threading.Semaphore) -> None:
    far = socket.socket(socket.AF_UNIX)
    accepting, request = listener
    try:
        far.connect(path)
        if request and not _tunnelled(far, request):
            # From now on refused: a connection that only ends would be tried again and again.
            accepting.shutdown(socket.SHUT_RDWR)
            return
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


def _tunnelled(far: socket.socket, request: bytes) -> bool:
    """Whether the proxy leads on; nothing of what follows its answer is read."""
    far.sendall(request)
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < _HEAD:
        byte = far.recv(1)
        if not byte:
            return False
        head += byte
    return head.startswith(b"HTTP/1.1 200 ")
