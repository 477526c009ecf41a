"""Pan, tilt and zoom.

Source: VAPIX, "Pan/tilt/zoom API" (`/axis-cgi/com/ptz.cgi`).
"""

from __future__ import annotations

from typing import Any, Final

from drivers.cameras import responses
from drivers.cameras.client import Camera

_PATH: Final = "/axis-cgi/com/ptz.cgi"
_QUERIES: Final = {"get_position": "position", "get_limits": "limits"}


async def ptz(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """One operation; the response to a movement has no body."""
    operation = str(given["operation"])
    channel = {"camera": given["channel"]}
    if operation in _QUERIES:
        text = await camera.text(_PATH, {"query": _QUERIES[operation], **channel})
        values = {name: responses.number(value) for name, value in responses.pairs(text).items()}
        if not values:
            raise camera.unreadable("it holds no values")
        return {_QUERIES[operation]: values}
    if operation == "list_presets":
        text = await camera.text(_PATH, {"query": "presetposall", **channel})
        found = responses.presets(text)
        return {"presets": found, "count": len(found)}
    sent = _movement(camera, operation, given)
    await camera.text(_PATH, {**sent, **channel})
    return {"sent": sent}


def _movement(camera: Camera, operation: str, given: dict[str, Any]) -> dict[str, Any]:
    speed = {"speed": given["speed"]} if given.get("speed") is not None else {}
    match operation:
        case "move_to_preset_by_name":
            return {"gotoserverpresetname": given["preset_name"], **speed}
        case "move_to_preset_by_number":
            return {"gotoserverpresetno": given["preset_number"], **speed}
        case "absolute_position":
            return {**_axes(camera, given, ""), **speed}
        case "relative_position":
            return {**_axes(camera, given, "r"), **speed}
        case "move":
            return {"move": given["direction"], **speed}
        case "continuous":
            pan, tilt = given.get("pan_speed", 0), given.get("tilt_speed", 0)
            return {
                "continuouspantiltmove": f"{pan},{tilt}",
                "continuouszoommove": given.get("zoom_speed", 0),
            }
        case "stop":
            return {"continuouspantiltmove": "0,0", "continuouszoommove": 0}
        case "set_preset":
            return {"setserverpresetname": given["preset_name"]}
        case "remove_preset":
            return {"removeserverpresetname": given["preset_name"]}
    raise camera.failed("invalid_parameters", f"there is no operation {operation}")


def _axes(camera: Camera, given: dict[str, Any], prefix: str) -> dict[str, Any]:
    axes = {
        f"{prefix}{axis}": given[axis]
        for axis in ("pan", "tilt", "zoom")
        if given.get(axis) is not None
    }
    if not axes:
        raise camera.failed("invalid_parameters", "give pan, tilt or zoom")
    return axes
