"""dlt, given rows as Python dictionaries."""

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


def rows():
    for file in FILES:
        with open(file, "rb") as opened:
            hourly = json.load(opened)["hourly"]
        name = place(file)
        for time, *values in zip(hourly["time"], *[hourly[name] for name in VARIABLES]):
            yield {"place": name, "time": time, **dict(zip(VARIABLES, map(float, values)))}


def load():
    import dlt

    pipeline = dlt.pipeline("peer", destination="postgres", dataset_name="peer_dlt", pipelines_dir=HOME)
    pipeline.run(rows(), table_name="rows", write_disposition="replace")


measure(load, table="peer_dlt.rows", make=lambda: database("drop schema if exists peer_dlt cascade"))
database("drop schema peer_dlt cascade")
