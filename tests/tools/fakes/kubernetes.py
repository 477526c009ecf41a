"""A fake Kubernetes API server: discovery, a few objects, logs, scaling, deleting and exec.

It speaks the documented API to a real kubectl; it schedules nothing. `exec` is the WebSocket
protocol `v5.channel.k8s.io` of Kubernetes 1.29 and later, and its one program is `cat`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.certificates import Authority
from tests.tools.fakes.web import Handler, serving

TOKEN = "a-token-of-the-tests"
#: The login of somebody who may do nothing.
VIEWER = "a-token-without-rights"
#: The API group of what is not in the first one.
GROUPS = {
    "deployments": "apps/v1",
    "roles": "rbac.authorization.k8s.io/v1",
    "rolebindings": "rbac.authorization.k8s.io/v1",
}
_RESOURCES = {
    "pods": ("Pod", True),
    "namespaces": ("Namespace", False),
    "events": ("Event", True),
    "nodes": ("Node", False),
}


def _meta(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "uid": f"uid-{name}",
        "creationTimestamp": "2026-01-31T10:00:00Z",
        **more,
    }


def _pod(name: str, app: str, ready: bool, restarts: int) -> dict[str, Any]:
    reason = "CrashLoopBackOff"
    state = {"running": {"startedAt": "2026-01-31T10:00:01Z"}}
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": _meta(name, namespace="shop", labels={"app": app}),
        "spec": {
            # Of one without a node nobody waits until it has ended.
            **({"nodeName": "node-1"} if ready else {}),
            "containers": [{"name": "main", "image": f"{app}:1.4"}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.1.0.7",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": ready,
                    "restartCount": restarts,
                    "image": f"{app}:1.4",
                    "imageID": "",
                    "state": state if ready else {"waiting": {"reason": reason}},
                }
            ],
        },
    }


def objects() -> dict[str, list[dict[str, Any]]]:
    event = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": _meta("web-1.17", namespace="shop"),
        "involvedObject": {"kind": "Pod", "name": "web-1", "namespace": "shop"},
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "type": "Warning",
        "count": 5,
        "source": {"component": "kubelet"},
        "firstTimestamp": "2026-01-31T10:00:00Z",
        "lastTimestamp": "2026-01-31T10:05:00Z",
    }
    names = ("default", "shop")
    return {
        "pods": [_pod("web-0", "web", True, 0), _pod("web-1", "web", False, 7)],
        "namespaces": [
            {
                "kind": "Namespace",
                "apiVersion": "v1",
                "metadata": _meta(name),
                "status": {"phase": "Active"},
            }
            for name in names
        ],
        "events": [event],
        "nodes": [],
        "deployments": [
            {
                "kind": "Deployment",
                "apiVersion": "apps/v1",
                "metadata": _meta("web", namespace="shop", resourceVersion="1"),
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "main", "image": "web:1.4"}]},
                    },
                },
                "status": {"replicas": 2, "readyReplicas": 1},
            }
        ],
    }


@dataclass
class FakeCluster:
    """The fake's address and what it holds; `kubeconfig` names a file for a user of it."""

    folder: Path
    url: str = ""
    objects: dict[str, list[dict[str, Any]]] = field(default_factory=objects)
    #: Whether kubectl asked for exec by the older SPDY, which this fake does not speak.
    asked_for_spdy: bool = False

    def kubeconfig(
        self, token: str = TOKEN, url: str | None = None, *, trusted: bool = True
    ) -> str:
        """A credentials file with the contexts `production` and `staging`."""
        return credentials(self.folder, url or self.url, token, trusted=trusted)

    def read(self, resource: str, name: str, namespace: str = "shop") -> dict[str, Any] | None:
        """What it holds under this name; None where there is nothing."""
        kept = self.objects[resource]
        return next((item for item in kept if item["metadata"]["name"] == name), None)

    def names(self, resource: str, namespace: str = "shop") -> list[str]:
        """The names of all objects of a kind, in order."""
        return sorted(item["metadata"]["name"] for item in self.objects[resource])


def credentials(folder: Path, url: str, token: str, *, trusted: bool = True) -> str:
    """A credentials file for this server, whose authority is `ca.pem` of the folder."""
    trust = {"certificate-authority": str(folder / "ca.pem")} if trusted else {}
    contexts = [
        {"name": name, "context": {"cluster": "test", "user": "ci", "namespace": space}}
        for name, space in (("staging", "shop"), ("production", "default"))
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, **trust}}],
        "users": [{"name": "ci", "user": {"token": token}}],
        "contexts": contexts,
        "current-context": "staging",
    }
    path = folder / f"kubeconfig-{len(list(folder.iterdir()))}"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return str(path)


@contextmanager
def fake_cluster(folder: Path) -> Iterator[FakeCluster]:
    """The fake, while it runs."""
    cluster = FakeCluster(folder)

    class Bound(_Api):
        fake = cluster

    # kubectl sends its token over TLS only.
    with serving(Bound, Authority(folder).server("127.0.0.1")) as url:
        cluster.url = url
        yield cluster


