"""Proves that two copies of the flights table are equal, row by row, and that their rows are the lines of the CSV file.

Reads through the Python driver and the csv module: nothing here shares code with cqlift.
Usage: compare.py HOST PORT CSV KEYSPACE OTHER_KEYSPACE
"""

import csv
import sys
from datetime import datetime

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile

KEY = ["origin", "year", "month", "day", "sched_dep_time", "carrier", "flight"]
TEXT = {"carrier", "tailnum", "origin", "dest"}


def from_line(line):
    def value(name, text):
        if text == "NA":
            return None
        if name in TEXT:
            return text
        if name == "time_hour":
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
        return int(text)

    return {name: value(name, text) for name, text in line.items()}


def keyed(rows):
    found = {}
    for row in rows:
        key = tuple(row[name] for name in KEY)
        assert key not in found, f"the key {key} stands twice"
        found[key] = row
    return found


def main(host, port, path, *keyspaces):
    with open(path, newline="", encoding="utf-8") as file:
        lines = keyed(from_line(line) for line in csv.DictReader(file))
    # By default the driver reads at LOCAL_ONE, which on several nodes may ask the one replica that missed a write.
    profile = ExecutionProfile(consistency_level=ConsistencyLevel.LOCAL_QUORUM)
    cluster = Cluster([host], port=int(port), execution_profiles={EXEC_PROFILE_DEFAULT: profile})
    session = cluster.connect()
    for keyspace in keyspaces:
        rows = keyed(row._asdict() for row in session.execute(f"SELECT * FROM {keyspace}.flights"))
        different = [key for key in lines.keys() | rows.keys() if lines.get(key) != rows.get(key)]
        if different:
            key = different[0]
            sys.exit(
                f"{keyspace}.flights and the file differ in {len(different)} rows, first {key}:\n"
                f"  file  {lines.get(key)}\n  table {rows.get(key)}"
            )
        print(f"{keyspace}.flights: {len(rows)} rows, equal to the {len(lines)} lines of the file in every column")
    cluster.shutdown()


main(*sys.argv[1:])
