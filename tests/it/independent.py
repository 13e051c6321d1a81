"""Reads the parts of a dump with pyarrow and DuckDB and compares every cell with what the server gives.

    independent.py HOST PORT KEYSPACE DUMP_DIR parquet|csv

Knows the wire format, the Parquet types and the CSV text forms from their documentation alone; nothing here comes from
cqlift. A cell that the exceptions column names must be there with the server's bytes; every other cell must be the
same value, and the companion columns must say its write time and expiry. Prints one line per table, exits 1 with all
differences.
"""

import datetime
import decimal
import ipaddress
import json
import re
import struct
import sys
import time
import uuid
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from cassandra import InvalidRequest, cqltypes
from cassandra.cluster import Cluster, ExecutionProfile, EXEC_PROFILE_DEFAULT
from cassandra.protocol import ProtocolHandler, ResultMessage, read_int, read_value
from cassandra.query import tuple_factory

PROTOCOL = 4
NULL = None


# --- the server's side: raw cells with their types, through the Python driver ---------------------------------------


class RawResult(ResultMessage):
    """Rows as they came, undecoded."""

    def recv_results_rows(self, f, protocol_version, user_type_map, result_metadata, *_):
        self.recv_results_metadata(f, user_type_map)
        columns = self.column_metadata or result_metadata
        self.column_names = [column[2] for column in columns]
        self.column_types = [column[3] for column in columns]
        count = read_int(f)
        self.parsed_rows = [tuple(read_value(f) for _ in columns) for _ in range(count)]
        RawResult.last_types = dict(zip(self.column_names, self.column_types))


class RawHandler(ProtocolHandler):
    message_types_by_opcode = {**ProtocolHandler.message_types_by_opcode, RawResult.opcode: RawResult}


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def select(session, keyspace, table, columns):
    names = ", ".join(quoted(column) for column in columns)
    rows = list(session.execute(f"SELECT {names} FROM {keyspace}.{quoted(table)}"))
    return rows, [RawResult.last_types[column] for column in columns]


# --- values -----------------------------------------------------------------------------------------------------
# One canonical, hashable form per value, whatever it was read from: numbers as int, floating point as its bytes (any NaN
# as 'NaN'), moments as the integers that the wire has, lists as tuples, maps as tuples of pairs, user types as tuples.


# A tuple or user type with fewer fields than its type: JSON says it by leaving the last ones out, Parquet cannot.
SHORT_IS_ODD = False


class Odd(Exception):
    """Bytes that are no value of their type: such a cell must be among the exceptions."""


FIXED_IN_VECTORS = {"boolean": 1, "int": 4, "float": 4, "bigint": 8, "double": 8, "timestamp": 8, "uuid": 16, "timeuuid": 16}


def plain(cls):
    """The type without `frozen`, which the driver keeps inside vectors."""
    while issubclass(cls, cqltypes.FrozenType):
        (cls,) = cls.subtypes
    return cls


def name_of(cls):
    cls = plain(cls)
    for base, name in [
        (cqltypes.ListType, "list"), (cqltypes.SetType, "set"), (cqltypes.MapType, "map"), (cqltypes.UserType, "udt"),
        (cqltypes.TupleType, "tuple"), (cqltypes.VectorType, "vector"), (cqltypes.TimeUUIDType, "timeuuid"),
        (cqltypes.UUIDType, "uuid"), (cqltypes.AsciiType, "ascii"), (cqltypes.UTF8Type, "text"), (cqltypes.SimpleDateType, "date"),
        (cqltypes.TimeType, "time"), (cqltypes.DateType, "timestamp"), (cqltypes.CounterColumnType, "bigint"),
    ]:
        if issubclass(cls, base):
            return name
    return cls.typename


def floating(value, width):
    return "NaN" if value != value else struct.pack(">d" if width == 8 else ">f", value)


def number(value):
    return ("decimal", *decimal.Decimal(value).as_tuple())


def take(raw, at):
    if at + 4 > len(raw):
        raise Odd("ends early")
    (length,) = struct.unpack_from(">i", raw, at)
    if length < 0:
        return NULL, at + 4
    if at + 4 + length > len(raw):
        raise Odd("ends early")
    return raw[at + 4 : at + 4 + length], at + 4 + length


