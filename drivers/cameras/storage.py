"""Recordings and disks of the camera.

Source: VAPIX, "Edge storage API" (disks, continuous recording, recordings, export).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final
from urllib.parse import quote, urlencode

from drivers.cameras import responses
from drivers.cameras.client import Camera

_RECORD: Final = "/axis-cgi/record"
_EXPORT_SECONDS: Final = 240.0
#: Bytes that become one line of base64: a multiple of three, so that lines can be joined.
_LINE_BYTES: Final = 57


async def recordings(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """List, start, stop, remove and export recordings."""
    disk = given["disk_id"]
    match given["operation"]:
        case "list":
            return await _list(camera, given)
        case "start":
            root = await camera.xml(f"{_RECORD}/record.cgi", {"diskid": disk})
            record = responses.first(root, "record")
            ident = None if record is None else record.get("recordingid")
            if not ident:
                raise camera.unreadable("it names no recording")
            return {"recording_id": ident}
        case "stop" | "remove":
            verb = given["operation"]
            query = {"recordingid": given["recording_id"]}
            await camera.xml(f"{_RECORD}/{verb}.cgi", query)
            return {"recording_id": given["recording_id"], "action": verb}
    span = {"starttime": given.get("start_time"), "stoptime": given.get("stop_time")}
    query = {"schemaversion": 1, "recordingid": given["recording_id"], "diskid": disk, **span}
    if given["operation"] == "export_properties":
        root = await camera.xml(f"{_RECORD}/export/properties.cgi", query)
        found = responses.first(root, "ExportProperties")
        return {"export": {} if found is None else responses.attributes(found)}
    return await _export(camera, {**query, "exportformat": "matroska"}, given)


async def _list(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    root = await camera.xml(
        f"{_RECORD}/list.cgi",
        {
            "recordingid": given.get("recording_id") or "all",
            "starttime": given.get("start_time"),
            "stoptime": given.get("stop_time"),
            "maxnumberofresults": given["limit"],
            "startatresultnumber": given["offset"] + 1,
        },
    )
    found = [
        {
            **responses.attributes(recording),
            **{
                responses.local(media): responses.attributes(media)
                for media in recording
                if responses.local(media) in ("video", "audio")
            },
        }
        for recording in responses.every(root, "recording")
    ]
    whole = responses.first(root, "recordings")
    total = None if whole is None else responses.number(whole.get("totalnumberofrecordings"))
    return {"recordings": found, "count": len(found), "total": total}


async def _export(camera: Camera, query: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The recording as lines of base64 on stdout, in the order of its bytes."""
    digest = hashlib.sha256()
    rest = b""
    size = 0

    async def take(piece: bytes) -> None:
        nonlocal rest, size
        digest.update(piece)
        size += len(piece)
        data = rest + piece
        whole = len(data) - len(data) % _LINE_BYTES
        rest = data[whole:]
        if whole:
            await camera.context.output.write("stdout", base64.encodebytes(data[:whole]))

    words = {name: value for name, value in query.items() if value is not None}
    response = await camera.request(
        "GET",
        f"{_RECORD}/export/exportrecording.cgi?{urlencode(words, quote_via=quote)}",
        keep_bytes=given["max_bytes"],
        seconds=_EXPORT_SECONDS,
        sink=take,
    )
    if rest:
        await camera.context.output.write("stdout", base64.encodebytes(rest))
    facts = {
        "bytes": size,
        "sha256": digest.hexdigest(),
        "content_type": response.headers.get("content-type", "").partition(";")[0],
        "encoding": "base64 on stdout",
    }
    if response.truncated:
        message = f"the recording is longer than {given['max_bytes']} bytes (max_bytes)"
        raise camera.failed("invalid_parameters", message, facts)
    return facts


async def disks(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Disks and continuous recording."""
    disk = {"diskid": given["disk_id"]}
    match given["operation"]:
        case "check_disk_status":
            root = await camera.xml("/axis-cgi/disks/list.cgi", disk)
            found = [_disk(element) for element in responses.every(root, "disk")]
            return {"disks": found, "count": len(found)}
        case "check_disk_health":
            root = await camera.xml("/axis-cgi/disks/gethealth.cgi", {"schemaversion": 1, **disk})
            health = [responses.attributes(one) for one in responses.every(root, "HealthStatus")]
            return {"health": health, "count": len(health)}
        case "list_continuous_recordings":
            root = await camera.xml(f"{_RECORD}/continuous/listconfiguration.cgi", {})
            found = [
                {**element.attrib}
                for element in responses.every(root, "continuousrecordingconfiguration")
            ]
            return {"profiles": found, "count": len(found)}
        case "start_continuous_recording":
            query = {**disk, "options": given.get("options")}
            root = await camera.xml(f"{_RECORD}/continuous/addconfiguration.cgi", query)
            made = responses.first(root, "configure")
            return {"profile": None if made is None else made.get("profile")}
        case "stop_continuous_recording":
            query = {"profile": given["profile"]}
            await camera.xml(f"{_RECORD}/continuous/removeconfiguration.cgi", query)
            return {"profile": str(given["profile"])}
        case "check_job":
            query = {"jobid": given["job_id"], **disk}
            return _job(await camera.xml("/axis-cgi/disks/job.cgi", query), camera)
        case "format":
            query = {**disk, "filesystem": given["filesystem"]}
            return _job(await camera.xml("/axis-cgi/disks/format.cgi", query), camera)
    query = {"action": given["operation"], **disk}
    return _job(await camera.xml("/axis-cgi/disks/mount.cgi", query), camera)


def _disk(element: Any) -> dict[str, Any]:
    facts = responses.attributes(element)
    # The camera counts in KiB.
    for name in ("totalsize", "freesize"):
        if isinstance(facts.get(name), int):
            facts[f"{name.removesuffix('size')}_bytes"] = facts[name] * 1024
    return facts


def _job(root: Any, camera: Camera) -> dict[str, Any]:
    job = responses.first(root, "job")
    if job is None:
        raise camera.unreadable("it names no job")
    return {"job": {**responses.attributes(job), "jobid": job.get("jobid")}}
