"""What is drawn over the picture: overlays and privacy masks.

Source: VAPIX, "Overlay API" (dynamic overlay, privacy mask).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from drivers.cameras.client import Camera
from drivers.values import jsonable

_OVERLAY: Final = "/axis-cgi/dynamicoverlay/dynamicoverlay.cgi"
_MASK: Final = "/axis-cgi/privacymask.cgi"
_LOOKS: Final = {
    "overlay_text": "text",
    "position": "position",
    "text_color": "textColor",
    "background_color": "textBGColor",
    "font_size": "fontSize",
    "image_path": "overlayPath",
    "visible": "visible",
}


async def overlay(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Text and image overlays."""
    operation = given["operation"]
    if operation == "list":
        data = await camera.json(_OVERLAY, "list", {"camera": given["channel"]})
        return {
            "text_overlays": data.get("textOverlays", []),
            "image_overlays": data.get("imageOverlays", []),
            "image_files": data.get("imageFiles", []),
        }
    if operation == "remove":
        await camera.json(_OVERLAY, "remove", {"identity": given["identity"]})
        return {"identity": given["identity"], "action": "remove"}
    looks = {theirs: given[ours] for ours, theirs in _LOOKS.items() if given.get(ours) is not None}
    if operation in ("add_text", "add_image"):
        method = "addText" if operation == "add_text" else "addImage"
        data = await camera.json(_OVERLAY, method, {"camera": given["channel"], **looks})
        return {"identity": data.get("identity"), "action": "add"}
    if not looks:
        raise camera.failed("invalid_parameters", f"give one of {', '.join(_LOOKS)}")
    method = "setImage" if "overlayPath" in looks else "setText"
    await camera.json(_OVERLAY, method, {"identity": given["identity"], **looks})
    return {"identity": given["identity"], "action": "set"}


async def masks(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    """Privacy masks; a polygon is in pixels, width, height and centre are in percent."""
    operation = given["operation"]
    if operation == "list":
        text = await camera.text(_MASK, {"query": "listpxjson"})
        return _listed(camera, text)
    if operation in ("enable_all", "disable_all"):
        await camera.text(_MASK, {"action": operation})
        return {"action": operation}
    query: dict[str, Any] = {"action": operation, "name": given["mask_name"]}
    if operation == "add":
        query |= _shape(camera, given)
    await camera.text(_MASK, query)
    return {"action": operation, "mask_name": given["mask_name"]}


def _listed(camera: Camera, text: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise camera.unreadable("it is not JSON") from None
    found = document.get("listpx") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise camera.unreadable("it lists no masks")
    return {"masks": jsonable(found), "count": len(found)}


def _shape(camera: Camera, given: dict[str, Any]) -> dict[str, Any]:
    if given.get("polygon"):
        points = [point.replace(" ", "") for point in given["polygon"]]
        return {"imagesource": given["channel"], "pxpolygon": ":".join(points)}
    if given.get("width") is None or given.get("height") is None:
        raise camera.failed("invalid_parameters", "a mask needs a polygon, or width and height")
    shape: dict[str, Any] = {
        "imagesource": given["channel"],
        "width": given["width"],
        "height": given["height"],
    }
    if given.get("center") is not None:
        shape["center"] = given["center"].replace(" ", "")
    return shape
