"""What the peers share: the objects, an unkeyed table, and the line they print.

usage: PEER.py FOLDER DATABASE_URL PART    (of PART objects one is loaded)
prints: SECONDS PEAK_KIB
"""

import glob
import os
import resource
import sys
import time

FOLDER, URL, PART = sys.argv[1], sys.argv[2], int(sys.argv[3])
FILES = sorted(glob.glob(os.path.join(FOLDER, "*.json")))[::PART]
VARIABLES = [
    "temperature_2m",
    "relative_humidity_2m",
    "precipitation",
    "wind_speed_10m",
    "cloud_cover",
]
COLUMNS = ["place", "time", *VARIABLES]
HOURS = 8760
TABLE = "peer_rows"
DDL = (
    f"drop table if exists {TABLE}; create table {TABLE} (place text, time timestamp, "
    + ", ".join(f"{name} double precision" for name in VARIABLES)
    + ")"
)


def place(file):
    return os.path.basename(file).rsplit("_", 1)[1].removesuffix(".json")


def database(statement):
    import psycopg

    with psycopg.connect(URL, autocommit=True) as connection:
        return connection.execute(statement, prepare=False)


def dlt_credentials():
    """The database as dlt takes it: it asks for a password also where the server does not."""
    user, at, rest = URL.split("://", 1)[1].partition("@")
    return f"postgresql://{user if ':' in user else user + ':none'}{at}{rest}"


def make_table():
    database(DDL)


def measure(load, table=TABLE, make=make_table):
    make()
    began = time.perf_counter()
    load()
    took = time.perf_counter() - began
    import psycopg

    with psycopg.connect(URL) as connection:
        (rows,) = connection.execute(f"select count(*) from {table}").fetchone()
    assert rows == len(FILES) * HOURS, rows
    database(f"drop table {table}")
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
