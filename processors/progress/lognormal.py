"""Times until an end, as mean and variance: of one log-normal duration, of the later of two ends,
of many things of which some run side by side. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, NamedTuple

from processors.progress.history import Expected

_ROOT2: Final = math.sqrt(2.0)
_ROOT2PI: Final = math.sqrt(2.0 * math.pi)
#: Standard deviations beyond which the later of two ends is certain.
_CERTAIN: Final = 4.0
#: Ends of which the last one is not looked for one by one.
_MANY: Final = 64
_NORMAL: Final = NormalDist()
#: Where the tail of a duration is thinner than this, its form is known better than its values.
_THIN: Final = 1e-6
#: What is less than this is over.
_NO_TIME: Final = 1e-6
#: A spread beyond this (a factor of 50) says that nothing is known.
_WIDEST: Final = 4.0
#: What the steps of a run have in common (a slow day, a slow host) and the model does not know, as
#: a part of what is left; measured with `bench.eta`: two of three ends are to lie within the error.
_MODEL_ERROR: Final = 0.35


class Remaining(NamedTuple):
    """Seconds until an end: mean and variance."""

    mean: float
    variance: float

    def then(self, after: Remaining) -> Remaining:
        """One after the other."""
        return Remaining(self.mean + after.mean, self.variance + after.variance)


NONE: Final = Remaining(0.0, 0.0)


def _below(x: float) -> float:
    """The part of a standard normal distribution below `x`."""
    return 0.5 * math.erfc(-x / _ROOT2)


def remaining(expected: Expected, elapsed: float) -> Remaining:
    """What is left of a duration that has lasted `elapsed` seconds and has not ended."""
    mean, variance = expected[0], min(expected[1], _WIDEST)
    if elapsed <= 0.0:
        first = math.exp(mean + variance / 2.0)
        return Remaining(first, first * first * math.expm1(variance))
    spread = math.sqrt(variance)
    far = (math.log(elapsed) - mean) / spread
    tail = _below(-far)
    if tail < _THIN:
        # It has outlasted everything known: what is left grows with what has passed.
        left = elapsed * spread / far
        return Remaining(left, left * left)
    first = math.exp(mean + variance / 2.0) * _below(spread - far) / tail
    second = math.exp(2.0 * (mean + variance)) * _below(2.0 * spread - far) / tail
    return Remaining(max(0.0, first - elapsed), max(0.0, second - first * first))


def later(one: Remaining, other: Remaining) -> Remaining:
    """The later of two ends (Clark 1961, as if normal and independent)."""
    spread = math.sqrt(one.variance + other.variance)
    between = one.mean - other.mean
    if spread * _CERTAIN <= abs(between):
        return one if between >= 0.0 else other
    far = between / spread
    first, second = _below(far), _below(-far)
    density = math.exp(-far * far / 2.0) / _ROOT2PI
    mean = one.mean * first + other.mean * second + spread * density
    square = (one.mean**2 + one.variance) * first + (other.mean**2 + other.variance) * second
    square += (one.mean + other.mean) * spread * density
    return Remaining(mean, max(0.0, square - mean * mean))


def side_by_side(all_of: list[Remaining], width: int) -> Remaining:
    """All of these, `width` at once at most (0 for no limit), in their order."""
    if not all_of:
        return NONE
    many = len(all_of)
    end = NONE
    if many > _MANY:
        end = _last_of(all_of)
    else:
        for one in all_of:
            end = later(end, one)
    if not 0 < width < many:
        return end
    mean = sum([one.mean for one in all_of]) / many
    variance = sum([one.variance for one in all_of]) / many
    # The places are busy until nothing waits any more; then on average half a duration is left.
    work = many * mean / width + mean * (width - 1) / (2.0 * width)
    queue = Remaining(work, many * variance / width**2)
    return queue if queue.mean >= end.mean else end


def _last_of(all_of: list[Remaining]) -> Remaining:
    """The last of many ends, as if all were alike: the expected highest of so many (Blom 1958)."""
    many = len(all_of)
    mean = sum([one.mean for one in all_of]) / many
    variance = sum([one.variance for one in all_of]) / many
    median, spread = median_of(Remaining(mean, variance))
    highest = _NORMAL.inv_cdf((many - 0.375) / (many + 0.25))
    longest = max([one.mean for one in all_of])
    last = max(median * math.exp(math.sqrt(spread) * highest), longest)
    return Remaining(last, (last - mean) ** 2 / max(1.0, highest) ** 2)


def with_report(left: Remaining | None, elapsed: float, percent: int) -> Remaining:
    """What is left, where the attempt itself reports `percent` (1 to 99) after `elapsed` seconds.

    The nearer the end, the more the report counts and the less what was before.
    """
    open_part = (100 - percent) / percent
    told = max(elapsed, 0.001) * open_part
    told_variance = min(_WIDEST, max(0.01, 0.16 * open_part))
    if left is None or left.mean <= _NO_TIME:
        return of_median(told, told_variance)
    median, variance = median_of(left)
    weight = variance / (variance + told_variance) if variance else 0.5
    mean = weight * math.log(told) + (1.0 - weight) * math.log(max(median, 0.001))
    return of_median(math.exp(mean), max(0.001, weight * told_variance))


def median_of(left: Remaining) -> tuple[float, float]:
    """Median, and variance of the logarithm, of the log-normal duration with these moments."""
    if left.mean <= _NO_TIME:
        return 0.0, 0.0
    ratio = 1.0 + left.variance / (left.mean * left.mean)
    return left.mean / math.sqrt(ratio), math.log(ratio)


def of_median(median: float, variance: float) -> Remaining:
    """The moments of a log-normal duration."""
    mean = median * math.exp(variance / 2.0)
    return Remaining(mean, mean * mean * math.expm1(variance))


def shown(left: Remaining) -> tuple[float, float]:
    """The estimate, and the distance from it within which two of three ends lie.

    An error is judged by what is left: an estimate of twice the time is 100 % wrong, one of half of
    it 50 %. The median of the density divided by the time makes that least, but it is too short in
    most runs; this is half way to it.
    """
    wider = left.variance + (_MODEL_ERROR * left.mean) ** 2
    median, variance = median_of(Remaining(left.mean, wider))
    estimate = median * math.exp(-variance / 2.0)
    return estimate, estimate * math.sinh(min(math.sqrt(variance), _WIDEST))