def vint(raw, at):
    first = raw[at]
    extra = 0
    while extra < 8 and first & (0x80 >> extra):
        extra += 1
    value = first & (0xFF >> (extra + 1)) if extra < 8 else 0
    for byte in raw[at + 1 : at + 1 + extra]:
        value = value << 8 | byte
    return value, at + 1 + extra


def from_wire(cls, raw):
    """The value of a cell; raises Odd if it is not one."""
    if raw is NULL:
        return NULL
    cls = plain(cls)
    name = name_of(cls)
    if name in ("list", "set", "map"):
        (count,), at = struct.unpack_from(">i", raw), 4
        items = []
        for _ in range(count * (2 if name == "map" else 1)):
            item, at = take(raw, at)
            items.append(item)
        if name == "map":
            k, v = cls.subtypes
            return tuple((from_wire(k, a), from_wire(v, b)) for a, b in zip(items[::2], items[1::2]))
        return tuple(from_wire(cls.subtypes[0], item) for item in items)
    if name in ("tuple", "udt"):
        if raw == b"" and SHORT_IS_ODD:
            raise Odd("empty")
        fields, at = [], 0
        for field in cls.subtypes:
            if at == len(raw) and not SHORT_IS_ODD:
                break
            # Fields that were added later are not there: null.
            item, at = take(raw, at) if at < len(raw) else (NULL, at)
            fields.append(from_wire(field, item))
        return tuple(fields)
    if name == "vector":
        inner, at, items = cls.subtype, 0, []
        width = FIXED_IN_VECTORS.get(name_of(inner)) or (nested_width(inner) if name_of(inner) == "vector" else None)
        for _ in range(cls.vector_size):
            length = width
            if width is None:
                length, at = vint(raw, at)
            items.append(from_wire(inner, raw[at : at + length]))
            at += length
        return tuple(items)
    if name in ("ascii", "text", "varchar"):
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Odd("not UTF-8") from None
    if name == "blob":
        return raw
    if raw == b"":
        raise Odd("empty")
    if name == "boolean":
        if raw not in (b"\0", b"\1"):
            raise Odd("neither 0 nor 1")
        return raw == b"\1"
    if name == "date":
        return struct.unpack(">I", raw)[0] - (1 << 31)
    if name in ("time", "timestamp"):
        return struct.unpack(">q", raw)[0]
    if name == "inet":
        return raw
    if name == "varint":
        return int.from_bytes(raw, "big", signed=True)
    if name == "decimal":
        if len(raw) < 5:
            raise Odd("no digits")
        (scale,) = struct.unpack_from(">i", raw)
        unscaled = int.from_bytes(raw[4:], "big", signed=True)
        digits = tuple(int(d) for d in str(abs(unscaled)))
        return ("decimal", int(unscaled < 0), digits, -scale)
    value = cls.from_binary(raw, PROTOCOL)
    if name == "duration":
        return (value.months, value.days, value.nanoseconds)
    if name in ("float", "double"):
        return floating(value, 8 if name == "double" else 4)
    return value


def nested_width(cls):
    inner = cls.subtype
    width = nested_width(inner) if name_of(inner) == "vector" else FIXED_IN_VECTORS.get(name_of(inner))
    return width and width * cls.vector_size


# --- Parquet ----------------------------------------------------------------------------------------------------


def from_arrow(cls, scalar):
    if not scalar.is_valid:
        return NULL
    cls = plain(cls)
    name = name_of(cls)
    if isinstance(scalar, pyarrow.ExtensionScalar):
        scalar = scalar.value
    if name in ("list", "set"):
        return tuple(from_arrow(cls.subtypes[0], item) for item in scalar.values)
    if name == "vector":
        return tuple(from_arrow(cls.subtype, item) for item in scalar.values)
    if name == "map":
        pairs = scalar.values
        k, v = cls.subtypes
        return tuple(
            (from_arrow(k, a), from_arrow(v, b)) for a, b in zip(pairs.field(0), pairs.field(1))
        )
    if name in ("tuple", "udt"):
        names = cls.fieldnames if name == "udt" else [f"f{i}" for i in range(len(cls.subtypes))]
        assert [field.name for field in scalar.type] == list(names), (scalar.type, names)
        return tuple(from_arrow(field, scalar[i]) for i, field in enumerate(cls.subtypes))
    if name == "duration":
        return tuple(scalar[part].as_py() for part in ("months", "days", "nanoseconds"))
    if name in ("timestamp", "date", "time"):
        expected = {"timestamp": pyarrow.timestamp("ms", "UTC"), "date": pyarrow.date32(), "time": pyarrow.time64("ns")}
        assert scalar.type == expected[name], (name, scalar.type)
        return scalar.value
    value = scalar.as_py()
    if name == "varint":
        return int(value)
    if name == "decimal":
        return number(value)
    if name == "inet":
        return ipaddress.ip_address(value).packed
    if name in ("float", "double"):
        return floating(value, 8 if name == "double" else 4)
    if name in ("uuid", "timeuuid"):
        return uuid.UUID(bytes=value) if isinstance(value, bytes) else value
    return value


