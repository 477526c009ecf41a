"""A fake of two Google APIs, Compute Engine v1 and Cloud Storage v1 (JSON), for a real gcloud.

It holds two machines in one zone and one bucket with two objects; `stop` and `delete` work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.tools.fakes.web import Handler, serving

TOKEN = "a-token-of-the-tests"
PROJECT = "shop-tests"
ZONE = "europe-west3-a"
BUCKET = "shop-backups"


def _objects() -> dict[str, int]:
    return {"db/a.tar": 1000, "db/b.tar": 2000}


@dataclass
class FakeGoogle:
    """The fake's address and its state."""

    url: str = ""
    machines: dict[str, str] = field(
        default_factory=lambda: {"web-01": "RUNNING", "web-02": "TERMINATED"}
    )
    objects: dict[str, int] = field(default_factory=_objects)

    @property
    def compute(self) -> str:
        """Where gcloud should look for Compute Engine."""
        return f"{self.url}/compute/v1/"

    @property
    def storage(self) -> str:
        """Where gcloud should look for Cloud Storage."""
        return f"{self.url}/storage/v1/"


@contextmanager
def fake_google() -> Iterator[FakeGoogle]:
    """The fake, while it runs."""
    google = FakeGoogle()

    class Bound(_Api):
        fake = google

    with serving(Bound) as url:
        google.url = url
        yield google


class _Api(Handler):
    fake: FakeGoogle

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        self.body()
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(401, "Request had invalid authentication credentials.")
        elif words[:3] == ["compute", "v1", "projects"]:
            self._compute(method, words[4:])
        elif words[:2] == ["storage", "v1"]:
            self._storage(method, words[2:])
        else:
            self._error(404, "nothing here")

    def _compute(self, method: str, words: list[str]) -> None:
        own = f"{self.fake.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}"
        match words:
            case ["aggregated", "instances"]:
                found = {f"zones/{ZONE}": {"instances": [*map(self._machine, self.fake.machines)]}}
                self._json({"kind": "compute#instanceAggregatedList", "items": found})
            case ["zones", _, "instances", name] if name in self.fake.machines:
                if method == "DELETE":
                    self.fake.machines.pop(name)
                    self._operation(f"{own}/instances/{name}", "delete")
                else:
                    self._json(self._machine(name))
            case ["zones", _, "instances", name, "stop"] if name in self.fake.machines:
                self.fake.machines[name] = "TERMINATED"
                self._operation(f"{own}/instances/{name}", "stop")
            case ["zones", _, "operations", *_]:
                self._operation(f"{own}/instances/web-01", "stop")
            case ["global", "networks"]:
                network = {"name": "default", "autoCreateSubnetworks": True}
                self._json({"kind": "compute#networkList", "items": [network]})
            case _:
                self._error(404, f"The resource {'/'.join(words)!r} was not found")

    def _machine(self, name: str) -> dict[str, Any]:
        own = f"{self.fake.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}"
        secret = [{"key": "startup-script", "value": "PASSWORD=hunter2"}]
        return {
            "kind": "compute#instance",
            "id": "17",
            "name": name,
            "zone": own,
            "machineType": f"{own}/machineTypes/e2-small",
            "status": self.fake.machines[name],
            "metadata": {"items": secret},
            "networkInterfaces": [{"networkIP": "10.0.0.7"}],
            "selfLink": f"{own}/instances/{name}",
        }

    def _operation(self, target: str, kind: str) -> None:
        own = f"{self.fake.url}/compute/v1/projects/{PROJECT}/zones/{ZONE}"
        self._json(
            {
                "kind": "compute#operation",
                "name": "operation-1",
                "operationType": kind,
                "status": "DONE",
                "progress": 100,
                "targetLink": target,
                "zone": own,
                "selfLink": f"{own}/operations/operation-1",
            }
        )

    def _storage(self, method: str, words: list[str]) -> None:
        match words:
            case ["b"]:
                self._json({"kind": "storage#buckets", "items": [_bucket(BUCKET)]})
            case ["b", bucket] if bucket == BUCKET:
                self._json(_bucket(bucket))
            case ["b", bucket, "o"] if bucket == BUCKET:
                found = [_stored(name, size) for name, size in self.fake.objects.items()]
                self._json({"kind": "storage#objects", "items": found})
            case ["b", bucket, "o", name] if bucket == BUCKET and name in self.fake.objects:
                if method == "DELETE":
                    self.fake.objects.pop(name)
                    self.send_response(204)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                else:
                    self._json(_stored(name, self.fake.objects[name]))
            case _:
                self._error(404, "The specified bucket or object does not exist.")

    def _json(self, document: dict[str, Any]) -> None:
        self.answer(200, json.dumps(document).encode())

    def _error(self, code: int, message: str) -> None:
        self.answer(code, json.dumps({"error": {"code": code, "message": message}}).encode())


def _bucket(name: str) -> dict[str, Any]:
    return {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "location": "EUROPE-WEST3",
        "storageClass": "STANDARD",
        "timeCreated": "2026-01-31T10:00:00.000Z",
    }


def _stored(name: str, size: int) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "bucket": BUCKET,
        "name": name,
        "size": str(size),
        "generation": "1",
        "metageneration": "1",
        "contentType": "application/x-tar",
        "storageClass": "STANDARD",
        "updated": "2026-01-31T10:00:00.000Z",
    }
