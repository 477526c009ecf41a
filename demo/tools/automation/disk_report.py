"""Writes how full a file system is, and the largest files of a folder, as JSON."""

import json
import os
import shutil
import sys

folder, wanted = sys.argv[1], int(os.environ["ENTRIES"])
usage = shutil.disk_usage(folder)
sizes = sorted(
    ((entry.stat(follow_symlinks=False).st_size, entry.name) for entry in os.scandir(folder)),
    reverse=True,
)
largest = [{"name": name, "bytes": size} for size, name in sizes[:wanted]]
used = round(100 * usage.used / usage.total, 1)
json.dump({"used_percent": used, "largest": largest}, sys.stdout)
