"""A real Kubernetes API server with its etcd: it keeps and checks objects, and nothing runs them.

There is no kubelet and no controller, so a pod is what a test wrote, and has no logs. The API
server is one that `make programs` builds.
"""

from __future__ import annotations

import base64
import gzip
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from devstack.ports import free_port
from tests.certificates import Authority
from tests.tools.built import built
from tests.tools.fakes.kubernetes import GROUPS, TOKEN, VIEWER, credentials, objects
from tests.tools.running import listens, program, server, until

#: What tests make in a namespace.
_RESET = (
    "deployments", "pods", "events", "configmaps", "secrets", "rolebindings", "roles",
)  # fmt: skip


@dataclass(frozen=True)
class RealCluster:
    """The server's address; `kubeconfig` names a file for a user of it."""

    folder: Path
    url: str
    api: httpx.Client

    def kubeconfig(
        self, token: str = TOKEN, url: str | None = None, *, trusted: bool = True
    ) -> str:
        """A credentials file with the contexts `production` and `staging`."""
        return credentials(self.folder, url or self.url, token, trusted=trusted)

    def read(self, resource: str, name: str, namespace: str = "shop") -> dict[str, Any] | None:
        """What the server keeps under this name; None where there is nothing."""
        answer = self.api.get(f"{_place(resource, namespace)}/{name}")
        return None if answer.status_code == 404 else _said(answer)

    def names(self, resource: str, namespace: str = "shop") -> list[str]:
        """The names of all objects of a kind, in order."""
        items = _said(self.api.get(_place(resource, namespace)))["items"]
        return sorted(item["metadata"]["name"] for item in items)

    def reset(self) -> None:
        """The objects of the fake, as new; nothing else in their namespace and none of a test's."""
        for namespace in self.names("namespaces"):
            if not namespace.startswith("kube-"):
                for resource in _RESET:
                    _said(
                        self.api.delete(
                            _place(resource, namespace), params={"gracePeriodSeconds": 0}
                        )
                    )
        kept = {name: list(items) for name, items in objects().items()}
        uids: dict[str, str] = {}
        for resource in ("namespaces", "pods", "deployments", "events"):
            for item in kept[resource]:
                if resource == "events":
                    item["involvedObject"]["uid"] = uids[item["involvedObject"]["name"]]
                uids[item["metadata"]["name"]] = self._write(resource, item)

    def allow(self, user: str, verb: str, resource: str) -> None:
        """Give a user one right in the namespace `shop`, until the next reset."""
        place = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"
        rule = {"apiGroups": [""], "resources": [resource], "verbs": [verb]}
        group = "rbac.authorization.k8s.io"
        _said(
            self.api.post(f"{place}/roles", json={"metadata": {"name": "given"}, "rules": [rule]})
        )
        binding = {
            "metadata": {"name": "given"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "given"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        }
        _said(self.api.post(f"{place}/rolebindings", json=binding))
        until(lambda: self._may(user, verb, resource), f"{user} may {verb} {resource}")

    def _may(self, user: str, verb: str, resource: str) -> bool:
        """Rights are taken up by and by."""
        asked = {"namespace": "shop", "verb": verb, "resource": resource}
        review = {"spec": {"user": user, "resourceAttributes": asked}}
        place = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(_said(self.api.post(place, json=review))["status"]["allowed"])

    def _write(self, resource: str, item: dict[str, Any]) -> str:
        """Create an object with its status; returns its id."""
        meta = item["metadata"]
        place = _place(resource, meta.get("namespace", ""))
        if resource == "namespaces" and self.read(resource, meta["name"]) is not None:
            return ""
        given = {**item, "metadata": {**meta}}
        given["metadata"].pop("resourceVersion", None)
        made = _said(self.api.post(place, json=given))
        if "status" in item and resource != "namespaces":
            made["status"] = item["status"]
            made = _said(self.api.put(f"{place}/{meta['name']}/status", json=made))
        return str(made["metadata"]["uid"])


def _place(resource: str, namespace: str) -> str:
    group = f"apis/{GROUPS[resource]}" if resource in GROUPS else "api/v1"
    inside = "" if resource in ("namespaces", "nodes") else f"/namespaces/{namespace}"
    return f"/{group}{inside}/{resource}"


def _said(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


@contextmanager
def real_cluster(folder: Path) -> Iterator[RealCluster]:
    """The server, while it runs; skips where it was not built."""
    program_of_the_server = built("kube-apiserver")
    authority = Authority(folder)
    authority.server("127.0.0.1")
    port = free_port()
    with (
        _store(folder) as store,
        httpx.Client(
            base_url=f"https://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=ssl.create_default_context(cafile=authority.ca_file),
            trust_env=False,
            timeout=30,
        ) as api,
    ):

        def ready() -> bool:
            try:
                return api.get("/readyz").text == "ok"
            except httpx.TransportError:
                return False

        argv = [program_of_the_server, *_options(folder, store, port)]
        with server(argv, ready, folder / "apiserver.log"):
            yield RealCluster(folder, f"https://127.0.0.1:{port}", api)


@contextmanager
def _store(folder: Path) -> Iterator[str]:
    """The address of an etcd that writes nothing through to the disk, while it runs."""
    etcd = program("etcd", "etcd-server")
    port = free_port()
    clients, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    argv = [
        etcd,
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
    ]
    with server(argv, lambda: listens(port), folder / "etcd.log"):
        yield clients


def _options(folder: Path, store: str, port: int) -> list[str]:
    """Of an API server for two users, one of whom may do nothing."""
    certificate, tokens = folder / "127.0.0.1.pem", folder / "tokens.csv"
    tokens.write_text(f'{TOKEN},admin,1,"system:masters"\n{VIEWER},viewer,2\n')
    return [
        f"--etcd-servers={store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'made'}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={certificate}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={certificate}",
        f"--service-account-signing-key-file={certificate}",
        "--service-cluster-ip-range=10.0.0.0/24",
        # Nobody makes the accounts that it would ask for.
        "--disable-admission-plugins=ServiceAccount",
    ]


def release(
    cluster: RealCluster, name: str, revision: int, namespace: str = "shop"
) -> dict[str, Any]:
    """What Helm keeps of a release, as the API server has it."""
    found = cluster.read("secrets", f"sh.helm.release.v1.{name}.v{revision}", namespace)
    assert found is not None, f"{name} has no revision {revision}"
    packed = base64.b64decode(base64.b64decode(found["data"]["release"]))
    kept: dict[str, Any] = json.loads(gzip.decompress(packed))
    return kept
