//! `verify DIR -h HOST`: each single change of what was loaded is found, told by table, range, key and column, and no other
//! with it. The changed rows stand in tables of their own, so that times can be any.

use crate::findings::{Findings, Key, differs, passes};
use crate::harness::{Db, Done, Scratch, TestKeyspace, parts};
use std::time::{SystemTime, UNIX_EPOCH};

/// The columns of the table.
pub const TABLE: &str = "(k int, c int, s text static, v text, n int, l list<int>, m map<text, int>, e set<text>, u pair, \
                     PRIMARY KEY (k, c))";
/// The type of one of them.
pub const TYPE: &str = "CREATE TYPE pair (a int, b text)";

/// What the table holds; `{t}` is its name, `{ttl}` the seconds to a moment far away, `{later}` a minute more.
const ROWS: &[&str] = &[
    "INSERT INTO {t} (k, c, v, n) VALUES (1, 1, 'one', 1) USING TIMESTAMP 1000",
    "UPDATE {t} USING TIMESTAMP 2000 AND TTL {ttl} SET v = 'ends' WHERE k = 1 AND c = 2",
    "UPDATE {t} USING TIMESTAMP 1000 SET n = 2 WHERE k = 1 AND c = 2",
    "UPDATE {t} USING TIMESTAMP 1000 SET s = 'shared' WHERE k = 1",
    "UPDATE {t} USING TIMESTAMP 1000 SET s = 'alone' WHERE k = 2",
    "INSERT INTO {t} (k, c) VALUES (3, 1) USING TIMESTAMP 1000",
    "UPDATE {t} USING TIMESTAMP 1000 SET l = [1, 2] WHERE k = 4 AND c = 1",
    "UPDATE {t} USING TIMESTAMP 1000 SET m = m + {'a': 1} WHERE k = 5 AND c = 1",
    "UPDATE {t} USING TIMESTAMP 2000 AND TTL {ttl} SET m = m + {'b': 2} WHERE k = 5 AND c = 1",
    "UPDATE {t} USING TIMESTAMP 1000 SET e = e + {'a'} WHERE k = 6 AND c = 1",
    "UPDATE {t} USING TIMESTAMP 2000 AND TTL {ttl} SET e = e + {'b'} WHERE k = 6 AND c = 1",
    "UPDATE {t} USING TIMESTAMP 1000 SET u.a = 1 WHERE k = 7 AND c = 1",
    "UPDATE {t} USING TIMESTAMP 2000 AND TTL {ttl} SET u.b = 'b' WHERE k = 7 AND c = 1",
    "INSERT INTO {t} (k, c, v) VALUES (8, 1, '') USING TIMESTAMP 1000",
];

