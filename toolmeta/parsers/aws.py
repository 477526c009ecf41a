"""Output of the AWS command line, as fields for later steps."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_OBJECT: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) +(\d+) (.+)")
_BUCKET: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([a-z0-9.-]+)")
_PREFIX: Final = re.compile(r" +PRE (.+)")
_TRANSFER: Final = re.compile(r"(?:\(dryrun\) )?([a-z_]+): (.+?)(?: to (.+))?")


def s3(stdout: str) -> dict[str, Any]:
    """`aws s3`: the rows of `ls`, or a line for each object that was copied, moved or removed."""
    objects: list[dict[str, Any]] = []
    buckets: list[dict[str, Any]] = []
    prefixes: list[str] = []
    transfers: list[dict[str, Any]] = []
    for line in stdout.split("\n"):
        if match := _OBJECT.fullmatch(line):
            when, size = f"{match[1]} {match[2]}", int(match[3])
            objects.append({"key": match[4], "size_bytes": size, "modified_at": when})
        elif match := _BUCKET.fullmatch(line):
            buckets.append({"name": match[3], "created_at": f"{match[1]} {match[2]}"})
        elif match := _PREFIX.fullmatch(line):
            prefixes.append(match[1])
        elif match := _TRANSFER.fullmatch(line.rstrip()):
            transfers.append({"action": match[1], "source": match[2], "destination": match[3]})
    return {
        "objects": objects,
        "prefixes": prefixes,
        "buckets": buckets,
        "transfers": transfers,
        "count": len(objects) + len(buckets) + len(transfers),
        "total_bytes": sum(item["size_bytes"] for item in objects),
    }


def ec2(stdout: str) -> dict[str, Any]:
    """`aws ec2`: instances flat, changes of state, else the requested list."""
    document = _document(stdout)
    if "Reservations" in document or "Instances" in document:
        groups = document.get("Reservations", [document])
        found = [_instance(item) for group in groups for item in group["Instances"]]
        return {"instances": found, "count": len(found)}
    for key in ("StartingInstances", "StoppingInstances", "TerminatingInstances"):
        if key in document:
            changes = [
                {
                    "instance_id": item["InstanceId"],
                    "state": item["CurrentState"]["Name"],
                    "previous_state": item["PreviousState"]["Name"],
                }
                for item in document[key]
            ]
            return {"changes": changes, "count": len(changes)}
    items = next((value for value in document.values() if isinstance(value, list)), [])
    return {"items": items, "count": len(items)}


def rds(stdout: str) -> dict[str, Any]:
    """`aws rds`: instances or snapshots."""
    document = _document(stdout)
    if "DBSnapshots" in document or "DBSnapshot" in document:
        rows = document.get("DBSnapshots", [document.get("DBSnapshot")])
        snapshots = [
            {
                "snapshot": item["DBSnapshotIdentifier"],
                "instance": item["DBInstanceIdentifier"],
                "status": item.get("Status"),
                "engine": item.get("Engine"),
                "size_gib": item.get("AllocatedStorage"),
                "created_at": item.get("SnapshotCreateTime"),
            }
            for item in rows
        ]
        return {"snapshots": snapshots, "count": len(snapshots)}
    rows = document.get("DBInstances", [document["DBInstance"]] if "DBInstance" in document else [])
    instances = [_database(item) for item in rows]
    return {"instances": instances, "count": len(instances)}


def functions(stdout: str) -> dict[str, Any]:
    """`aws lambda`: functions, or the response of an invoked one followed by its status."""
    text = stdout.strip()
    if text.startswith("["):
        rows = orjson.loads(text)
        return {"functions": rows, "count": len(rows)}
    # The response of the function is right before the document of the CLI, which is the last.
    at = text.rfind("{", 0, text.rfind('"StatusCode"') + 1)
    if at < 0:
        rows = [orjson.loads(text)] if text else []
        return {"functions": rows, "count": len(rows)}
    status = orjson.loads(text[at:])
    return {
        "status_code": status["StatusCode"],
        "function_error": status.get("FunctionError"),
        "answer": _json_or_text(text[:at]),
    }


def _document(stdout: str) -> dict[str, Any]:
    found = orjson.loads(stdout) if stdout.strip() else {}
    if not isinstance(found, dict):
        raise TypeError("the answer is no JSON object")
    return found


def _json_or_text(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _instance(item: dict[str, Any]) -> dict[str, Any]:
    tags = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    return {
        "instance_id": item["InstanceId"],
        "name": tags.get("Name"),
        "state": item["State"]["Name"],
        "type": item.get("InstanceType"),
        "image_id": item.get("ImageId"),
        "private_ip": item.get("PrivateIpAddress"),
        "public_ip": item.get("PublicIpAddress"),
        "zone": item.get("Placement", {}).get("AvailabilityZone"),
        "launched_at": item.get("LaunchTime"),
        "tags": tags,
    }


def _database(item: dict[str, Any]) -> dict[str, Any]:
    endpoint = item.get("Endpoint") or {}
    return {
        "instance": item["DBInstanceIdentifier"],
        "status": item.get("DBInstanceStatus"),
        "engine": item.get("Engine"),
        "engine_version": item.get("EngineVersion"),
        "class": item.get("DBInstanceClass"),
        "address": endpoint.get("Address"),
        "port": endpoint.get("Port"),
        "size_gib": item.get("AllocatedStorage"),
        "multi_az": item.get("MultiAZ"),
    }