# --- CSV --------------------------------------------------------------------------------------------------------


class Number(str):
    """A number of JSON as it stands there."""


def text_of_date(days):
    # 400 years have 146,097 days, so a date beyond Python's years has a twin within them.
    cycles, days = divmod(days, 146_097)
    twin = datetime.date(1970, 1, 1) + datetime.timedelta(days=days)
    year = twin.year + 400 * cycles
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    return f"{shown}-{twin.month:02d}-{twin.day:02d}"


def text_of_timestamp(millis):
    days, millis = divmod(millis, 86_400_000)
    seconds, millis = divmod(millis, 1000)
    return f"{text_of_date(days)}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{millis:03d}Z"


def text_of_time(nanos):
    seconds, nanos = divmod(nanos, 10**9)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{nanos:09d}"


UNITS = {"y": (0, 12), "mo": (0, 1), "w": (1, 7), "d": (1, 1), "h": (2, 3_600_000_000_000), "m": (2, 60_000_000_000),
         "s": (2, 10**9), "ms": (2, 10**6), "us": (2, 1000), "µs": (2, 1000), "ns": (2, 1)}


def duration(text):
    parts = [0, 0, 0]
    sign = -1 if text.startswith("-") else 1
    pieces = re.findall(r"(\d+)(mo|ms|us|µs|ns|[ywdhms])", text)
    assert "".join(n + u for n, u in pieces) == text.lstrip("-"), text
    for count, unit in pieces:
        place, factor = UNITS[unit]
        parts[place] += sign * int(count) * factor
    return tuple(parts)


def same(parsed, expected_text, text):
    assert text == expected_text, f"{text!r} should be {expected_text!r}"
    return parsed


def from_text(cls, text, wanted):
    """The value of a text. Where the documentation leaves no choice of form, that of `wanted` must be the very same."""
    cls = plain(cls)
    name = name_of(cls)
    if name in ("list", "set", "map", "tuple", "udt", "vector"):
        return from_json(cls, json.loads(text, parse_int=Number, parse_float=Number, parse_constant=reject, object_pairs_hook=Pairs), wanted)
    if name in ("ascii", "text", "varchar"):
        return text
    if name in ("tinyint", "smallint", "int", "bigint", "varint"):
        return same(int(text), str(int(text)), text)
    if name == "boolean":
        return {"true": True, "false": False}[text]
    if name == "blob":
        assert text.startswith("0x") and text == text.lower(), text
        return bytes.fromhex(text[2:])
    if name in ("uuid", "timeuuid"):
        return same(uuid.UUID(text), str(uuid.UUID(text)), text)
    if name == "inet":
        return ipaddress.ip_address(text).packed
    if name == "decimal":
        return number(text)
    if name in ("float", "double"):
        assert re.fullmatch(r"NaN|-?Infinity|-?\d+(\.\d+)?([eE][+-]?\d+)?", text), text
        return floating(float(text), 8 if name == "double" else 4)
    if name == "duration":
        return duration(text)
    # Moments: the text is compared, which is stricter than reading it.
    forms = {"date": text_of_date, "timestamp": text_of_timestamp, "time": text_of_time}
    return same(wanted, forms[name](wanted), text) if isinstance(wanted, int) else text


class Pairs(list):
    """A JSON object with its order."""


def reject(constant):
    raise ValueError(f"{constant} is not JSON")


