"""What all unit tests share."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is for the benchmarks; a busy machine must not fail a test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
