"""The 15 VAPIX tools through the whole system, against the project's own camera simulator."""

from __future__ import annotations

import base64

from tests.fakes.camera import Camera
from tests.fakes.camera_apis import JPEG
from tests.tools.cameras.kit import PASSWORD, On, succeed


def test_device_info(on: On) -> None:
    whole = on("device_info", "get_all_info")["properties"]
    assert whole["SerialNumber"] == "ACCC8E000001"
    some = on("device_info", "get_properties", properties=["Version"])["properties"]
    assert some == {"Version": whole["Version"]}
    firmware = on("device_info", "check_firmware")["properties"]
    assert firmware == {"Properties.Firmware.Version": "11.11.73"}
    assert "light-control" in [one["id"] for one in on("device_info", "list_apis")["apis"]]
    missing = on.result("device_info", "get_parameters", group="No.Such")
    assert (missing.status, missing.error_class) == ("failed", "not_found")
    refused = on.result("device_info", "get_properties", properties=["Nope"])
    assert refused.error_class == "http_status"
    assert "Invalid parameter" in refused.error["message"]


def test_ptz(on: On) -> None:
    on("ptz_control", "absolute_position", pan=10.5, tilt=-3)
    on("ptz_control", "relative_position", pan=2)
    position = on("ptz_control", "get_position")["position"]
    assert (position["pan"], position["tilt"]) == (12.5, -3)
    assert on("ptz_control", "get_limits")["limits"]["MaxPan"] == 180
    on("ptz_control", "set_preset", preset_name="Dock & Co")
    presets = on("ptz_control", "list_presets")["presets"]
    assert presets[-1] == {"number": 3, "name": "Dock & Co"}
    on("ptz_control", "move_to_preset_by_name", preset_name="Dock & Co")
    on("ptz_control", "move_to_preset_by_number", preset_number=2)
    assert on.camera.state.position["pan"] == 90
    on("ptz_control", "remove_preset", preset_name="Dock & Co")
    assert on("ptz_control", "list_presets")["count"] == 2
    on("ptz_control", "continuous", pan_speed=20, tilt_speed=-5)
    assert on.camera.state.moving == "20,-5"
    on("ptz_control", "stop")
    assert on.camera.state.moving == "0,0"
    on("ptz_control", "move", direction="home")
    assert on.camera.state.position["pan"] == 0
    unknown = on.result("ptz_control", "move_to_preset_by_name", preset_name="Nowhere")
    assert unknown.error_class == "http_status"
    assert "No such preset" in unknown.error["message"]


def test_imaging_and_day_and_night(on: On) -> None:
    on("imaging", "set", brightness=61, saturation=40)
    got = on("imaging", "get")["settings"]
    assert (got["brightness"], got["saturation"], got["contrast"]) == (61, 40, 50)
    on("daynight", "set", mode="night", shift_level=30)
    assert on.camera.state.parameters["ImageSource.I0.DayNight.IrCutFilter"] == "off"
    got = on("daynight", "get")
    assert (got["mode"], got["shift_level"]) == ("night", 30)
    absent = on.result("imaging", "set", brightness=1, channel=3)
    assert absent.error_class == "invalid_parameters"
    assert "Error setting" in absent.error["message"]


def test_video(on: On) -> None:
    picture = on("video_streaming", "capture_image", resolution="16x16")
    assert (picture["width"], picture["height"], picture["bytes"]) == (16, 16, len(JPEG))
    assert base64.b64decode(picture["image_base64"]) == JPEG
    assert "image_base64" not in on("video_streaming", "capture_image", include_image=False)
    frames = on("video_streaming", "capture_frames", frames=3)
    assert [frame["sha256"] for frame in frames["frames"]] == [picture["sha256"]] * 3
    stream = on("video_streaming", "get_rtsp_url", codec="h264", resolution="640x480")
    assert stream["url"].startswith("rtsp://127.0.0.1/axis-media/media.amp?")
    assert "videocodec=h264" in stream["url"]
    assert stream["enabled"] is True
    address = on("video_streaming", "get_http_stream_url", fps=5)["url"]
    assert address.endswith("/axis-cgi/mjpg/video.cgi?camera=1&fps=5")


def test_stream_profiles(on: On) -> None:
    on("stream_profiles", "create", profile_name="Evidence", resolution="1280x720", fps=15)
    assert on("stream_profiles", "list")["profiles"][0]["settings"] == {
        "resolution": "1280x720",
        "fps": 15,
    }
    on("stream_profiles", "update", profile_name="Evidence", codec="h265")
    got = on("stream_profiles", "get", profile_name="Evidence")["profiles"][0]
    assert got["settings"] == {"videocodec": "h265"}
    on("stream_profiles", "remove", profile_name="Evidence")
    assert on.result("stream_profiles", "get", profile_name="Evidence").error_class == "not_found"
    again = on.result("stream_profiles", "remove", profile_name="Evidence")
    assert again.error_class == "http_status"