def from_json(cls, value, wanted):
    if value is NULL:
        return NULL
    cls = plain(cls)
    name = name_of(cls)

    def inner(i):
        return wanted[i] if isinstance(wanted, tuple) and i < len(wanted) else NULL

    if name in ("list", "set", "vector", "tuple"):
        assert isinstance(value, list) and not isinstance(value, Pairs), value
        types = cls.subtypes if name == "tuple" else [cls.subtype if name == "vector" else cls.subtypes[0]] * len(value)
        assert len(value) <= len(types), value
        return tuple(from_json(t, v, inner(i)) for i, (t, v) in enumerate(zip(types, value)))
    if name == "udt":
        assert isinstance(value, Pairs), value
        names = [field for field, _ in value]
        assert names == list(cls.fieldnames)[: len(names)], f"fields {names} of {cls.fieldnames}"
        return tuple(from_json(t, v, inner(i)) for i, (t, (_, v)) in enumerate(zip(cls.subtypes, value)))
    if name == "map":
        k, v = cls.subtypes
        kind = name_of(k)
        if kind in ("ascii", "text", "varchar", "int", "bigint", "smallint", "tinyint", "varint", "uuid", "timeuuid"):
            assert isinstance(value, Pairs) or value == [], f"keys of {kind} make an object: {value}"
        elif kind in ("list", "set", "map", "tuple", "udt", "vector"):
            assert not isinstance(value, Pairs), f"keys of {kind} make pairs: {value}"

        def pair(i):
            return inner(i) or (NULL, NULL)

        return tuple(
            (from_json(k, a, pair(i)[0]), from_json(v, b, pair(i)[1])) for i, (a, b) in enumerate(value)
        )
    if isinstance(value, bool):
        assert name == "boolean", (name, value)
        return value
    # A key of an object is a string in any case; a value that is a number must be bare, the names of NaN quoted.
    return from_text(cls, str(value), wanted)


def read_parts(paths, form):
    for path in paths:
        if form == "parquet":
            yield pyarrow.parquet.read_table(path)
        else:
            header = pyarrow.csv.open_csv(path, parse_options=OPTIONS).schema.names
            yield pyarrow.csv.read_csv(
                path,
                parse_options=OPTIONS,
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={name: pyarrow.string() for name in header},
                    null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
                ),
            )


OPTIONS = pyarrow.csv.ParseOptions(newlines_in_values=True)


def wire_of(cell, form):
    """The exceptions of a row: column name to bytes."""
    if cell is NULL:
        return {}
    if form == "parquet":
        return dict(cell)
    return {name: bytes.fromhex(value.removeprefix("0x")) for name, value in json.loads(cell).items()}


# --- write times and expiries -----------------------------------------------------------------------------------


# Seconds: expiries are told as whole seconds from now.
SLACK = 3


def companions(dump, keyspace, table):
    """What the manifest says: column name to the names of its write time and expiry columns."""
    manifest = json.loads((dump / "manifest.json").read_text())
    tables = next(k["tables"] for k in manifest["keyspaces"] if k["name"] == keyspace)
    columns = next(t["columns"] for t in tables if t["name"] == table)
    found = {c["name"]: (c.get("write_time"), c.get("expires_at")) for c in columns}
    return {name: pair for name, pair in found.items() if pair != (None, None)}


def times_of(session, keyspace, table, keys, name):
    """Key cells to write time and expiry of a column, or nothing if the server does not tell them."""
    selected = ", ".join(quoted(k) for k in keys)
    column = quoted(name)
    try:
        rows = session.execute(f"SELECT {selected}, writetime({column}), ttl({column}) FROM {keyspace}.{quoted(table)}")
        rows = list(rows)
    except InvalidRequest:
        return None
    now = time.time()
    return {tuple(row[:-2]): (numbers(row[-2]), [t and t + now for t in numbers(row[-1])]) for row in rows}


def numbers(raw):
    """A bigint, an int, or a list of them."""
    if raw is NULL:
        return []
    if len(raw) in (4, 8) and raw != b"\0\0\0\1\xff\xff\xff\xff":
        return [int.from_bytes(raw, "big", signed=True)]
    (count,), at = struct.unpack_from(">i", raw), 4
    items = []
    for _ in range(count):
        item, at = take(raw, at)
        items.append(item and int.from_bytes(item, "big", signed=True))
    return items


