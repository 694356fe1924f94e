"""The data: flights out of New York in 2013, one flight a row."""

import pandas as pd
import pandera.pandas as pa
from modelloop import read_table

CARRIERS = [
    "9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX",
    "WN", "YV",
]  # fmt: skip
DESTINATIONS = [
    "ABQ", "ACK", "ALB", "ANC", "ATL", "AUS", "AVL", "BDL", "BGR", "BHM", "BNA", "BOS",
    "BQN", "BTV", "BUF", "BUR", "BWI", "BZN", "CAE", "CAK", "CHO", "CHS", "CLE", "CLT",
    "CMH", "CRW", "CVG", "DAY", "DCA", "DEN", "DFW", "DSM", "DTW", "EGE", "EYW", "FLL",
    "GRR", "GSO", "GSP", "HDN", "HNL", "HOU", "IAD", "IAH", "ILM", "IND", "JAC", "JAX",
    "LAS", "LAX", "LEX", "LGA", "LGB", "MCI", "MCO", "MDW", "MEM", "MHT", "MIA", "MKE",
    "MSN", "MSP", "MSY", "MTJ", "MVY", "MYR", "OAK", "OKC", "OMA", "ORD", "ORF", "PBI",
    "PDX", "PHL", "PHX", "PIT", "PSE", "PSP", "PVD", "PWM", "RDU", "RIC", "ROC", "RSW",
    "SAN", "SAT", "SAV", "SBN", "SDF", "SEA", "SFO", "SJC", "SJU", "SLC", "SMF", "SNA",
    "SRQ", "STL", "STT", "SYR", "TPA", "TUL", "TVC", "TYS", "XNA",
]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
LATE = 15  # minutes

SCHEMA = pa.DataFrameSchema(
    {
        "leaves": pa.Column("datetime64[ns]", description="Hour it should leave at, in New York"),
        "plane": pa.Column(
            str, nullable=True, description="Its number; nothing is learned from it"
        ),
        "carrier": pa.Column(str, pa.Check.isin(CARRIERS), description="Who flies"),
        "from": pa.Column(
            str, pa.Check.isin(["EWR", "JFK", "LGA"]), description="Airport it leaves"
        ),
        "to": pa.Column(str, pa.Check.isin(DESTINATIONS), description="Airport it flies to"),
        "day": pa.Column(str, pa.Check.isin(DAYS), description="Day of the week"),
        "holidays": pa.Column(bool, description="July, August, December"),
        "month": pa.Column(int, pa.Check.in_range(1, 12), description="Month"),
        "hour": pa.Column(int, pa.Check.in_range(0, 23), description="Hour it should leave at"),
        "left late by": pa.Column(
            float,
            pa.Check.in_range(-120, 3000),
            nullable=True,
            description="Delay when it left",
            metadata={"unit": "min"},
        ),
        "distance": pa.Column(
            int, pa.Check.ge(1), description="Length of the flight", metadata={"unit": "miles"}
        ),
        "arrives": pa.Column(
            str,
            pa.Check.isin(["early", "on time", "late"]),
            nullable=True,
            description="Early: before its time. Late: by more than 15 minutes",
        ),
    },
    strict="filter",
    coerce=True,
)

DUPLICATES = 0.01


def load(uri: str, query: str = "") -> pd.DataFrame:
    """Load the raw table; a flight that never arrived has no value for `arrives`."""
    raw = read_table(uri, query)
    leaves = pd.to_datetime(raw["time_hour"], utc=True).dt.tz_convert("America/New_York")
    leaves = leaves.dt.tz_localize(None)
    delay = raw["arr_delay"]
    return pd.DataFrame(
        {
            "leaves": leaves,
            "plane": raw["tailnum"],
            "carrier": raw["carrier"],
            "from": raw["origin"],
            "to": raw["dest"],
            "day": leaves.dt.day_name(),
            "holidays": leaves.dt.month.isin([7, 8, 12]),
            "month": leaves.dt.month,
            "hour": leaves.dt.hour,
            "left late by": raw["dep_delay"],
            "distance": raw["distance"],
            "arrives": pd.cut(
                delay,
                [-float("inf"), -0.5, LATE, float("inf")],
                labels=["early", "on time", "late"],
            ).astype(object),
        }
    )
