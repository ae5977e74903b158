"""
A year of hourly usage for a made-up home, shaped by published load-profile figures.

Figures: the standard load profile H0 (households) of VDEW, "Repräsentative VDEW-Lastprofile" (1999), an analysis of
1,209 metered customers; in watts for a home using 1,000 kWh a year; hourly means of the published quarter hours.
Taken from the data package *standardlastprofile* (CC0-1.0).

The yearly level follows the U.S. Energy Information Administration: 10,791 kWh a year for the average residential
customer in 2022 ("How much electricity does an American home use?"). Every home gets its own level, its own noise and,
for homes with air conditioning, a summer share on top; all from a seeded generator, so a seed always gives the same
year.
"""

import math
from datetime import date, timedelta
from random import Random

AVERAGE_YEAR_KWH = 10_791
PROFILE_YEAR_KWH = 1_000
_COOLING_STARTS = 9

_WINTER = {
    "workday": (
        58.3, 43.1, 39.5, 38.5, 39.1, 46.9, 90.1, 129.4, 133.5, 123.2, 116.2, 118.3,
        130.7, 129.5, 115.3, 104.8, 105.2, 128.6, 166.2, 187.0, 168.2, 141.0, 116.7, 86.4,
    ),
    "saturday": (
        67.0, 52.9, 42.1, 39.7, 38.5, 40.1, 53.1, 82.0, 119.7, 141.7, 147.9, 155.0,
        166.6, 165.8, 153.4, 143.8, 144.8, 180.5, 209.4, 210.1, 171.9, 134.1, 122.5, 103.9,
    ),
    "sunday": (
        78.2, 56.3, 45.1, 41.2, 38.7, 38.6, 40.9, 50.0, 88.5, 138.5, 174.2, 202.8,
        206.7, 173.0, 136.1, 116.6, 106.7, 125.7, 156.4, 176.3, 160.1, 135.5, 114.8, 84.6,
    ),
}  # fmt: skip
_SUMMER = {
    "workday": (
        73.6, 54.8, 49.8, 46.9, 48.8, 59.2, 97.9, 129.7, 141.6, 144.1, 139.2, 141.9,
        157.8, 152.7, 131.8, 118.8, 114.8, 122.5, 142.2, 165.2, 166.6, 157.5, 144.5, 112.1,
    ),
    "saturday": (
        83.0, 64.3, 52.3, 50.0, 50.5, 51.6, 63.7, 93.1, 128.4, 155.8, 164.8, 171.1,
        182.1, 176.0, 157.2, 148.4, 144.8, 148.9, 166.5, 180.4, 172.9, 153.8, 148.6, 124.7,
    ),
    "sunday": (
        89.6, 66.7, 54.5, 50.6, 50.0, 48.8, 51.3, 69.5, 112.5, 160.2, 186.6, 205.7,
        209.4, 175.4, 144.1, 124.4, 108.4, 109.6, 126.6, 152.0, 159.4, 150.5, 140.2, 108.1,
    ),
}  # fmt: skip
_TRANSITION = {
    "workday": (
        66.6, 49.2, 44.3, 43.1, 44.1, 52.6, 92.9, 129.7, 137.5, 135.9, 132.1, 133.2,
        149.6, 145.7, 126.8, 113.4, 106.2, 116.3, 144.9, 171.9, 168.1, 155.9, 135.7, 100.2,
    ),
    "saturday": (
        73.2, 56.3, 46.4, 43.8, 43.2, 45.2, 58.6, 93.2, 129.7, 150.4, 163.3, 171.8,
        181.4, 177.4, 161.3, 148.7, 146.5, 159.4, 183.3, 198.1, 180.4, 147.3, 138.6, 116.5,
    ),
    "sunday": (
        84.3, 62.2, 48.9, 44.3, 43.2, 43.3, 45.7, 65.5, 111.2, 159.5, 185.1, 205.2,
        207.8, 168.6, 136.2, 121.0, 107.3, 111.8, 137.6, 160.9, 154.8, 143.9, 127.6, 94.0,
    ),
}  # fmt: skip


def profile_watts(day: date) -> tuple[float, ...]:
    """
    Give the 24 hourly means of the H0 profile for a local day, in watts at 1,000 kWh a year.

    Seasons as VDEW defines them: winter November 1 to March 20, summer May 15 to September 14, transition between.
    """
    stamp = (day.month, day.day)
    if stamp >= (11, 1) or stamp <= (3, 20):
        season = _WINTER
    elif (5, 15) <= stamp <= (9, 14):
        season = _SUMMER
    else:
        season = _TRANSITION
    return season[
        ("workday", "workday", "workday", "workday", "workday", "saturday", "sunday")[day.weekday()]
    ]


class Home:
    """One made-up home: its level, its cooling and its habits, drawn once from a seed."""

    def __init__(self, seed: int | str) -> None:
        """Draw a home. The same seed gives the same home and the same year."""
        self._random = Random(seed)
        year_kwh = min(
            max(self._random.lognormvariate(math.log(AVERAGE_YEAR_KWH) - 0.06, 0.35), 2_500), 28_000
        )
        self._scale = year_kwh / PROFILE_YEAR_KWH
        self._cooling_watts = self._random.uniform(0.0, 1_400.0)
        self._shift_hours = self._random.choice((-1, 0, 0, 0, 1))

    def day_wh(self, day: date, hours: list[int]) -> list[int]:
        """
        Make the usage of one local day.

        Args:
            hours: The local hour (0-23) of each of the day's 23, 24 or 25 clock hours, in order.

        Returns:
            Watt-hours of each of those hours, never negative.
        """
        watts = profile_watts(day)
        mood = self._random.uniform(0.8, 1.2)
        season = max(0.0, math.cos((day.timetuple().tm_yday - 201) / 365.25 * 2 * math.pi))
        usage = []
        for hour in hours:
            base = watts[(hour + self._shift_hours) % 24] * self._scale * mood
            cooling = (
                self._cooling_watts
                * season**2
                * max(0.0, math.sin((hour - _COOLING_STARTS) / 15 * math.pi))
                if hour > _COOLING_STARTS
                else 0.0
            )
            usage.append(max(0, round((base + cooling * mood) * self._random.uniform(0.75, 1.25))))
        return usage


def days_between(first: date, end: date) -> list[date]:
    """List the days of ``[first, end)``."""
    return [first + timedelta(days=offset) for offset in range((end - first).days)]