def check_times(where, name, told, written, expires, problems):
    def read(scalar):
        value = scalar.as_py() if scalar.is_valid else []
        if isinstance(value, str):
            value = json.loads(value)
        return value if isinstance(value, list) else [value]

    found, due = read(written), read(expires)
    if found != told[0]:
        problems.append(f"{where}: {name}: written at {found}, the server says {told[0]}")
    # That nothing expires may be said by one null or by one per element.
    due, told = [due if any(due) else [], told[1] if any(told[1]) else []]
    near = len(due) == len(told) and all((a is None) == (b is None) and abs((a or 0) - (b or 0)) <= SLACK for a, b in zip(due, told))
    if not near:
        problems.append(f"{where}: {name}: expires at {due}, the server says {told}")


# --- the comparison ---------------------------------------------------------------------------------------------


def escaped(name):
    return "".join(c if re.match("[a-z0-9_]", c) else "".join(f"%{b:02X}" for b in c.encode()) for c in name)


def compare(session, keyspace, table, dump, form, problems):
    columns = session.execute(
        "SELECT column_name, kind, position FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
        (keyspace, table),
    )
    columns = [(name.decode(), kind.decode(), int.from_bytes(place, "big", signed=True)) for name, kind, place in columns]
    names = [name for name, _, _ in columns]
    keys = [name for name, kind, _ in columns if kind in ("partition_key", "clustering")]
    rows, types = select(session, keyspace, table, names)
    beside = companions(dump, keyspace, table)
    counter = any(plain(t) is cqltypes.CounterColumnType for t in types)
    times = {}
    for name in names:
        times[name] = None if name in keys or counter else times_of(session, keyspace, table, keys, name)
    times = {name: told for name, told in times.items() if told is not None}
    types = dict(zip(names, types))
    folder = dump / "data" / keyspace / escaped(table)
    paths = sorted(folder.glob(f"part-*.{form}"))
    where = f"{table} ({form})"
    if sorted(times) != sorted(beside):
        problems.append(f"{where}: the server tells times of {sorted(times)}, the dump has those of {sorted(beside)}")
        return
    extra = [name for pair in beside.values() for name in pair]

    # The rows of the files by key; a key column that is an exception is known by its bytes.
    exceptions_column = "__wire"
    while exceptions_column in names:
        exceptions_column += "_"
    stored, total, exceptions, compared = {}, 0, 0, 0
    for part in read_parts(paths, form):
        natural_names, other_names = part.column_names[: len(names)], part.column_names[len(names) : -1]
        whole = sorted(natural_names) == sorted(names) and sorted(other_names) == sorted(extra)
        if part.column_names[-1] != exceptions_column or not whole:
            problems.append(f"{where}: columns {part.column_names}, expected {names}, {extra} and {exceptions_column}")
            return
        cells = [part.column(name).combine_chunks() for name in names]
        stamps = {name: [part.column(n).combine_chunks() for n in pair] for name, pair in beside.items()}
        wires = part.column(exceptions_column).to_pylist()
        for i in range(part.num_rows):
            wire = wire_of(wires[i], form)
            natural = {name: column[i] for name, column in zip(names, cells)}
            identity = tuple(("wire", wire[k]) if k in wire else ("value", key_of(types[k], natural[k], form)) for k in keys)
            if identity in stored:
                problems.append(f"{where}: two rows with the key {identity}")
            stored[identity] = (natural, wire, {name: (a[i], b[i]) for name, (a, b) in stamps.items()})
            total += 1
            exceptions += len(wire)

    for row in rows:
        raw = dict(zip(names, row))
        identity = tuple(find(types[k], raw[k], form) for k in keys)
        match = next((stored.pop(i) for i in candidates(identity) if i in stored), None)
        if match is None:
            problems.append(f"{where}: no row with the key {[(k, raw[k]) for k in keys]}")
            continue
        natural, wire, stamped = match
        for name, (written, expires) in stamped.items():
            told = times[name][tuple(raw[k] for k in keys)]
            check_times(where, name, told, written, expires, problems)
            compared += bool(told[0])
        for name in names:
            check(where, types[name], name, raw[name], natural[name], wire, form, problems)
    for identity in stored:
        problems.append(f"{where}: a row that the server does not have: {identity}")
    if form == "parquet" and paths:
        duck(dump, keyspace, table, names, len(rows), where, problems)
    print(f"{where}: {total} rows, {len(rows) * len(names)} cells, {exceptions} of them exceptions, {compared} with times")


