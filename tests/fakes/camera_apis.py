"""What the simulated camera answers, path by path, in the forms that Axis documents."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import orjson

from tests.fakes import camera_services
from tests.fakes.camera_state import State

#: The smallest picture: a baseline JPEG of 16 by 16 grey pixels is enough to carry a size.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgKCgkICQkKDA8MCgsOCwkJ"
    "DRENDg8QEBEQCgwSExIQEw8QEBD/wAALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAj/xAAUEAEAAAAAAAAA"
    "AAAAAAAAAAAA/9oACAEBAAA/AKpAP//Z"
)


@dataclass
class Reply:
    """One answer."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def text(body: str, status: int = 200) -> Reply:
    return Reply(status, "text/plain", body.encode())


def xml(body: str) -> Reply:
    return Reply(200, "text/xml", f'<?xml version="1.0" encoding="utf-8"?>{body}'.encode())


Query = dict[str, str]


class Apis:
    """The documented APIs by path."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._gets: dict[str, Callable[[Query], Reply]] = {
            "/axis-cgi/param.cgi": self._param,
            "/axis-cgi/com/ptz.cgi": self._ptz,
            "/axis-cgi/io/port.cgi": self._port,
            "/axis-cgi/virtualinput/activate.cgi": lambda q: self._virtual(q, True),
            "/axis-cgi/virtualinput/deactivate.cgi": lambda q: self._virtual(q, False),
            "/axis-cgi/jpg/image.cgi": self._image,
            "/axis-cgi/mjpg/video.cgi": self._video,
            "/axis-cgi/privacymask.cgi": self._mask,
            "/axis-cgi/record/list.cgi": self._recordings,
            "/axis-cgi/record/record.cgi": self._record,
            "/axis-cgi/record/stop.cgi": lambda q: self._ended(q, "stop"),
            "/axis-cgi/record/remove.cgi": lambda q: self._ended(q, "remove"),
            "/axis-cgi/record/export/properties.cgi": self._export_properties,
            "/axis-cgi/record/export/exportrecording.cgi": self._export,
            "/axis-cgi/record/continuous/addconfiguration.cgi": self._continuous_add,
            "/axis-cgi/record/continuous/listconfiguration.cgi": self._continuous_list,
            "/axis-cgi/record/continuous/removeconfiguration.cgi": self._continuous_remove,
            "/axis-cgi/disks/list.cgi": self._disks,
            "/axis-cgi/disks/gethealth.cgi": self._health,
            "/axis-cgi/disks/mount.cgi": lambda q: self._job(q, q.get("action", "")),
            "/axis-cgi/disks/format.cgi": lambda q: self._job(q, "format"),
            "/axis-cgi/disks/job.cgi": lambda q: self._job(q, "progress"),
        }

    def answer(self, method: str, path: str, query: Query, kind: str, body: bytes) -> Reply:
        """The answer to one request; what is not documented is 404, a wrong form of it 400."""
        if path.startswith("/config/rest/"):
            return camera_services.rest(self.state, method, path, body)
        if method == "GET" and path in self._gets:
            try:
                return self._gets[path](query)
            except (KeyError, ValueError) as error:
                return text(f"bad request: {error}", 400)
        if method == "POST" and path == "/vapix/services":
            return camera_services.soap(self.state, kind, body)
        if method == "POST" and path in camera_services.JSON_APIS:
            if not kind.startswith("application/json"):
                return text("JSON is needed", 400)
            return camera_services.json_api(self.state, path, orjson.loads(body))
        return text("there is no such API", 404)

    def configure_events(self, call: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The answer to `events:configure`, and the notifications that its filters let through."""
        head = {"apiVersion": "1.0", "context": call.get("context"), "method": call.get("method")}
        if call.get("method") != "events:configure":
            error = {"code": 2102, "message": "Method not supported"}
            return {**head, "error": error}, []
        wanted = [one["topicFilter"] for one in call["params"]["eventFilterList"]]
        events = [
            {
                "apiVersion": "1.0",
                "method": "events:notify",
                "params": {
                    "notification": {
                        "topic": topic,
                        "timestamp": 1767323045000,
                        "message": {"source": source, "key": {}, "data": data},
                    }
                },
            }
            for topic, source, data in self.state.events
            if not wanted or topic in wanted
        ]
        return {**head, "data": {}}, events

    def _param(self, query: Query) -> Reply:
        action = query.pop("action")
        if action == "list":
            group = query["group"]
            found = {
                name: value
                for name, value in self.state.parameters.items()
                if name == group or name.startswith(f"{group}.")
            }
            if not found:
                return text(f"# Error: Error -1 getting param in group '{group}'\n")
            return text("".join(f"root.{name}={value}\r\n" for name, value in found.items()))
        if action != "update":
            raise ValueError(action)
        for name, value in query.items():
            wrong = name not in self.state.parameters or (
                value.isdigit() and not 0 <= int(value) <= 100
            )
            if wrong:
                return text(f"# Error: Error setting 'root.{name}' to '{value}'!\n")
        self.state.parameters.update(query)
        return text("OK")

    def _ptz(self, query: Query) -> Reply:
        state = self.state
        camera = query.pop("camera", "1")
        query.pop("speed", None)
        match query:
            case {"query": "position"}:
                return text(
                    "".join(f"{name}={value}\r\n" for name, value in state.position.items())
                )
            case {"query": "limits"}:
                return text(
                    "MinPan=-180\r\nMaxPan=180\r\nMinTilt=-90\r\nMaxTilt=10\r\nMinZoom=1\r\n"
                )
            case {"query": "presetposall"}:
                lines = [f"presetposno{n}={name}" for n, name in state.presets.items()]
                return text("\r\n".join([f"Preset Positions for camera {camera}", *lines]))
            case {"gotoserverpresetname": name}:
                if name not in state.presets.values():
                    return text("Error:\r\nNo such preset position\r\n")
                state.position.update(pan=45.0, tilt=-5.0)
            case {"gotoserverpresetno": number}:
                if int(number) not in state.presets:
                    return text("Error:\r\nNo such preset position\r\n")
                state.position.update(pan=90.0, tilt=-9.0)
            case {"setserverpresetname": name}:
                state.presets[max(state.presets) + 1] = name
            case {"removeserverpresetname": name}:
                state.presets = {n: one for n, one in state.presets.items() if one != name}
            case {"continuouspantiltmove": speeds, **_rest}:
                state.moving = speeds
            case {"move": "home"}:
                state.position.update(pan=0.0, tilt=0.0)
            case _:
                self._move(query)
        return Reply(204, "text/plain", b"")

    def _move(self, query: Query) -> None:
        for name, value in query.items():
            relative = name.startswith("r") and name.removeprefix("r") in self.state.position
            axis = name.removeprefix("r") if relative else name
            if axis not in self.state.position:
                raise ValueError(name)
            before = self.state.position[axis] if relative else 0.0
            self.state.position[axis] = before + float(value)

    def _port(self, query: Query) -> Reply:
        ((question, value),) = query.items()
        if question == "action":
            match = re.fullmatch(r"(\d+):([/\\])(?:(\d+)\\)?", value)
            if match is None:
                raise ValueError(value)
            port = int(match[1])
            if self.state.parameters.get(f"IOPort.I{port - 1}.Direction") != "output":
                return text(f"Error: port {port} is no output")
            if match[3]:
                self.state.pulses.append(value)
            else:
                self.state.active[port] = match[2] == "/"
            return text("")
        port = int(value)
        if port not in self.state.active:
            return text("")
        on = self.state.active[port]
        said = {
            "check": "1" if on else "0",
            "checkactive": "active" if on else "inactive",
            "checkdirection": self.state.parameters[f"IOPort.I{port - 1}.Direction"],
        }[question]
        return text(f"port{port}={said}\r\n")

    def _virtual(self, query: Query, on: bool) -> Reply:
        if query["schemaversion"] != "1":
            raise ValueError("schemaversion")
        port = int(query["port"])
        changed = (port in self.state.virtual) != on
        (self.state.virtual.add if on else self.state.virtual.discard)(port)
        word = "Activate" if on else "Deactivate"
        return xml(
            '<VirtualInputResponse xmlns="http://www.axis.com/vapix/http_cgi/virtualinput1" '
            f'SchemaVersion="1.1"><Success><{word}Success><StateChanged>{str(changed).lower()}'
            f"</StateChanged></{word}Success></Success></VirtualInputResponse>"
        )

    def _image(self, query: Query) -> Reply:
        if not set(query) <= {"camera", "resolution", "compression", "streamprofile"}:
            raise ValueError(str(query))
        return Reply(200, "image/jpeg", JPEG)

    def _video(self, query: Query) -> Reply:
        part = f"--myboundary\r\nContent-Type: image/jpeg\r\nContent-Length: {len(JPEG)}\r\n\r\n"
        body = (part.encode() + JPEG + b"\r\n") * int(query["nbrofframes"])
        return Reply(200, "multipart/x-mixed-replace; boundary=myboundary", body)

    def _mask(self, query: Query) -> Reply:
        masks = self.state.masks
        match query:
            case {"query": "listpxjson"}:
                return Reply(200, "text/plain", orjson.dumps({"listpx": list(masks.values())}))
            case {"action": "add", "name": name, **_shape}:
                if name in masks:
                    return text(f"Error:A mask with the name {name} exists")
                corners = [pair.split(",") for pair in query.get("pxpolygon", "0,0").split(":")]
                place = [{"x": int(x), "y": int(y)} for x, y in corners]
                masks[name] = {"id": len(masks), "name": name, "enabled": True, "position": place}
            case {"action": "remove", "name": name}:
                if masks.pop(name, None) is None:
                    return text("Error:No such mask")
            case {"action": "enable_all" | "disable_all" as action}:
                for mask in masks.values():
                    mask["enabled"] = action == "enable_all"
            case _:
                raise ValueError(str(query))
        return text("")

    def _recordings(self, query: Query) -> Reply:
        wanted = query["recordingid"]
        start = int(query.get("startatresultnumber", "1")) - 1
        listed = [
            f'<recording diskid="SD_DISK" recordingid="{ident}" '
            + " ".join(f'{name}="{value}"' for name, value in facts.items())
            + '><video mimetype="video/x-h264" width="1920" height="1080" framerate="30"/>'
            + "</recording>"
            for ident, facts in self.state.recordings.items()
            if wanted in ("all", ident)
        ]
        page = listed[start : start + int(query.get("maxnumberofresults", "1000"))]
        return xml(
            f'<root><recordings totalnumberofrecordings="{len(listed)}" '
            f'numberofrecordings="{len(page)}">{"".join(page)}</recordings></root>'
        )

    def _record(self, query: Query) -> Reply:
        if query["diskid"] != "SD_DISK":
            return xml('<root><record result="ERROR" errormsg="No such disk"/></root>')
        ident = f"20260103_000000_{len(self.state.recordings):04X}_ACCC8E000001"
        self.state.recordings[ident] = {
            "starttime": "2026-01-03T00:00:00Z", "stoptime": "", "recordingstatus": "recording",
        }  # fmt: skip
        return xml(f'<root><record recordingid="{ident}" result="OK"/></root>')

    def _ended(self, query: Query, verb: str) -> Reply:
        ident = query["recordingid"]
        if ident not in self.state.recordings:
            said = f'recordingid="{ident}" result="ERROR" errormsg="No such recording"'
            return xml(f"<root><{verb} {said}/></root>")
        if verb == "remove":
            del self.state.recordings[ident]
        else:
            self.state.recordings[ident]["recordingstatus"] = "completed"
        return xml(f'<root><{verb} recordingid="{ident}" result="OK"/></root>')

    def _export_properties(self, query: Query) -> Reply:
        ident, _ = query["recordingid"], query["schemaversion"]
        return xml(
            '<ExportRecordingResponse SchemaVersion="1.1"><PropertiesSuccess><ExportProperties '
            f'RecordingId="{ident}" ExportFormat="matroska" EstimatedFileSize="'
            f'{len(self.state.film)}"/></PropertiesSuccess></ExportRecordingResponse>'
        )

    def _export(self, query: Query) -> Reply:
        if query["recordingid"] not in self.state.recordings or "diskid" not in query:
            raise ValueError("recordingid")
        if (query["schemaversion"], query["exportformat"]) != ("1", "matroska"):
            raise ValueError("schemaversion, exportformat")
        return Reply(200, "video/x-matroska", self.state.film)

    def _continuous_add(self, query: Query) -> Reply:
        profile = str(len(self.state.continuous) + 1)
        self.state.continuous[profile] = {
            "profile": profile, "diskid": query["diskid"], "options": query.get("options", ""),
        }  # fmt: skip
        return xml(f'<root><configure profile="{profile}" result="OK"/></root>')

    def _continuous_list(self, query: Query) -> Reply:
        root = ElementTree.Element("root")
        holder = ElementTree.SubElement(root, "continuousrecordingconfigurations")
        for one in self.state.continuous.values():
            ElementTree.SubElement(holder, "continuousrecordingconfiguration", one)
        return xml(ElementTree.tostring(root, "unicode"))

    def _continuous_remove(self, query: Query) -> Reply:
        good = self.state.continuous.pop(query["profile"], None) is not None
        said = 'result="OK"' if good else 'result="ERROR" errormsg="No such profile"'
        return xml(f'<root><remove profile="{query["profile"]}" {said}/></root>')

    def _disks(self, query: Query) -> Reply:
        if query["diskid"] not in ("all", "SD_DISK"):
            return xml('<root><disks numberofdisks="0"/></root>')
        return xml(
            '<root><disks numberofdisks="1"><disk diskid="SD_DISK" name="SD card" '
            'totalsize="62522368" freesize="61503488" cleanuplevel="90" cleanuppolicy="fifo" '
            f'locked="no" full="no" readonly="no" status="{self.state.disk}" filesystem="ext4" '
            'group="S0"/></disks></root>'
        )

    def _health(self, query: Query) -> Reply:
        if "schemaversion" not in query:
            raise KeyError("schemaversion")
        return xml(
            "<HealthStatusResponse><HealthStatusSuccess>"
            '<HealthStatus diskid="SD_DISK" wear="1" overallhealth="10"/>'
            "</HealthStatusSuccess></HealthStatusResponse>"
        )

    def _job(self, query: Query, action: str) -> Reply:
        if query["diskid"] != "SD_DISK":
            return xml('<root><job result="ERROR" errormsg="No such disk"/></root>')
        match action:
            case "mount":
                self.state.disk = "OK"
            case "unmount":
                self.state.disk = "disconnected"
            case "format":
                self.state.recordings.clear()
            case "progress" if query["jobid"] != "4":
                return xml('<root><job result="ERROR" errormsg="No such job"/></root>')
            case "progress":
                pass
            case _:
                raise ValueError(action)
        progress = 'progress="100"' if action == "progress" else ""
        return xml(f'<root><job jobid="4" diskid="SD_DISK" {progress} result="OK"/></root>')
