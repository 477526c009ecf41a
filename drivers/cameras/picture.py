"""The picture: sensor settings, day and night, snapshots and streams, stream profiles.

Sources: VAPIX, "Parameter management", "Imaging", "Video streaming", "Stream profiles".
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final
from urllib.parse import quote, urlencode

from drivers.cameras import responses
from drivers.cameras.client import Camera
from drivers.http.exchange import Response

#: Of the sensor: the name here, and the parameter of the camera.
_SENSOR: Final = {
    "brightness": "Brightness",
    "contrast": "Contrast",
    "saturation": "ColorLevel",
    "sharpness": "Sharpness",
    "exposure": "Exposure",
    "white_balance": "WhiteBalance",
}
_FILTER: Final = {"auto": "auto", "day": "on", "night": "off"}
_MODE: Final = {value: name for name, value in _FILTER.items()}
#: A picture that is returned inside the output; larger ones come as size and hash only.
_INLINE_BYTES: Final = 128 * 1024
_PICTURE_BYTES: Final = 8 * 1024 * 1024
_PROFILES: Final = "/axis-cgi/streamprofile.cgi"


async def imaging(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Read or set brightness, contrast and so on of one image source."""
    group = f"ImageSource.I{given['channel'] - 1}.Sensor"
    if given["operation"] == "get":
        found = await camera.parameters(group)
        settings = {
            name: responses.number(found.get(f"{group}.{theirs}"))
            for name, theirs in _SENSOR.items()
            if f"{group}.{theirs}" in found
        }
        return {"settings": settings, "parameters": found}
    values = {name: given[name] for name in _SENSOR if given.get(name) is not None}
    if not values:
        raise camera.failed("invalid_parameters", f"give one of {', '.join(_SENSOR)}")
    await camera.update({f"{group}.{_SENSOR[name]}": value for name, value in values.items()})
    return {"settings": values}


async def daynight(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """The infrared cut filter: on by day, off by night, or chosen by the light."""
    group = f"ImageSource.I{given['channel'] - 1}.DayNight"
    if given["operation"] == "get":
        found = await camera.parameters(group)
        value = found.get(f"{group}.IrCutFilter", "")
        return {
            "mode": _MODE.get(value, value),
            "shift_level": responses.number(found.get(f"{group}.ShiftLevel")),
            "parameters": found,
        }
    values: dict[str, Any] = {f"{group}.IrCutFilter": _FILTER[given["mode"]]}
    changed: dict[str, Any] = {"mode": given["mode"]}
    if given.get("shift_level") is not None:
        values[f"{group}.ShiftLevel"] = changed["shift_level"] = given["shift_level"]
    await camera.update(values)
    return changed


async def video(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """A snapshot, some frames of the MJPEG stream, or the address of a stream."""
    match given["operation"]:
        case "get_rtsp_url":
            return await _rtsp(camera, given)
        case "get_http_stream_url":
            query = urlencode(_stream(given), quote_via=quote)
            return {"url": f"{camera.url('/axis-cgi/mjpg/video.cgi')}?{query}"}
        case "capture_image":
            return _picture(camera, await _image(camera, given), given["include_image"])
    query = urlencode({**_stream(given), "nbrofframes": given["frames"]}, quote_via=quote)
    response = await camera.request(
        "GET", f"/axis-cgi/mjpg/video.cgi?{query}", keep_bytes=_PICTURE_BYTES, seconds=30.0
    )
    try:
        frames = responses.parts(response.headers.get("content-type", ""), response.body)
    except responses.Unreadable as error:
        raise camera.unreadable(str(error)) from None
    return {
        "frames": [_facts(frame) for frame in frames[: given["frames"]]],
        "count": min(len(frames), given["frames"]),
        "truncated": response.truncated,
    }


def _stream(given: dict[str, Any]) -> dict[str, Any]:
    named = {
        "camera": given["channel"],
        "resolution": given.get("resolution"),
        "fps": given.get("fps"),
        "compression": given.get("compression"),
        "streamprofile": given.get("profile_name"),
    }
    return {name: value for name, value in named.items() if value is not None}


async def _rtsp(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    found = await camera.parameters("Network.RTSP")
    port = responses.number(found.get("Network.RTSP.Port"))
    host = f"[{camera.host}]" if ":" in camera.host else camera.host
    authority = host if port in (None, 554) else f"{host}:{port}"
    query = {**_stream(given), "videocodec": given.get("codec")}
    words = urlencode({key: value for key, value in query.items() if value is not None})
    return {
        # Without user and password: clients log in by digest.
        "url": f"rtsp://{authority}/axis-media/media.amp?{words}",
        "enabled": found.get("Network.RTSP.Enabled") == "yes",
    }


async def _image(camera: Camera, given: dict[str, Any]) -> Response:
    stream = {name: value for name, value in _stream(given).items() if name != "fps"}
    query = urlencode(stream, quote_via=quote)
    path = f"/axis-cgi/jpg/image.cgi?{query}"
    return camera.whole(await camera.request("GET", path, keep_bytes=_PICTURE_BYTES))


def _picture(camera: Camera, response: Response, include: bool) -> dict[str, Any]:
    facts = _facts(response.body)
    if facts["width"] is None:
        raise camera.unreadable("it is no JPEG picture")
    facts["content_type"] = response.headers.get("content-type", "").partition(";")[0]
    inline = include and len(response.body) <= _INLINE_BYTES
    if inline:
        facts["image_base64"] = base64.b64encode(response.body).decode()
    return {**facts, "truncated": include and not inline}


def _facts(picture: bytes) -> dict[str, Any]:
    size = responses.jpeg_size(picture)
    return {
        "bytes": len(picture),
        "sha256": hashlib.sha256(picture).hexdigest(),
        "width": size[0] if size else None,
        "height": size[1] if size else None,
    }


async def profiles(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Stream profiles; their parameters are those of a video request."""
    name = given.get("profile_name")
    match given["operation"]:
        case "list":
            data = await camera.json(_PROFILES, "list", {"streamProfileName": []})
            found = [_profile(item) for item in data.get("streamProfile", [])]
            return {"profiles": found, "count": len(found), "max": data.get("maxProfiles")}
        case "get":
            data = await camera.json(_PROFILES, "list", {"streamProfileName": [{"name": name}]})
            found = [_profile(item) for item in data.get("streamProfile", [])]
            match = [item for item in found if item["name"] == name]
            if not match:
                raise camera.failed("not_found", f"{camera.subject} has no profile {name}")
            return {"profiles": match, "count": 1}
        case "remove":
            await camera.json(_PROFILES, "remove", {"streamProfileName": [{"name": name}]})
            return {"removed": name}
    settings = {"resolution": "resolution", "fps": "fps", "codec": "videocodec",
                "compression": "compression", "bitrate": "videomaxbitrate"}  # fmt: skip
    words = {
        theirs: given[ours] for ours, theirs in settings.items() if given.get(ours) is not None
    }
    if not words:
        raise camera.failed("invalid_parameters", f"give one of {', '.join(settings)}")
    profile = {
        "name": name,
        "description": given.get("description") or "",
        "parameters": urlencode(words, quote_via=quote),
    }
    await camera.json(_PROFILES, given["operation"], {"streamProfile": [profile]})
    return {"profiles": [_profile(profile)], "count": 1}


def _profile(item: Any) -> dict[str, Any]:
    words = str(item.get("parameters", ""))
    settings = dict(part.partition("=")[::2] for part in words.split("&") if part)
    return {
        "name": item.get("name"),
        "description": item.get("description", ""),
        "parameters": words,
        "settings": {name: responses.number(value) for name, value in settings.items()},
    }
