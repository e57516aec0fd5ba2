"""What a scaling policy in Python is made with. It says the same as Weir's SDK in Rust, to the bit: a
missing sample is NaN and never read as zero, and "the last n seconds" count back from the newest time of
the window. `wit/scaling.wit` says what each part of an input means."""

import math
from typing import Iterator, NoReturn, Optional

from componentize_py_types import Err
from wit_world.exports import scaling
from wit_world.imports import types

MAX_REPLICAS = 150_000
"""The most replicas that the host takes for sane."""


def refuse(code: str, sentence: str) -> NoReturn:
    """Ends the decision with a refusal: the replicas are held, and the word is recorded."""
    raise Err(types.Refusal(code, sentence[:1024]))


def measured(value: Optional[float]) -> float:
    """The value, or the refusal `NotEnoughSamples` when nothing was measured."""
    if value is None:
        refuse("NotEnoughSamples", "Too few samples were measured of late to decide on.")
    return value


def capacity_or(input: scaling.Input, own: Optional[float] = None) -> float:
    """Records a second of one replica: `own` when given, else what the host declared or learnt; or a refusal."""
    for rate in (own, input.capacity.per_replica):
        if rate is not None and math.isfinite(rate) and rate > 0:
            return rate
    refuse(
        "CapacityUnknown",
        "What one replica can process is neither declared nor learnt yet: set `spec.capacityPerReplica`, or wait until a saturated replica shows it.",
    )


class Column:
    """One series with the window's times."""

    def __init__(self, times: list[int], values: list[float]):
        self.times = times
        self.values = values

    def samples(self, seconds: float) -> Iterator[tuple[float, float]]:
        """The finite samples of the last seconds, the newest first: value, and age in seconds."""
        length = min(len(self.times), len(self.values))
        for index in range(length - 1, -1, -1):
            age = (self.times[length - 1] - self.times[index]) / 1000
            if age > 0 and not age < seconds:
                return
            if math.isfinite(self.values[index]):
                yield self.values[index], age

    def latest(self, seconds: float) -> Optional[float]:
        """The newest value."""
        return next((value for value, _ in self.samples(seconds)), None)

    def mean(self, seconds: float) -> Optional[float]:
        """The mean; None when nothing was measured."""
        mean, count = 0.0, 0
        for value, _ in self.samples(seconds):
            count += 1
            mean += value / count - mean / count
        return mean if count > 0 and math.isfinite(mean) else None

    def max(self, seconds: float) -> Optional[float]:
        """The largest value."""
        return max((value for value, _ in self.samples(seconds)), default=None)

    def min(self, seconds: float) -> Optional[float]:
        """The smallest value."""
        return min((value for value, _ in self.samples(seconds)), default=None)

    def slope(self, seconds: float) -> Optional[float]:
        """Rise per second, by least squares; None with fewer than two samples."""
        mean_value = self.mean(seconds)
        if mean_value is None:
            return None
        # not sum(): it rounds otherwise than the other languages do
        ages, count = 0.0, 0
        for _, age in self.samples(seconds):
            ages += age
            count += 1
        covariance = variance = 0.0
        for value, age in self.samples(seconds):
            time = ages / count - age
            covariance += time * (value - mean_value)
            variance += time * time
        slope = covariance / variance if variance else math.nan
        return slope if math.isfinite(slope) else None


def column(input: scaling.Input, name: str) -> Column:
    """The column of that name, or a refusal."""
    for series in input.window.series:
        if series.name == name:
            return Column(input.window.times, series.values)
    refuse("SeriesMissing", f"The window has no series `{name}`.")


def replicas_for(load: float, per_replica: float) -> int:
    """The fewest replicas that together process `load`; 0 for no load, MAX_REPLICAS beyond it."""
    quotient = load / per_replica if per_replica else math.inf
    if not math.isfinite(quotient):
        return 0 if quotient < 0 else MAX_REPLICAS
    whole = math.floor(quotient + 0.5)
    rounded = whole if abs(quotient - whole) <= abs(whole) * 1e-9 else math.ceil(quotient)
    return min(max(rounded, 0), MAX_REPLICAS)


def short(value: float) -> str:
    """A number as people write it in a sentence: whole from 100 on, one decimal from 10 on, else two."""
    size = abs(value)
    if not size < 1e15:
        return "nothing" if math.isnan(value) else "over 10^15" if value > 0 else "under -10^15"
    scale = 1 if size >= 99.95 else 10 if size >= 9.995 else 100
    scaled = math.floor(size * scale + 0.5)
    sign = "-" if value < 0 and scaled > 0 else ""
    whole, rest = divmod(scaled, scale)
    decimals = f"{rest:0{len(str(scale)) - 1}d}".rstrip("0") if rest else ""
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


class Proposal:
    """What a policy answers."""

    def __init__(self, replicas: int):
        self.replicas = replicas
        self.code = "Proposed"
        self.sentence = ""
        self.numbers: list[types.NamedNumber] = []
        self.state = b""

    def because(self, code: str, sentence: str) -> "Proposal":
        """Why: a stable CamelCase word for machines and one sentence for people."""
        self.code = code
        self.sentence = sentence[:1024]
        return self

    def number(self, name: str, value: float, unit: str) -> "Proposal":
        """A number that took part; one that is not finite is left out."""
        if math.isfinite(value) and len(self.numbers) < 32:
            self.numbers.append(types.NamedNumber(name, float(value), unit))
        return self

    def remember(self, state: bytes) -> "Proposal":
        """Bytes for the next decision on this object."""
        self.state = state
        return self

    def answer(self) -> scaling.Proposal:
        """The answer as the contract wants it."""
        return scaling.Proposal(self.replicas, types.Rationale(self.code, self.sentence, self.numbers), self.state)
