"""pandas `to_sql(method="multi")`, a thousand rows at a time."""

import json

import pandas
from common import FILES, TABLE, URL, VARIABLES, measure, place
from sqlalchemy import create_engine


def load():
    engine = create_engine(URL.replace("postgres://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for file in FILES:
            with open(file, "rb") as opened:
                hourly = json.load(opened)["hourly"]
            frame = pandas.DataFrame(hourly)
            frame["time"] = pandas.to_datetime(frame["time"])
            frame.insert(0, "place", place(file))
            frame[VARIABLES] = frame[VARIABLES].astype(float)
            frame.to_sql(
                TABLE, connection, if_exists="append", index=False, method="multi", chunksize=1000
            )


measure(load)