/// What a cluster holds instead of `ROWS`. A statement is named by something that no other has.
pub enum Change {
    Drop(&'static str),
    Twice(&'static str),
    Edit(&'static str, &'static str),
    Add(&'static str),
}

impl Change {
    /// These rows with the change made.
    pub fn apply(&self, mut rows: Vec<String>) -> Vec<String> {
        let place = |part: &str| {
            let mut places = (0..rows.len()).filter(|i| rows[*i].contains(part));
            let (place, other) = (places.next(), places.next());
            assert!(other.is_none(), "{part:?} names more than one row");
            place.unwrap_or_else(|| panic!("{part:?} names no row"))
        };
        match self {
            Change::Drop(part) => drop(rows.remove(place(part))),
            Change::Twice(part) => rows.push(rows[place(part)].clone()),
            Change::Edit(from, to) => {
                let place = place(from);
                rows[place] = rows[place].replace(from, to);
            }
            Change::Add(row) => rows.push((*row).to_owned()),
        }
        rows
    }
}

/// A change with the one difference that it makes: key, column, kind, and the two sides if they are certain.
struct Case {
    what: &'static str,
    change: Change,
    key: Key,
    column: Option<&'static str>,
    kind: &'static str,
    sides: Option<[Option<&'static str>; 2]>,
}

/// Seconds from now to a moment that is the same for all who ask with the same start.
fn seconds_to(start: SystemTime, distance: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    start.duration_since(UNIX_EPOCH).unwrap().as_secs() + distance - now
}

/// Makes a table and runs statements like those of `ROWS`.
pub fn make(db: &Db, table: &str, rows: &[String], start: SystemTime) {
    const FAR: u64 = 1_000_000;
    db.execute(&format!("CREATE TABLE {table} {TABLE}"));
    for row in rows {
        let ttl = seconds_to(start, FAR);
        let row = row.replace("{t}", table).replace("{ttl}", &ttl.to_string());
        db.execute(&row.replace("{later}", &(ttl + 60).to_string()));
    }
}

/// `ROWS`.
pub fn rows() -> Vec<String> {
    ROWS.iter().map(|row| (*row).to_owned()).collect()
}

/// The same, and nothing ends: then sums alone have to tell that something differs.
fn steady_rows() -> Vec<String> {
    rows().iter().map(|row| row.replace(" AND TTL {ttl}", "")).collect()
}

/// A dump of table `t` in each format, and the map that compares it with table `m`.
pub struct Dumped {
    pub source: TestKeyspace,
    rows: Vec<String>,
    _scratch: Scratch,
    pub dirs: [String; 2],
    pub start: SystemTime,
}

impl Dumped {
    /// The table of `ROWS`, dumped.
    pub fn new(name: &str) -> Dumped {
        Dumped::of(name, rows())
    }

    fn of(name: &str, rows: Vec<String>) -> Dumped {
        let (source, start, scratch) = (TestKeyspace::with(name, &[TYPE]), SystemTime::now(), Scratch::new());
        make(&source.db, "t", &rows, start);
        let dirs = ["parquet", "csv"].map(|format| scratch.path(format));
        for (dir, format) in dirs.iter().zip(["parquet", "csv"]) {
            source.node.run(["dump", &source.table("t"), "-o", dir, "--format", format]).success();
        }
        Dumped { source, rows, _scratch: scratch, dirs, start }
    }

    /// The argument that compares with another table.
    pub fn map(&self, table: &str) -> String {
        format!("{}={}", self.source.table("t"), self.source.table(table))
    }

    /// The token of a partition, by the server.
    fn token(&self, tables: [&str; 2], key: &str) -> i64 {
        let rows = tables.into_iter().flat_map(|table| {
            self.source.db.rows(&format!("SELECT token(k) FROM {table} WHERE k = {key} LIMIT 1"))
        });
        let token = rows.into_iter().next().and_then(|row| row[0].clone()).expect("no table has the key");
        i64::from_be_bytes(token.try_into().unwrap())
    }

    /// Each change, in a table of its own, is that one difference and no other.
    fn finds(&self, cases: &[Case]) {
        let mut wrong = Vec::new();
        for (i, case) in cases.iter().enumerate() {
            let table = format!("m{i}");
            make(&self.source.db, &table, &case.change.apply(self.rows.clone()), self.start);
            let args = ["verify", &self.dirs[i % 2], "--map", &self.map(&table), "--json"];
            let done = self.source.node.run(args).done();
            if let Some(reason) = self.judge(case, &done, &table) {
                wrong.push(format!("{}: {reason}\n{}", case.what, done.told()));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
    }

    /// What is not as the case has it.
    fn judge(&self, case: &Case, done: &Done, table: &str) -> Option<String> {
        if done.code != Some(4) {
            return Some("not found".into());
        }
        let findings = match serde_json::from_str::<Findings>(&done.stdout) {
            Ok(findings) => findings,
            Err(error) => return Some(format!("not the JSON expected: {error}")),
        };
        let [found] = &findings.differences[..] else {
            return Some("not one difference".into());
        };
        let partition = case.key.iter().find(|(name, _)| *name == "k").unwrap().1;
        let token = self.token(["t", table], partition);
        let sides = [&found.dump, &found.cluster];
        let as_expected = |expected: [Option<&str>; 2]| sides.map(|s| s.as_deref()) == expected;
        let facts = [
            ("table", found.table == self.source.table("t")),
            ("key", found.has_key(case.key)),
            ("column", found.column.as_deref() == case.column),
            ("kind", found.kind == case.kind),
            ("range", found.is_around(token)),
            ("dump or cluster", case.sides.is_none_or(as_expected)),
        ];
        facts.into_iter().find(|(_, holds)| !holds).map(|(fact, _)| format!("another {fact}"))
    }
}

fn row(what: &'static str, change: Change, key: Key, kind: &'static str) -> Case {
    Case { what, change, key, column: None, kind, sides: None }
}

fn cell(what: &'static str, change: Change, key: Key, column: &'static str, kind: &'static str) -> Case {
    Case { what, change, key, column: Some(column), kind, sides: None }
}

impl Case {
    fn sides(self, dump: Option<&'static str>, cluster: Option<&'static str>) -> Case {
        Case { sides: Some([dump, cluster]), ..self }
    }
}

#[test]
fn the_same_rows_pass() {
    let dumped = Dumped::new("same_rows");
    for (table, change) in [
        ("same", Change::Add("UPDATE {t} USING TIMESTAMP 1000 SET n = 2 WHERE k = 1 AND c = 2")),
        // The write times of a list are its own business.
        ("list", Change::Edit("1000 SET l", "3000 SET l")),
    ] {
        make(&dumped.source.db, table, &change.apply(rows()), dumped.start);
        for dir in &dumped.dirs {
            let findings = passes(&dumped.source.node, dir, &["--map", &dumped.map(table)]);
            let files = ["parquet", "csv"].map(|format| parts(dir, &dumped.source.name, "t", format).len());
            assert_eq!(findings.parts, files.iter().sum::<usize>() as u64, "{findings:?}");
            assert_eq!((findings.tables, findings.rows), (1, 9), "{findings:?}");
        }
    }
}

#[test]
fn each_change_of_a_row_is_found() {
    use Change::{Add, Drop, Edit};
    const MISSING: &str = "missing row";
    const EXTRA: &str = "extra row";
    let first: Key = &[("c", "1"), ("k", "1")];
    Dumped::new("row_changes").finds(&[
        row("a lost row", Drop("'one'"), first, MISSING),
        row("a lost row of nothing but its key", Drop("(3, 1)"), &[("c", "1"), ("k", "3")], MISSING),
        row(
            "an extra row",
            Add("INSERT INTO {t} (k, c, v) VALUES (9, 9, 'x')"),
            &[("c", "9"), ("k", "9")],
            EXTRA,
        ),
        row(
            "an extra row of nothing but its key",
            Add("INSERT INTO {t} (k, c) VALUES (1, 7)"),
            &[("c", "7"), ("k", "1")],
            EXTRA,
        ),
        cell("one byte", Edit("'one'", "'onf'"), first, "v", "value").sides(Some("one"), Some("onf")),
        cell(
            "an empty text for null",
            Add("UPDATE {t} USING TIMESTAMP 1000 SET v = '' WHERE k = 3 AND c = 1"),
            &[("c", "1"), ("k", "3")],
            "v",
            "value",
        )
        .sides(None, Some("")),
        cell(
            "null for an empty text",
            Edit("(k, c, v) VALUES (8, 1, '')", "(k, c) VALUES (8, 1)"),
            &[("c", "1"), ("k", "8")],
            "v",
            "value",
        )
        .sides(Some(""), None),
        cell("a doubled list", Change::Twice("SET l"), &[("c", "1"), ("k", "4")], "l", "value")
            .sides(Some("[1,2]"), Some("[1,2,1,2]")),
        cell("a list in another order", Edit("[1, 2]", "[2, 1]"), &[("c", "1"), ("k", "4")], "l", "value"),
    ]);
}

#[test]
fn each_change_of_a_static_cell_is_found() {
    use Change::{Add, Drop, Edit};
    let shared: Key = &[("k", "1")];
    Dumped::new("static_changes").finds(&[
        cell("another static", Edit("'shared'", "'sharee'"), shared, "s", "value")
            .sides(Some("shared"), Some("sharee")),
        cell("a lost static", Drop("'shared'"), shared, "s", "value").sides(Some("shared"), None),
        cell(
            "a static of another time",
            Edit("1000 SET s = 'shared'", "1001 SET s = 'shared'"),
            shared,
            "s",
            "write time",
        ),
        cell(
            "a static that ends",
            Edit("1000 SET s = 'shared'", "1000 AND TTL {ttl} SET s = 'shared'"),
            shared,
            "s",
            "expiry",
        ),
        cell("an extra static", Add("UPDATE {t} SET s = 'x' WHERE k = 3"), &[("k", "3")], "s", "value"),
        cell("a lost partition of nothing but statics", Drop("'alone'"), &[("k", "2")], "s", "value")
            .sides(Some("alone"), None),
        cell(
            "an extra partition of nothing but statics",
            Add("UPDATE {t} SET s = 'x' WHERE k = 9"),
            &[("k", "9")],
            "s",
            "value",
        )
        .sides(None, Some("x")),
        cell("another static, alone", Edit("'alone'", "'alonf'"), &[("k", "2")], "s", "value"),
    ]);
}

#[test]
fn each_change_of_a_time_is_found() {
    use Change::Edit;
    let second: Key = &[("c", "2"), ("k", "1")];
    Dumped::new("time_changes").finds(&[
        cell("a microsecond later", Edit("1000 SET n = 2", "1001 SET n = 2"), second, "n", "write time")
            .sides(Some("1000"), Some("1001")),
        cell("a lost expiry", Edit(" AND TTL {ttl} SET v", " SET v"), second, "v", "expiry"),
        cell("a new expiry", Edit("1000 SET n = 2", "1000 AND TTL {ttl} SET n = 2"), second, "n", "expiry"),
        cell("an expiry a minute later", Edit("{ttl} SET v", "{later} SET v"), second, "v", "expiry"),
    ]);
}

#[test]
fn each_change_of_an_element_is_found() {
    use Change::{Drop, Edit};
    let [map, set, udt]: [Key; 3] =
        [&[("c", "1"), ("k", "5")], &[("c", "1"), ("k", "6")], &[("c", "1"), ("k", "7")]];
    Dumped::new("element_changes").finds(&[
        cell("a lost entry", Drop("{'b': 2}"), map, "m", "value")
            .sides(Some(r#"{"a":1,"b":2}"#), Some(r#"{"a":1}"#)),
        cell("another entry", Edit("{'b': 2}", "{'b': 3}"), map, "m", "value"),
        cell(
            "an entry of another time",
            Edit("2000 AND TTL {ttl} SET m", "2001 AND TTL {ttl} SET m"),
            map,
            "m",
            "write time",
        ),
        cell("an entry that no longer ends", Edit(" AND TTL {ttl} SET m", " SET m"), map, "m", "expiry"),
        cell("an entry that ends later", Edit("{ttl} SET m", "{later} SET m"), map, "m", "expiry"),
        cell("a lost element", Drop("{'b'}"), set, "e", "value"),
        cell(
            "an element of another time",
            Edit("2000 AND TTL {ttl} SET e", "2001 AND TTL {ttl} SET e"),
            set,
            "e",
            "write time",
        ),
        cell("an element that no longer ends", Edit(" AND TTL {ttl} SET e", " SET e"), set, "e", "expiry"),
        cell("a lost field", Drop("u.a"), udt, "u", "value"),
        cell("another field", Edit("u.b = 'b'", "u.b = 'c'"), udt, "u", "value"),
        cell("a field of another time", Edit("1000 SET u.a", "1001 SET u.a"), udt, "u", "write time"),
        cell("a field that no longer ends", Edit(" AND TTL {ttl} SET u.b", " SET u.b"), udt, "u", "expiry"),
    ]);
}

#[test]
fn each_change_of_what_does_not_end_is_found() {
    use Change::{Add, Drop, Edit};
    let key = |k: &'static str| -> Key {
        match k {
            "2" => &[("c", "2"), ("k", "1")],
            "5" => &[("c", "1"), ("k", "5")],
            "6" => &[("c", "1"), ("k", "6")],
            _ => &[("c", "1"), ("k", "7")],
        }
    };
    Dumped::of("steady_changes", steady_rows()).finds(&[
        row("a lost row", Drop("'one'"), &[("c", "1"), ("k", "1")], "missing row"),
        row("a lost row of nothing but its key", Drop("(3, 1)"), &[("c", "1"), ("k", "3")], "missing row"),
        row(
            "an extra row",
            Add("INSERT INTO {t} (k, c) VALUES (9, 9)"),
            &[("c", "9"), ("k", "9")],
            "extra row",
        ),
        cell("one byte", Edit("'ends'", "'endt'"), key("2"), "v", "value"),
        cell("a microsecond", Edit("1000 SET n = 2", "1001 SET n = 2"), key("2"), "n", "write time"),
        cell("an expiry", Edit("1000 SET n = 2", "1000 AND TTL {ttl} SET n = 2"), key("2"), "n", "expiry"),
        cell(
            "a static's time",
            Edit("1000 SET s = 'alone'", "999 SET s = 'alone'"),
            &[("k", "2")],
            "s",
            "write time",
        ),
        cell(
            "a static's expiry",
            Edit("1000 SET s = 'alone'", "1000 AND TTL {ttl} SET s = 'alone'"),
            &[("k", "2")],
            "s",
            "expiry",
        ),
        cell("an entry's time", Edit("2000 SET m", "2001 SET m"), key("5"), "m", "write time"),
        cell("an entry's expiry", Edit("2000 SET m", "2000 AND TTL {ttl} SET m"), key("5"), "m", "expiry"),
        cell("an element's time", Edit("1000 SET e", "2000 SET e"), key("6"), "e", "write time"),
        cell("an element's expiry", Edit("1000 SET e", "1000 AND TTL {ttl} SET e"), key("6"), "e", "expiry"),
        cell("a field's time", Edit("2000 SET u.b", "1999 SET u.b"), key("7"), "u", "write time"),
        cell("a field's expiry", Edit("2000 SET u.b", "2000 AND TTL {ttl} SET u.b"), key("7"), "u", "expiry"),
        cell(
            "a list's expiry",
            Edit("1000 SET l", "1000 AND TTL {ttl} SET l"),
            &[("c", "1"), ("k", "4")],
            "l",
            "expiry",
        ),
        cell("a doubled list", Change::Twice("SET l"), &[("c", "1"), ("k", "4")], "l", "value"),
    ]);
}

/// Table, what stands for what in it, the differences that this makes.
type Exchange = (&'static str, &'static [[&'static str; 2]], &'static [&'static str]);

/// Sums do not depend on order, but on what belongs together.
#[test]
fn what_is_exchanged_is_found() {
    const CREATE: &str = "(k int, c int, s int static, a int, b int, PRIMARY KEY (k, c))";
    const FILL: [&str; 6] = [
        "UPDATE {t} USING TIMESTAMP 10 SET s = 5 WHERE k = 1",
        "UPDATE {t} USING TIMESTAMP 20 SET s = 6 WHERE k = 2",
        "UPDATE {t} USING TIMESTAMP 30 SET a = 1 WHERE k = 1 AND c = 1",
        "UPDATE {t} USING TIMESTAMP 40 SET b = 2 WHERE k = 1 AND c = 1",
        "UPDATE {t} USING TIMESTAMP 40 SET a = 2 WHERE k = 1 AND c = 2",
        "UPDATE {t} USING TIMESTAMP 30 SET b = 1 WHERE k = 1 AND c = 2",
    ];
    let source = TestKeyspace::new("exchanged");
    let fill = |table: &str, pairs: &[[&str; 2]]| {
        source.db.execute(&format!("CREATE TABLE {table} {CREATE}"));
        for row in FILL {
            let change = pairs.iter().find(|[from, _]| row.contains(from));
            let row = change.map_or(row.to_owned(), |[from, to]| row.replace(from, to));
            source.db.execute(&row.replace("{t}", table));
        }
    };
    fill("t", &[]);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), "-o", &dir]).success();
    let cases: [Exchange; 5] = [
        ("two_columns", &[["a = 1", "a = 2"], ["b = 2", "b = 1"]], &["value 1,1 a", "value 1,1 b"]),
        ("two_rows", &[["a = 1", "a = 2"], ["a = 2", "a = 1"]], &["value 1,1 a", "value 2,1 a"]),
        (
            "times_of_columns",
            &[["30 SET a", "40 SET a"], ["40 SET b", "30 SET b"]],
            &["write time 1,1 a", "write time 1,1 b"],
        ),
        (
            "times_of_rows",
            &[["30 SET a", "40 SET a"], ["40 SET a", "30 SET a"]],
            &["write time 1,1 a", "write time 2,1 a"],
        ),
        (
            "statics",
            &[["10 SET s = 5", "10 SET s = 6"], ["20 SET s = 6", "20 SET s = 5"]],
            &["value 1 s", "value 2 s"],
        ),
    ];
    for (table, pairs, expected) in cases {
        fill(table, pairs);
        let map = format!("{}={}", source.table("t"), source.table(table));
        assert_eq!(differs(&source.node, &dir, &["--map", &map]).brief(), expected, "{table}");
    }
}

/// What becomes of a statement.
type Rewrite<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn each_change_of_a_counter_is_found() {
    let counters = "(k int, c int, s counter static, v counter, PRIMARY KEY (k, c))";
    let rows = [
        "SET v = v + 5 WHERE k = 1 AND c = 1",
        "SET v = v + 0 WHERE k = 1 AND c = 2",
        "SET s = s + 3 WHERE k = 1",
    ];
    let source = TestKeyspace::new("counter_changes");
    let fill = |table: &str, change: Rewrite<'_>| {
        source.db.execute(&format!("CREATE TABLE {table} {counters}"));
        rows.iter().map(|row| change(row)).filter(|row| !row.is_empty()).for_each(|row| {
            source.db.execute(&format!("UPDATE {table} {row}"));
        });
    };
    fill("t", &str::to_owned);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), "-o", &dir]).success();
    let changes: [(&str, Rewrite<'_>, &[&str]); 5] = [
        ("same", &str::to_owned, &[]),
        ("more", &|row| row.replace("+ 5", "+ 6"), &["value 1,1 v"]),
        (
            "lost",
            &|row| if row.contains("+ 0") { String::new() } else { row.to_owned() },
            &["missing row 2,1 -"],
        ),
        ("doubled", &|row| row.replace("+ 3", "+ 6"), &["value 1 s"]),
        ("zero", &|row| row.replace("+ 5", "+ 0"), &["value 1,1 v"]),
    ];
    for (table, change, expected) in changes {
        fill(table, change);
        let map = format!("{}={}", source.table("t"), source.table(table));
        match expected {
            [] => assert_eq!(passes(&source.node, &dir, &["--map", &map]).rows, 2),
            _ => assert_eq!(differs(&source.node, &dir, &["--map", &map]).brief(), expected, "{table}"),
        }
    }
}

#[test]
fn bytes_decide_not_what_they_mean() {
    let create = "(k int PRIMARY KEY, d decimal, f double, t frozen<tuple<int, int>>)";
    let source = TestKeyspace::new("by_bytes");
    let tables = [("t", "1.0, 0.0, (1, null)"), ("same", "1.0, 0.0, (1, null)"), ("m", "1.00, -0.0, (1, 0)")];
    for (table, values) in tables {
        source.db.execute(&format!("CREATE TABLE {table} {create}"));
        source
            .db
            .execute(&format!("INSERT INTO {table} (k, d, f, t) VALUES (1, {values}) USING TIMESTAMP 5"));
    }
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.node.run(["dump", &source.table("t"), "-o", &dir, "--format", "csv"]).success();
    let map = |table| format!("{}={}", source.table("t"), source.table(table));
    passes(&source.node, &dir, &["--map", &map("same")]);
    let found = differs(&source.node, &dir, &["--map", &map("m")]);
    assert_eq!(found.brief(), ["value 1 d", "value 1 f", "value 1 t"]);
}

#[test]
fn changes_change() {
    for change in
        [Change::Drop("'one'"), Change::Twice("SET l"), Change::Edit("'one'", "'onf'"), Change::Add("x")]
    {
        assert_ne!(change.apply(rows()), rows());
    }
}
