//! Every schema in every format: filled on a real server, dumped, loaded under another name, compared as wire bytes.

use crate::harness::{Db, NEWEST, Node, Row, Scratch, TestKeyspace, hex, quoted};
use crate::script::Script;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

const FORMATS: [&str; 2] = ["parquet", "csv"];

#[test]
fn every_schema_comes_back_from_every_format() {
    let node = Node::get(NEWEST);
    let scripts = Mutex::new(Script::all().into_iter());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(script) = scripts.lock().unwrap().next() else {
                        return;
                    };
                    if script.suits(&node.version) {
                        failures.lock().unwrap().extend(round_trip(&node, &script));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// The dump of a dump's load is the same again: nothing that comes back differs on a second journey.
#[test]
fn a_loaded_keyspace_dumps_to_the_same_rows() {
    let source = filled("again", "nested");
    let scratch = Scratch::new();
    let (first, second) = (source.target("a"), source.target("b"));
    source.dump(&scratch.path("1"), "csv").success();
    source.load(&scratch.path("1"), &first, &[]).success();
    source.node.run(["dump", &first, "-o", &scratch.path("2"), "--format", "parquet"]).success();
    let map = format!("{first}={second}");
    source.node.run(["load", &scratch.path("2"), "--map", &map]).success();
    assert_same(&source.db, &source.name, &second);
}

/// A keyspace with what `schemas/NAME.cql` puts into it.
pub fn filled(keyspace: &str, schema: &str) -> TestKeyspace {
    let keyspace = TestKeyspace::new(keyspace);
    Script::named(schema).run(&keyspace.db, &keyspace.node.version).unwrap();
    keyspace
}

/// Fails with every difference between two keyspaces; answers the number of rows compared.
#[track_caller]
pub fn assert_same(db: &Db, source: &str, loaded: &str) -> usize {
    let mut differences = Vec::new();
    let rows = compare(db, source, loaded, &mut differences);
    assert!(differences.is_empty(), "{source} and {loaded} differ:\n{}", differences.join("\n"));
    rows
}

/// One file through all formats; answers what went wrong, one text per format.
fn round_trip(node: &Node, script: &Script) -> Vec<String> {
    let source = TestKeyspace::on(node.clone(), &format!("rt_{}", script.name));
    if let Err(error) = script.run(&source.db, &node.version) {
        return vec![error];
    }
    let mut failures = Vec::new();
    for format in FORMATS {
        let mut differences = Vec::new();
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target(format));
        let map = format!("{}={target}", source.name);
        let steps = [
            source.dump(&dir, format).done(),
            source.load(&dir, &target, &[]).done(),
            source.node.run(["verify", &dir, "--map", &map]).done(),
        ];
        match steps.iter().find(|done| done.code != Some(0)) {
            Some(failed) => differences.push(failed.told()),
            None => {
                let rows = compare(&source.db, &source.name, &target, &mut differences);
                println!("schemas/{}.cql through {format}: {rows} rows compared", script.name);
                if rows == 0 && script.name != "empty" {
                    differences.push("no row was compared".into());
                }
            }
        }
        if !differences.is_empty() {
            let name = &script.name;
            failures.push(format!("== schemas/{name}.cql, {format}\n{}", differences.join("\n")));
        }
    }
    failures
}

/// Schema and rows of two keyspaces; answers how many rows the first has.
pub fn compare(db: &Db, source: &str, loaded: &str, differences: &mut Vec<String>) -> usize {
    let columns = [source, loaded].map(|keyspace| columns(db, keyspace));
    for name in columns[0].keys().chain(columns[1].keys()) {
        let [before, after] = [columns[0].get(name), columns[1].get(name)];
        if before != after {
            differences.push(format!("table {name}: columns\n  {before:?}\n  {after:?}"));
        }
    }
    let [before, after] = [source, loaded].map(|keyspace| description(db, keyspace));
    for (before, after) in before.iter().zip(&after).filter(|(a, b)| a != b) {
        differences.push(format!("DESCRIBE:\n{before}\n-- became\n{after}"));
    }
    if before.len() != after.len() {
        differences.push(format!("{} objects became {}", before.len(), after.len()));
    }
    if !differences.is_empty() {
        return 0;
    }
    compare_tables([(db, source), (db, loaded)], &columns[0], differences)
}

/// Columns and rows of keyspaces of two servers, as far as both have the table; answers how many rows the first has.
pub fn compare_across(sides: [(&Db, &str); 2], differences: &mut Vec<String>) -> usize {
    let [mut before, after] = sides.map(|(db, keyspace)| columns(db, keyspace));
    before.retain(|name, _| after.contains_key(name));
    for (name, columns) in &before {
        if *columns != after[name] {
            differences.push(format!("table {name}: columns\n  {columns:?}\n  {:?}", after[name]));
        }
    }
    if differences.is_empty() { compare_tables(sides, &before, differences) } else { 0 }
}

fn compare_tables(
    sides: [(&Db, &str); 2],
    tables: &BTreeMap<String, Vec<Column>>,
    differences: &mut Vec<String>,
) -> usize {
    let (db, source) = sides[0];
    let views = db.names("view_name", "views", source);
    let tables = tables.iter().filter(|(name, _)| !views.contains(name));
    tables.map(|(name, columns)| compare_rows(sides, name, columns, differences)).sum()
}

/// What `system_schema.columns` says of a column, in the order of the key first.
#[derive(Debug, PartialEq)]
pub struct Column {
    pub name: String,
    kind: String,
    position: Option<Vec<u8>>,
    order: String,
    pub cql_type: String,
}

impl Column {
    /// Whether it is part of the primary key.
    pub fn is_key(&self) -> bool {
        matches!(self.kind.as_str(), "partition_key" | "clustering")
    }
}

/// The columns of every table and view, by name of the table.
pub fn columns(db: &Db, keyspace: &str) -> BTreeMap<String, Vec<Column>> {
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let query =
        "SELECT table_name, column_name, kind, position, clustering_order, type FROM system_schema.columns";
    for row in db.rows(&format!("{query} WHERE keyspace_name = '{keyspace}'")) {
        let text = |i: usize| String::from_utf8(row[i].clone().unwrap_or_default()).unwrap();
        tables.entry(text(0)).or_default().push(Column {
            name: text(1),
            kind: text(2),
            position: row[3].clone(),
            order: text(4),
            cql_type: text(5),
        });
    }
    for columns in tables.values_mut() {
        // partition_key before clustering, each in its order; the others by name.
        let rank = |c: &Column| match c.kind.as_str() {
            "partition_key" => 0,
            "clustering" => 1,
            _ => 2,
        };
        columns.sort_by_cached_key(|c| (rank(c), c.position.clone(), c.name.clone()));
    }
    tables
}

/// The statements of `DESCRIBE KEYSPACE`, without the keyspace's name.
fn description(db: &Db, keyspace: &str) -> Vec<String> {
    let rows = db.texts(&format!("DESCRIBE KEYSPACE {keyspace}"));
    rows.iter().map(|row| row.last().unwrap().replace(keyspace, "THE_KEYSPACE")).collect()
}

fn compare_rows(
    sides: [(&Db, &str); 2],
    table: &str,
    columns: &[Column],
    differences: &mut Vec<String>,
) -> usize {
    const SHOWN: usize = 20;
    let names: Vec<String> = columns.iter().map(|c| quoted(&c.name)).collect();
    let key_width = columns.iter().filter(|c| c.is_key()).count();
    let [before, after] = sides.map(|(db, keyspace)| {
        let select = format!("SELECT {} FROM {keyspace}.{}", names.join(", "), quoted(table));
        let rows = db.rows(&select);
        let count = rows.len();
        let by_key: BTreeMap<Row, Row> =
            rows.into_iter().map(|mut row| (row.drain(..key_width).collect(), row)).collect();
        assert_eq!(by_key.len(), count, "{select}: keys repeat");
        by_key
    });
    let mut found = Vec::new();
    for (key, row) in &before {
        match after.get(key) {
            None => found.push(format!("{} is missing", shown(&columns[..key_width], key))),
            Some(other) => found.extend(
                row.iter().zip(other).zip(&columns[key_width..]).filter(|((a, b), _)| a != b).map(
                    |((a, b), column)| {
                        let key = shown(&columns[..key_width], key);
                        let [a, b] = [a, b].map(|cell| hex(cell.as_deref()));
                        format!("{key} {} {}:\n    {a}\n    {b}", column.name, column.cql_type)
                    },
                ),
            ),
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        found.push(format!("{} came from nowhere", shown(&columns[..key_width], key)));
    }
    if !found.is_empty() {
        let mut text = format!("table {table}: {} differences in {} rows", found.len(), before.len());
        for difference in found.iter().take(SHOWN) {
            write!(text, "\n  {difference}").unwrap();
        }
        differences.push(text);
    }
    before.len()
}

fn shown(columns: &[Column], key: &Row) -> String {
    let cells = columns.iter().zip(key).map(|(c, k)| format!("{}={}", c.name, hex(k.as_deref())));
    cells.collect::<Vec<_>>().join(" ")
}

/// The judge itself: it must see one changed byte, a missing row and another type.
#[test]
fn the_comparison_sees_differences() {
    let table = "(a int, b int, v text, PRIMARY KEY (a, b))";
    for (other, fill, expected) in [
        (table, "INSERT INTO {} (a, b, v) VALUES (1, 1, 'y')", "v text:\n    0x78\n    0x79"),
        (table, "INSERT INTO {} (a, b, v) VALUES (2, 1, 'x')", "came from nowhere"),
        ("(a int, b int, v ascii, PRIMARY KEY (a, b))", "", "table t: columns"),
        ("(a int, b int, v text, PRIMARY KEY (a, b)) WITH comment = 'c'", "", "DESCRIBE"),
    ] {
        let source = TestKeyspace::with(
            "judge",
            &[&format!("CREATE TABLE t {table}"), "INSERT INTO t (a, b, v) VALUES (1, 1, 'x')"],
        );
        let target = source.target("other");
        let replication = crate::harness::SIMPLE;
        source.db.execute(&format!("CREATE KEYSPACE {target} WITH replication = {replication}"));
        source.db.execute(&format!("CREATE TABLE {target}.t {other}"));
        source.db.execute(&format!("INSERT INTO {target}.t (a, b, v) VALUES (1, 1, 'x')"));
        if !fill.is_empty() {
            source.db.execute(&fill.replace("{}", &format!("{target}.t")));
        }
        let mut differences = Vec::new();
        compare(&source.db, &source.name, &target, &mut differences);
        assert!(differences.join("\n").contains(expected), "{differences:?}");
    }
}
