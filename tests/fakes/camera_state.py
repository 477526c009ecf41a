"""What the simulated camera remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class State:
    """What the camera remembers."""

    parameters: dict[str, str] = field(
        default_factory=lambda: {
            "Properties.Firmware.Version": "11.11.73",
            "Properties.System.SerialNumber": "ACCC8E000001",
            "Properties.API.HTTP.Version": "3",
            "ImageSource.I0.Sensor.Brightness": "50",
            "ImageSource.I0.Sensor.Contrast": "50",
            "ImageSource.I0.Sensor.ColorLevel": "50",
            "ImageSource.I0.Sensor.Sharpness": "50",
            "ImageSource.I0.Sensor.Exposure": "auto",
            "ImageSource.I0.DayNight.IrCutFilter": "auto",
            "ImageSource.I0.DayNight.ShiftLevel": "100",
            "Network.RTSP.Enabled": "yes",
            "Network.RTSP.Port": "554",
            "IOPort.I0.Configurable": "no",
            "IOPort.I0.Direction": "input",
            "IOPort.I0.Input.Name": "Door",
            "IOPort.I0.Input.Trig": "closed",
            "IOPort.I1.Configurable": "yes",
            "IOPort.I1.Direction": "output",
            "IOPort.I1.Output.Name": "Siren",
            "IOPort.I1.Output.Active": "closed",
        }
    )
    position: dict[str, float] = field(
        default_factory=lambda: {"pan": 0.0, "tilt": 0.0, "zoom": 1.0}
    )
    moving: str = "0,0"
    presets: dict[int, str] = field(default_factory=lambda: {1: "Home", 2: "Gate"})
    active: dict[int, bool] = field(default_factory=lambda: {1: False, 2: False})
    pulses: list[str] = field(default_factory=list)
    virtual: set[int] = field(default_factory=set)
    masks: dict[str, dict[str, Any]] = field(default_factory=dict)
    recordings: dict[str, dict[str, str]] = field(
        default_factory=lambda: {
            "20260102_030405_AAAA_ACCC8E000001": {
                "starttime": "2026-01-02T03:04:05Z", "stoptime": "2026-01-02T04:04:05Z",
                "recordingstatus": "completed",
            }
        }
    )  # fmt: skip
    film: bytes = bytes(range(256)) * 400
    continuous: dict[str, dict[str, str]] = field(default_factory=dict)
    disk: str = "OK"
    overlays: dict[int, dict[str, Any]] = field(default_factory=dict)
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)
    light: dict[str, Any] = field(
        default_factory=lambda: {
            "lightID": "led0", "lightType": "IR", "enabled": True, "lightState": False,
            "automaticIntensityMode": True, "intensity": 100, "error": False, "errorInfo": "",
        }
    )  # fmt: skip
    hostname: str = "axis-accc8e000001"
    address: dict[str, Any] = field(default_factory=lambda: {"configurationMode": "dhcp"})
    resolver: dict[str, Any] = field(default_factory=dict)
    switch: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "1": {"portId": "1", "enabled": True, "lowerState": "UP", "security_supported": True,
                  "security": {"authServerEnabled": False, "authServerEnforced": "UNKNOWN"}},
        }
    )  # fmt: skip
    actions: dict[int, dict[str, Any]] = field(default_factory=dict)
    rules: dict[int, dict[str, Any]] = field(default_factory=dict)
    #: Notifications: topic, source, data.
    events: list[tuple[str, dict[str, str], dict[str, str]]] = field(
        default_factory=lambda: [
            ("tns1:Device/tnsaxis:IO/Port", {"port": "1"}, {"state": "1"}),
            ("tns1:VideoSource/MotionAlarm", {"Source": "0"}, {"State": "1"}),
            ("tns1:Device/tnsaxis:IO/Port", {"port": "2"}, {"state": "0"}),
        ]
    )
