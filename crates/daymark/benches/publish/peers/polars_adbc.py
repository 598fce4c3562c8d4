"""polars, and ADBC's driver for PostgreSQL (binary COPY)."""

import json

import adbc_driver_postgresql.dbapi as adbc
import polars
from common import FILES, TABLE, URL, VARIABLES, measure, place


def frame(file):
    with open(file, "rb") as opened:
        hourly = json.load(opened)["hourly"]
    return polars.DataFrame(hourly).select(
        polars.lit(place(file)).alias("place"),
        polars.col("time").str.to_datetime("%Y-%m-%dT%H:%M"),
        *[polars.col(name).cast(polars.Float64) for name in VARIABLES],
    )


def load():
    whole = polars.concat([frame(file) for file in FILES])
    with adbc.connect(URL) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(TABLE, whole.to_arrow(), mode="append")
        connection.commit()


measure(load)
