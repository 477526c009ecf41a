"""Output of kubectl about objects, and of helm about a release."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_FIELD: Final = re.compile(r"([A-Z][A-Za-z ().-]*):\s+(\S.*)")
_RELEASE: Final = re.compile(r"([A-Z][A-Z ]+): (.*)")


def get(stdout: str) -> dict[str, Any]:
    """`kubectl get --output=json`: a summary of each object; a single one whole as well."""
    document = orjson.loads(stdout)
    single = document["kind"] != "List" and not document["kind"].endswith("List")
    objects = [document] if single else document["items"]
    items = [_summary(item) for item in objects]
    ready = [item["ready"] for item in items if "ready" in item]
    found: dict[str, Any] = {
        "items": items,
        "count": len(items),
        "not_ready": ready.count(False),
    }
    if single:
        document.get("metadata", {}).pop("managedFields", None)
        found["object"] = document
    return found


def describe(stdout: str) -> dict[str, Any]:
    """`kubectl describe`: the text, its outermost fields, and the rows of its events."""
    first = re.split(r"\n\n\n", stdout, maxsplit=1)[0]
    pairs = (_FIELD.fullmatch(line) for line in first.split("\n"))
    events = re.search(r"^Events:\n((?: +.*\n?)*)", stdout, re.MULTILINE)
    rows = [line.strip() for line in events[1].split("\n")] if events else []
    return {
        "text": stdout,
        "fields": {match[1]: match[2].strip() for match in pairs if match},
        # After the header of the table and its line of dashes.
        "events": [row for row in rows[2:] if row],
    }


def helm_release(stdout: str) -> dict[str, Any]:
    """`helm install` and `upgrade` as a table: `STATUS: deployed` and so on."""
    head = stdout.partition("\nNOTES:")[0]
    pairs = (_RELEASE.fullmatch(line) for line in head.split("\n"))
    values = {match[1]: match[2].strip() for match in pairs if match}
    return {
        "release": values["NAME"],
        "namespace": values.get("NAMESPACE", ""),
        "revision": int(values["REVISION"]) if "REVISION" in values else None,
        "status": values["STATUS"],
        "last_deployed": values.get("LAST DEPLOYED", ""),
    }


def _summary(item: dict[str, Any]) -> dict[str, Any]:
    meta, spec, status = (item.get(key) or {} for key in ("metadata", "spec", "status"))
    found: dict[str, Any] = {
        "kind": item["kind"],
        "name": meta.get("name", ""),
        "namespace": meta.get("namespace"),
        "created_at": meta.get("creationTimestamp"),
        "labels": meta.get("labels") or {},
    }
    if "phase" in status:
        found["phase"] = status["phase"]
    template = spec.get("template", {}).get("spec", {})
    containers = spec.get("containers") or template.get("containers")
    if containers:
        found["images"] = [container.get("image", "") for container in containers]
    if item["kind"] == "Pod":
        found |= _pod(spec, status)
    elif item["kind"] == "Node":
        found |= {"ready": _condition(status, "Ready"), "unschedulable": "unschedulable" in spec}
    elif "replicas" in spec:
        wanted, ready = spec["replicas"], status.get("readyReplicas", 0)
        found |= {"replicas": wanted, "ready_replicas": ready, "ready": ready >= wanted}
    elif item["kind"] == "Service":
        found |= {"type": spec.get("type"), "cluster_ip": spec.get("clusterIP")}
    elif item["kind"] == "Event":
        found |= {key: item.get(key) for key in ("reason", "message", "type", "count")}
    return found


def _pod(spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    states = status.get("containerStatuses") or []
    waiting = [state.get("state", {}).get("waiting", {}).get("reason") for state in states]
    return {
        # A pod that has completed is not ready, and is healthy all the same.
        "ready": status.get("phase") == "Succeeded" or _condition(status, "Ready"),
        "restarts": sum(state.get("restartCount", 0) for state in states),
        "node": spec.get("nodeName"),
        "pod_ip": status.get("podIP"),
        "reason": next((reason for reason in waiting if reason), status.get("reason")),
    }


def _condition(status: dict[str, Any], kind: str) -> bool:
    conditions = status.get("conditions") or []
    return any(item["type"] == kind and item["status"] == "True" for item in conditions)