def test_io_ports(on: On) -> None:
    listed = on("io_ports", "list")["ports"]
    assert [(one["port"], one["direction"], one["name"]) for one in listed] == [
        (1, "input", "Door"),
        (2, "output", "Siren"),
    ]
    on("io_ports", "activate", port_number=2)
    read = on("io_ports", "read", port_number=2)["ports"][0]
    assert read == {"port": 2, "active": True, "closed": True, "direction": "output"}
    on("io_ports", "deactivate", port_number=2)
    assert on.camera.state.active[2] is False
    on("io_ports", "pulse", port_number=2, pulse_ms=300)
    assert on.camera.state.pulses == ["2:/300\\"]
    assert on("io_ports", "virtual_activate", port_number=10, duration="5s")["changed"] is True
    assert on("io_ports", "virtual_activate", port_number=10)["changed"] is False
    on("io_ports", "virtual_deactivate", port_number=10)
    assert on.camera.state.virtual == set()
    assert on.result("io_ports", "activate", port_number=1).error_class == "http_status"
    assert on.result("io_ports", "read", port_number=9).error_class == "not_found"


def test_light(on: On) -> None:
    assert on("light_control", "list")["lights"][0]["lightID"] == "led0"
    on("light_control", "activate")
    on("light_control", "set_intensity", intensity=80)
    assert on("light_control", "status") == {"operation": "status", "on": True, "intensity": 80}
    on("light_control", "deactivate")
    on("light_control", "disable")
    on("light_control", "set_automatic_intensity", enabled=True)
    light = on.camera.state.light
    assert (light["lightState"], light["enabled"], light["automaticIntensityMode"]) == (
        False, False, True,
    )  # fmt: skip
    assert on("light_control", "valid_intensity")["ranges"] == [{"low": 0, "high": 100}]
    on("light_control", "enable")
    assert on.result("light_control", "status", light_id="led7").error_class == "http_status"


def test_network_settings(on: On) -> None:
    on("network_settings", "set_hostname", hostname="cam-01")
    on("network_settings", "set_ipv4", mode="static", address="192.0.2.90", prefix_length=24,
       gateway="192.0.2.1")  # fmt: skip
    on("network_settings", "set_resolver", name_servers="192.0.2.53")
    network = on("network_settings", "get")["network"]
    assert network["system"]["hostname"]["hostname"] == "cam-01"
    assert network["system"]["resolver"]["staticNameServers"] == ["192.0.2.53"]
    address = network["devices"][0]["IPv4"]
    assert address["staticAddressConfigurations"] == [{"address": "192.0.2.90", "prefixLength": 24}]
    assert on("network_settings", "check_switch_support")["supported"] is True
    assert on("network_settings", "get_switch_config")["switch"]["port"][0]["portId"] == "1"
    on("network_settings", "set_port_enabled", port_id="1", enabled=False)
    on("network_settings", "set_port_security", port_id="1", auth_server_enabled=True,
       auth_server_enforced="AUTHENTICATED")  # fmt: skip
    port = on("network_settings", "get_port_config", port_id="1")["port"]
    assert port["enabled"] is False
    assert port["security"]["authServerEnforced"] == "AUTHENTICATED"
    assert on.result("network_settings", "get_port_config", port_id="7").status == "failed"
    half = on.result("network_settings", "set_ipv4", mode="static", address="192.0.2.90")
    assert half.error_class == "invalid_parameters"


def test_overlay_and_privacy_mask(on: On) -> None:
    made = on("overlay", "add_text", overlay_text="Größe: 5 & mehr", position="topLeft")
    on("overlay", "set", identity=made["identity"], text_color="red")
    shown = on("overlay", "list")["text_overlays"]
    assert (shown[0]["text"], shown[0]["textColor"]) == ("Größe: 5 & mehr", "red")
    on("overlay", "add_image", image_path="/etc/overlays/logo.ovl")
    on("overlay", "remove", identity=made["identity"])
    listed = on("overlay", "list")
    assert (len(listed["text_overlays"]), len(listed["image_overlays"])) == (0, 1)
    assert on.result("overlay", "remove", identity=99).error_class == "http_status"

    on("privacy_mask", "add", mask_name="window", polygon=["500,500", "800,500", "700,700"])
    on("privacy_mask", "disable_all")
    mask = on("privacy_mask", "list")["masks"][0]
    assert (mask["name"], mask["enabled"], mask["position"][1]) == (
        "window", False, {"x": 800, "y": 500},
    )  # fmt: skip
    on("privacy_mask", "enable_all")
    twice = on.result("privacy_mask", "add", mask_name="window", width=5, height=5)
    assert twice.error_class == "http_status"
    on("privacy_mask", "remove", mask_name="window")
    assert on("privacy_mask", "list")["count"] == 0


