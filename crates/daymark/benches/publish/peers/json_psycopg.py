"""json, zip, and psycopg's COPY of rows (binary)."""

import json
from datetime import datetime

import psycopg
from common import COLUMNS, FILES, TABLE, URL, VARIABLES, measure, place


def load():
    with psycopg.connect(URL) as connection, connection.cursor() as cursor:
        copying = f"copy {TABLE} ({', '.join(COLUMNS)}) from stdin (format binary)"
        with cursor.copy(copying) as copy:
            copy.set_types(["text", "timestamp"] + ["float8"] * len(VARIABLES))
            for file in FILES:
                with open(file, "rb") as opened:
                    hourly = json.load(opened)["hourly"]
                name = place(file)
                times = map(datetime.fromisoformat, hourly["time"])
                columns = [map(float, hourly[variable]) for variable in VARIABLES]
                for time, *values in zip(times, *columns):
                    copy.write_row((name, time, *values))


measure(load)
