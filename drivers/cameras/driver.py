"""The `vapix` driver: Axis cameras, by the HTTP APIs that Axis documents.

Common arguments: `host`, `port`, `scheme` (https, verified; http where stated), `username` and
`password` (digest login only), `operation`; the others are those of the operation. The call names
the group of operations; the files of `cameras/` name the document of each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from drivers.cameras import (
    device,
    drawing,
    events,
    picture,
    ptz,
    rules,
    storage,
)
from drivers.cameras.client import Camera, OperationFailed
from drivers.context import Outcome, RunContext, Success
from drivers.errors import fail
from toolmeta.invocation import Invocation

Operations = Callable[[Camera, dict[str, Any]], Awaitable[dict[str, Any]]]

_CALLS: Final[dict[str, Operations]] = {
    "device_info": device.info,
    "io_ports": device.ports,
    "light_control": device.lights,
    "network_settings": device.network,
    "ptz": ptz.ptz,
    "imaging": picture.imaging,
    "daynight": picture.daynight,
    "video": picture.video,
    "stream_profiles": picture.profiles,
    "recording": storage.recordings,
    "edge_storage": storage.disks,
    "overlay": drawing.overlay,
    "privacy_mask": drawing.masks,
    "event_services": rules.services,
    "event_streaming": events.streaming,
}


class VapixDriver:
    """One operation on one camera; nothing is undone where it is cancelled."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Log in and do it once."""
        context.not_acting()
        operations = _CALLS.get(invocation.call or "")
        if operations is None:
            message = f"cameras have no operations {invocation.call!r}"
            return fail(invocation, "invalid_parameters", message)
        arguments = invocation.arguments
        try:
            output = await operations(Camera(invocation, context), arguments)
        except OperationFailed as failed:
            return failed.failure
        return Success({"operation": arguments["operation"], **output})
