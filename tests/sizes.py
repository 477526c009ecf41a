"""How much the long tests do: by default what CI has time for, all of it on request."""

from __future__ import annotations

import os

#: Set by `make long`, before a release and after changes of locks and cancels. Without the prefix
#: of settings, since the processes under test refuse one that they do not know.
LONG = os.environ.get("LONG_TESTS", "") == "1"
