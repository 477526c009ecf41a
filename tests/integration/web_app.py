"""A service with a health check: `web_app.py ADDRESS PORT RELEASE FOLDER`.

It answers /health with its release and process id; 503 while `FOLDER/broken-RELEASE` exists. It
takes its time to start where `FOLDER/slow` exists.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ADDRESS, PORT, RELEASE, FOLDER = sys.argv[1:5]


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    def do_GET(self) -> None:
        broken = (Path(FOLDER) / f"broken-{RELEASE}").exists()
        body = json.dumps({"release": RELEASE, "pid": os.getpid()}).encode()
        self.send_response(503 if broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written."""


if __name__ == "__main__":
    # Whoever asks right after the start finds nobody, as with a service that loads its data.
    time.sleep(0.8 if (Path(FOLDER) / "slow").exists() else 0)
    with HTTPServer((ADDRESS, int(PORT)), Handler) as server:
        server.serve_forever()
