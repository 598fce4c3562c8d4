"""dlt, given Arrow tables."""

import json
import os
import tempfile

from common import FILES, VARIABLES, database, dlt_credentials, measure, place

HOME = tempfile.mkdtemp()
os.environ.update(
    DLT_DATA_DIR=HOME,
    RUNTIME__DLTHUB_TELEMETRY="false",
    DESTINATION__POSTGRES__CREDENTIALS=dlt_credentials(),
)


def tables():
    from datetime import datetime

    import pyarrow

    for file in FILES:
        with open(file, "rb") as opened:
            hourly = json.load(opened)["hourly"]
        times = [datetime.fromisoformat(time) for time in hourly["time"]]
        columns = {"place": [place(file)] * len(times), "time": pyarrow.array(times, pyarrow.timestamp("us"))}
        for name in VARIABLES:
            columns[name] = pyarrow.array(map(float, hourly[name]), pyarrow.float64())
        yield pyarrow.table(columns)


def load():
    import dlt

    pipeline = dlt.pipeline("peer", destination="postgres", dataset_name="peer_dlt", pipelines_dir=HOME)
    pipeline.run(dlt.resource(tables, name="rows"), write_disposition="replace")


measure(load, table="peer_dlt.rows", make=lambda: database("drop schema if exists peer_dlt cascade"))
database("drop schema peer_dlt cascade")