class _Api(Handler):
    fake: FakeCluster

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        sent = self.body()
        parts = urlsplit(self.path)
        query = {key: values for key, values in parse_qs(parts.query).items()}
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in (TOKEN, VIEWER):
            self._status(401, "Unauthorized", "Unauthorized")
            return
        words = parts.path.strip("/").split("/")
        found = _discovery(parts.path)
        if found is not None:
            self._json(found)
            return
        words = words[2:] if words[0] == "api" else words[3:]
        namespace = words[1] if words[0] == "namespaces" and len(words) > 2 else None
        resource, *rest = words[2:] if namespace else words
        if token == VIEWER:
            doing = f'User "viewer" cannot list resource "{resource}" in API group ""'
            self._status(403, "Forbidden", f"{resource} is forbidden: {doing}")
            return
        self._resource(method, resource, rest, query, sent)

    def _resource(
        self, method: str, resource: str, rest: list[str], query: dict[str, list[str]], sent: bytes
    ) -> None:
        kept = self.fake.objects.get(resource)
        if kept is None:
            self._status(404, "NotFound", f"no {resource} here")
        elif not rest:
            selector = query.get("labelSelector", [""])[0]
            wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
            items = [item for item in kept if wanted.items() <= _labels(item).items()]
            kind, version = kept[0]["kind"] if kept else "Pod", "v1"
            if resource == "deployments":
                version = "apps/v1"
            self._json(
                {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items}
            )
        else:
            one = next((item for item in kept if item["metadata"]["name"] == rest[0]), None)
            if one is None:
                self._status(404, "NotFound", f'{resource} "{rest[0]}" not found')
            elif rest[1:] == ["log"]:
                lines = [f"line {number}" for number in range(1, 301)]
                tail = int(query.get("tailLines", ["300"])[0])
                self.answer(200, "".join(f"{x}\n" for x in lines[-tail:]).encode(), "text/plain")
            elif rest[1:] == ["exec"]:
                self._exec(query.get("command", []))
            elif rest[1:] == ["scale"]:
                self._scale(method, one, sent)
            elif method == "DELETE":
                kept.remove(one)
                self._json(one)
            else:
                self._json(one)

    def _scale(self, method: str, one: dict[str, Any], sent: bytes) -> None:
        if method == "PATCH":
            one["spec"]["replicas"] = json.loads(sent)["spec"]["replicas"]
        self._json(
            {
                "kind": "Scale",
                "apiVersion": "autoscaling/v1",
                "metadata": one["metadata"],
                "spec": {"replicas": one["spec"]["replicas"]},
                "status": {"replicas": one["status"]["replicas"]},
            }
        )

    def _exec(self, command: list[str]) -> None:
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None:
            self.fake.asked_for_spdy = True
            self._status(400, "BadRequest", "this fake does exec over WebSockets only")
            return
        salted = f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(_sha1(salted)).decode())
        self.send_header("Sec-WebSocket-Protocol", "v5.channel.k8s.io")
        self.end_headers()
        if command == ["cat"]:
            for channel, data in self._frames():
                if channel == 255:
                    break
                self._frame(1, data)
            self._frame(3, b'{"metadata":{},"status":"Success"}')
        else:
            self._frame(2, f"{command[0]}: not found\n".encode())
            causes = [{"reason": "ExitCode", "message": "127"}]
            failed = {
                "metadata": {},
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": "command terminated with exit code 127",
                "details": {"causes": causes},
            }
            self._frame(3, json.dumps(failed).encode())
        self.wfile.write(b"\x88\x02\x03\xe8")
        self.close_connection = True

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Channel and data of each binary message; masked, as clients must."""
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 0x0F == 8:
                return
            size = head[1] & 0x7F
            if size == 126:
                size = struct.unpack(">H", self.rfile.read(2))[0]
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(size)))
            if head[0] & 0x0F == 2 and data:
                yield data[0], data[1:]

    def _frame(self, channel: int, data: bytes) -> None:
        size = len(data) + 1
        head = bytes([0x82, size]) if size < 126 else b"\x82\x7e" + struct.pack(">H", size)
        self.wfile.write(head + bytes([channel]) + data)
        self.wfile.flush()

    def _json(self, document: dict[str, Any]) -> None:
        self.answer(200, json.dumps(document).encode())

    def _status(self, code: int, reason: str, message: str) -> None:
        document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        self.answer(code, json.dumps(document).encode())


def _sha1(data: bytes) -> bytes:
    # The WebSocket handshake is defined with it.
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _labels(item: dict[str, Any]) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _discovery(path: str) -> dict[str, Any] | None:
    """What the server can do, in the form that every kubectl understands."""
    verbs = ["get", "list", "create", "patch", "delete"]
    match path:
        case "/version":
            return {"major": "1", "minor": "32", "gitVersion": "v1.32.0", "platform": "fake"}
        case "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        case "/apis":
            version = {"groupVersion": "apps/v1", "version": "v1"}
            group = {"name": "apps", "versions": [version], "preferredVersion": version}
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}
        case "/api/v1":
            resources = [
                {"name": name, "singularName": kind.lower(), "namespaced": own, "kind": kind,
                 "verbs": verbs}
                for name, (kind, own) in _RESOURCES.items()
            ]  # fmt: skip
            return {"kind": "APIResourceList", "groupVersion": "v1", "resources": resources}
        case "/apis/apps/v1":
            resources = [
                {"name": "deployments", "singularName": "deployment", "namespaced": True,
                 "kind": "Deployment", "verbs": verbs},
                {"name": "deployments/scale", "singularName": "", "namespaced": True,
                 "group": "autoscaling", "version": "v1", "kind": "Scale",
                 "verbs": ["get", "patch"]},
            ]  # fmt: skip
            return {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": resources}
    return None
