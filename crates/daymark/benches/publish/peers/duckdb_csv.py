"""DuckDB reads the JSON and writes CSV, which psql's \\copy takes."""

import os
import subprocess
import tempfile

import duckdb
from common import COLUMNS, FILES, TABLE, URL, VARIABLES, measure


def load():
    with tempfile.TemporaryDirectory() as folder:
        csv = os.path.join(folder, "rows.csv")
        each = ", ".join(f'unnest(hourly."{name}") as "{name}"' for name in ["time", *VARIABLES])
        fields = ", ".join(f'"{name}" DOUBLE[]' for name in VARIABLES)
        duckdb.sql(
            f"copy (select regexp_extract(filename, '_(p[0-9]+)\\.json', 1) as place, {each} "
            f"from read_json({FILES!r}, filename = true, "
            f"columns = {{hourly: 'STRUCT(\"time\" VARCHAR[], {fields})'}})) "
            f"to '{csv}' (header false)"
        )
        copy = f"\\copy {TABLE} ({', '.join(COLUMNS)}) from '{csv}' (format csv)"
        subprocess.run(["psql", "-q", URL, "-c", copy], check=True)


measure(load)