def key_of(cls, scalar, form):
    """What a key column of a file is found by: the value, or for moments in CSV the text itself."""
    if not scalar.is_valid:
        return NULL
    if form == "parquet":
        return from_arrow(cls, scalar)
    if name_of(cls) in ("list", "set", "map", "tuple", "udt", "vector"):
        # The order of fields and the spelling of numbers are compared later; here a key only has to be told from others.
        return from_text(cls, scalar.as_py(), NULL)
    return from_text(cls, scalar.as_py(), NULL)


def find(cls, raw, form):
    try:
        value = from_wire(cls, raw)
    except Odd:
        return [("wire", raw)]
    if form == "csv":
        value = moments_as_text(cls, value)
    return [("wire", raw), ("value", value)]


def moments_as_text(cls, value):
    if value is NULL:
        return NULL
    cls = plain(cls)
    name = name_of(cls)
    forms = {"date": text_of_date, "timestamp": text_of_timestamp, "time": text_of_time}
    if name in forms:
        return forms[name](value)
    if name in ("list", "set", "vector"):
        inner = cls.subtype if name == "vector" else cls.subtypes[0]
        return tuple(moments_as_text(inner, item) for item in value)
    if name == "map":
        k, v = cls.subtypes
        return tuple((moments_as_text(k, a), moments_as_text(v, b)) for a, b in value)
    if name in ("tuple", "udt"):
        return tuple(moments_as_text(t, item) for t, item in zip(cls.subtypes, value))
    return value


def candidates(identity):
    if not identity:
        yield ()
        return
    for rest in candidates(identity[1:]):
        for first in identity[0]:
            yield (first, *rest)


def check(where, cls, name, raw, scalar, wire, form, problems):
    if name in wire:
        if wire[name] != raw:
            problems.append(f"{where}: {name}: exception {wire[name].hex()}, the server has {raw and raw.hex()}")
        return
    try:
        wanted = from_wire(cls, raw)
    except Odd as odd:
        problems.append(f"{where}: {name}: {raw.hex()} ({odd}) should be among the exceptions, is {scalar}")
        return
    try:
        if not scalar.is_valid:
            found = NULL
        elif form == "parquet":
            found = from_arrow(cls, scalar)
        else:
            found = from_text(cls, scalar.as_py(), wanted)
    except Exception as error:
        problems.append(f"{where}: {name} {cls.cql_parameterized_type()}: {scalar}: {type(error).__name__} {error}")
        return
    if found != wanted:
        problems.append(f"{where}: {name} {cls.cql_parameterized_type()}: the file has {found!r}, the server {wanted!r}")


def duck(dump, keyspace, table, names, expected, where, problems):
    """DuckDB reads the files with no help: the same number of rows, and every column can be decoded."""
    pattern = str(dump / "**" / escaped(table) / "part-*.parquet").replace("'", "''")
    # DuckDB's names ignore case, and it renames what then repeats; count by place.
    counts = ", ".join(f"count({quoted(n)})" for n in names if [m.lower() for m in names].count(n.lower()) == 1)
    (found,) = duckdb.sql(f"SELECT count(*) AS n, {counts} FROM '{pattern}'").fetchall()
    if found[0] != expected:
        problems.append(f"{where}: DuckDB counts {found[0]} rows, the server {expected}")


def main():
    global SHORT_IS_ODD
    host, port, keyspace, dump, form = sys.argv[1:]
    SHORT_IS_ODD = form == "parquet"
    profile = ExecutionProfile(row_factory=tuple_factory, request_timeout=60)
    cluster = Cluster([host], port=int(port), protocol_version=PROTOCOL, execution_profiles={EXEC_PROFILE_DEFAULT: profile})
    # Its metadata parser does not know every type of a test schema, and is not needed.
    cluster.schema_metadata_enabled = False
    problems = []
    session = cluster.connect()
    session.client_protocol_handler = RawHandler
    tables = session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,))
    for table in [name.decode() for (name,) in tables]:
        compare(session, keyspace, table, Path(dump), form, problems)
    cluster.shutdown()
    for problem in problems[:40]:
        print(problem, file=sys.stderr)
    if len(problems) > 40:
        print(f"… and {len(problems) - 40} more", file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