def test_recording(on: On) -> None:
    before = on("recording", "list")
    assert (before["count"], before["total"]) == (1, 1)
    recording = before["recordings"][0]
    assert (recording["diskid"], recording["video"]["width"]) == ("SD_DISK", 1920)
    made = on("recording", "start")["recording_id"]
    assert on("recording", "list", limit=1, offset=1)["recordings"][0]["recordingid"] == made
    on("recording", "stop", recording_id=made)
    film = on.camera.state.film
    estimate = on("recording", "export_properties", recording_id=made)["export"]
    assert estimate["EstimatedFileSize"] == len(film)
    exported = on("recording", "export", recording_id=made)
    assert (exported["bytes"], exported["content_type"]) == (len(film), "video/x-matroska")
    short = on.result("recording", "export", recording_id=made, max_bytes=1024)
    assert (short.error_class, short.error["message"].split(" is ")[0]) == (
        "invalid_parameters", "the recording",
    )  # fmt: skip
    on("recording", "remove", recording_id=made)
    assert on.result("recording", "remove", recording_id=made).error_class == "http_status"
    assert on.result("recording", "start", disk_id="NetworkShare").error_class == "http_status"


def test_an_export_is_the_recording(camera: Camera) -> None:
    """What stands on stdout, decoded, is the film to the last byte."""
    run = succeed(camera, "axis_vapix_recording", operation="export",
                     recording_id="20260102_030405_AAAA_ACCC8E000001")  # fmt: skip
    assert base64.b64decode(bytes(run.output.stdout)) == camera.state.film


def test_edge_storage(on: On) -> None:
    disk = on("edge_storage", "check_disk_status")["disks"][0]
    assert (disk["status"], disk["total_bytes"]) == ("OK", 62522368 * 1024)
    assert on("edge_storage", "check_disk_health")["health"][0]["wear"] == 1
    made = on("edge_storage", "start_continuous_recording", options="resolution=640x480&fps=5")
    listed = on("edge_storage", "list_continuous_recordings")["profiles"]
    assert listed[0]["options"] == "resolution=640x480&fps=5"
    on("edge_storage", "stop_continuous_recording", profile=int(made["profile"]))
    assert on("edge_storage", "list_continuous_recordings")["count"] == 0
    on("edge_storage", "unmount")
    assert on("edge_storage", "check_disk_status")["disks"][0]["status"] == "disconnected"
    on("edge_storage", "mount")
    job = on("edge_storage", "format")["job"]["jobid"]
    assert on("edge_storage", "check_job", job_id=int(job))["job"]["progress"] == 100
    assert on.camera.state.recordings == {}
    assert on.result("edge_storage", "check_job", job_id=9).error_class == "http_status"


def test_event_services(on: On) -> None:
    template = on("event_services", "get_templates")["templates"][0]
    action = on(
        "event_services", "add_action", rule_name="Call <us>", action_type=template,
        action_config={"upload_url": "http://192.0.2.1/?a=1&b=2", "password": PASSWORD},
    )["action_id"]  # fmt: skip
    assert on.camera.state.actions[action]["parameters"]["password"] == PASSWORD
    shown = on("event_services", "get_actions")["actions"][0]
    assert shown["parameters"]["password"] == "***"
    assert (shown["name"], shown["parameters"]["upload_url"]) == (
        "Call <us>", "http://192.0.2.1/?a=1&b=2",
    )  # fmt: skip
    condition = 'boolean(//SimpleItem[@Name="port" and @Value="1"])'
    rule = on(
        "event_services", "add_rule", rule_name="Door", action_id=action,
        topic="tns1:Device/tnsaxis:IO/Port", content_filter=condition, enabled=False,
    )["rule_id"]  # fmt: skip
    assert on("event_services", "get_all_rules")["rules"] == [
        {"id": rule, "name": "Door", "enabled": False, "topic": "tns1:Device/tnsaxis:IO/Port",
         "content_filter": condition, "action_id": action},
    ]  # fmt: skip
    in_use = on.result("event_services", "remove_action", id=action)
    assert in_use.error_class == "http_status"
    assert "in use" in in_use.error["message"]
    on("event_services", "remove_rule", id=rule)
    on("event_services", "remove_action", id=action)
    assert on("event_services", "get_all_rules")["count"] == 0


def test_event_streaming(on: On) -> None:
    topics = on("event_streaming", "get_available_topics")["topics"]
    assert topics == [
        {"topic": "tns1:Device/tnsaxis:IO/Port", "name": "Digital port", "source": ["port"],
         "data": ["state"]},
    ]  # fmt: skip
    found = on("event_streaming", "collect", topics=[topics[0]["topic"]], max_events=2)
    assert [event["source"] for event in found["events"]] == [{"port": "1"}, {"port": "2"}]
    some = on("event_streaming", "collect", duration=1)
    assert (some["count"], some["truncated"]) == (3, False)
    assert some["seconds"] < 5
    on.camera.logins.password = "another"
    refused = on.result("event_streaming", "collect", duration=1, password="wrong")
    assert refused.error_class == "login_refused"
