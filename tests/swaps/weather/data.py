"""The data: the weather at the airports of New York in 2013, one hour a row."""

import pandas as pd
import pandera.pandas as pa
from modelloop import read_table


def _measured(description: str, unit: str, low: float, high: float) -> pa.Column:
    return pa.Column(
        float,
        pa.Check.in_range(low, high),
        nullable=True,
        description=description,
        metadata={"unit": unit},
    )


SCHEMA = pa.DataFrameSchema(
    {
        "airport": pa.Column(str, pa.Check.isin(["EWR", "JFK", "LGA"]), description="Airport"),
        "month": pa.Column(int, pa.Check.in_range(1, 12), description="Month in New York"),
        "hour": pa.Column(int, pa.Check.in_range(0, 23), description="Hour in New York"),
        "temperature": _measured("Temperature of the air", "°C", -60, 60),
        "dew point": _measured("Dew point", "°C", -60, 60),
        "wind from": _measured("Direction the wind comes from", "°", 0, 360),
        "wind": _measured("Speed of the wind", "m/s", 0, 100),
        "gust": _measured("Speed of the strongest gust", "m/s", 0, 100),
        "rain": _measured("Precipitation", "mm", 0, 500),
        "pressure": _measured("Pressure at sea level", "hPa", 850, 1100),
        "visibility": _measured("Visibility", "km", 0, 20),
    },
    strict="filter",
    coerce=True,
)

DUPLICATES = 0.01


def load(uri: str, query: str = "") -> pd.DataFrame:
    """Load the raw table, in metric units, with month and hour of the local time."""
    raw = read_table(uri, query)
    local = pd.to_datetime(raw["time_hour"], utc=True).dt.tz_convert("America/New_York")
    return pd.DataFrame(
        {
            "airport": raw["origin"],
            "month": local.dt.month,
            "hour": local.dt.hour,
            "temperature": (raw["temp"] - 32) / 1.8,
            "dew point": (raw["dewp"] - 32) / 1.8,
            "wind from": raw["wind_dir"],
            "wind": raw["wind_speed"] * 0.44704,
            "gust": raw["wind_gust"] * 0.44704,
            "rain": raw["precip"] * 25.4,
            "pressure": raw["pressure"],
            "visibility": raw["visib"] * 1.609344,
        }
    )
