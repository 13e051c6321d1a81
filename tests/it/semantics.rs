//! What the rules of loading lean on, measured on every server of this run: what UNSET spares beside a write of a single
//! field or element, which of two writes wins, which list doubles.

use crate::harness::RawCell::{self, Null, Unset, Value};
use crate::harness::{NEWEST, Node, RawRow, TestKeyspace};
use crate::times::numbers;

/// Runs `check` in a keyspace with a table `t` on each server that is a plain one of its version.
fn everywhere(name: &str, statements: &[&str], check: impl Fn(&TestKeyspace)) {
    let plain = |node: &Node| ["3.11", "4.0", "4.1", NEWEST].contains(&node.version.as_str());
    let nodes: Vec<Node> = Node::all().into_iter().filter(plain).collect();
    assert!(!nodes.is_empty(), "this test needs servers: run `scripts/test`, or set CQLIFT_NODES");
    for node in nodes {
        println!("Cassandra {}", node.version);
        check(&TestKeyspace::with_on(node, name, statements));
    }
}

const UDT: &[&str] =
    &["CREATE TYPE pair (a text, b text)", "CREATE TABLE t (k int PRIMARY KEY, v text, u pair)"];
const COLLECTIONS: &[&str] =
    &["CREATE TABLE t (k int PRIMARY KEY, v text, l list<int>, s set<int>, m map<int, text>)"];

fn int(n: i32) -> RawCell {
    Value(n.to_be_bytes().to_vec())
}

fn text(text: &str) -> RawCell {
    Value(text.into())
}

/// Each with its length before it: the fields of a user type, or what follows the count of a collection.
fn counted(cells: &[RawCell]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in cells {
        match cell {
            Value(value) => {
                bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                bytes.extend(value);
            }
            Null | Unset => bytes.extend((-1i32).to_be_bytes()),
        }
    }
    bytes
}

fn udt(fields: &[RawCell]) -> RawCell {
    Value(counted(fields))
}

/// A list, a set or a map of `count` elements.
fn collection(count: i32, cells: &[RawCell]) -> RawCell {
    Value([&count.to_be_bytes()[..], &counted(cells)].concat())
}

/// One batch for row `k`: the row @2000 with `u` bound to the user type as a whole, `u.a` @1000, `u.b` @3000 for 5000 s.
fn write_fields(ks: &TestKeyspace, k: i32, u: RawCell, backwards: bool) {
    let mut statements = vec![
        (
            "INSERT INTO t (k, v, u) VALUES (?, ?, ?) USING TIMESTAMP 2000",
            RawRow(vec![int(k), text("row"), u]),
        ),
        ("UPDATE t USING TIMESTAMP 1000 SET u.a = ? WHERE k = ?", RawRow(vec![text("a1000"), int(k)])),
        (
            "UPDATE t USING TIMESTAMP 3000 AND TTL 5000 SET u.b = ? WHERE k = ?",
            RawRow(vec![text("b3000"), int(k)]),
        ),
    ];
    if backwards {
        statements.reverse();
    }
    ks.db.try_batch(&statements).unwrap();
}

/// `u.a` and `u.b` of row `k`.
fn fields(ks: &TestKeyspace, k: i32) -> Vec<String> {
    ks.db.texts(&format!("SELECT u.a, u.b FROM t WHERE k = {k}")).concat()
}

#[test]
fn fields_beside_an_unset_user_type_keep_their_own_times() {
    everywhere("sem_fields", UDT, |ks| {
        for (k, backwards) in [(1, false), (2, true)] {
            write_fields(ks, k, Unset, backwards);
            assert_eq!(fields(ks, k), ["a1000", "b3000"]);
            if ks.node.version == NEWEST {
                let times = ks.db.rows(&format!("SELECT writetime(u), ttl(u) FROM t WHERE k = {k}"));
                assert_eq!(numbers(times[0][0].as_deref()), [Some(1000), Some(3000)]);
                let ttl = numbers(times[0][1].as_deref());
                assert!(matches!(ttl[..], [None, Some(4000..=5000)]), "{ttl:?}");
            }
            // Later writes win or lose by their times, which proves the times where they cannot be asked for.
            for (set, time, expected) in [
                ("u.a = 'early'", 999, ["a1000", "b3000"]),
                ("u.a = 'later'", 1001, ["later", "b3000"]),
                ("u.b = 'early'", 2999, ["later", "b3000"]),
                ("u.b = 'later'", 3001, ["later", "later"]),
            ] {
                ks.db.execute(&format!("UPDATE t USING TIMESTAMP {time} SET {set} WHERE k = {k}"));
                assert_eq!(fields(ks, k), expected, "{set} @{time}");
            }
        }
    });
}

/// Why a user type whose fields differ in time must not be bound as a whole, not even as null.
#[test]
fn fields_older_than_the_whole_user_type_are_lost() {
    everywhere("sem_whole", UDT, |ks| {
        for (k, whole) in [(1, Null), (3, udt(&[Null, text("b2000")]))] {
            for (k, backwards) in [(k, false), (k + 1, true)] {
                write_fields(ks, k, whole.clone(), backwards);
                assert_eq!(fields(ks, k), ["", "b3000"], "{whole:?}");
            }
        }
    });
}

#[test]
fn an_unset_field_changes_nothing() {
    everywhere("sem_unset", UDT, |ks| {
        let unset = "UPDATE t USING TIMESTAMP 4000 SET u.a = ?, u.b = ? WHERE k = ?";
        ks.db.try_bind(unset, &RawRow(vec![Unset, Unset, int(1)])).unwrap();
        assert!(ks.db.rows("SELECT k FROM t").is_empty(), "a row came from nothing");
        ks.db.execute("UPDATE t USING TIMESTAMP 1000 SET u.a = 'a', u.b = 'b' WHERE k = 1");
        ks.db.try_bind(unset, &RawRow(vec![Unset, text("new"), int(1)])).unwrap();
        assert_eq!(fields(ks, 1), ["a", "new"]);
        ks.db.execute("UPDATE t USING TIMESTAMP 1001 SET u.a = 'later' WHERE k = 1");
        assert_eq!(fields(ks, 1), ["later", "new"]);
    });
}

#[test]
fn elements_beside_an_unset_collection_keep_their_own_times() {
    everywhere("sem_elements", COLLECTIONS, |ks| {
        let add = |time: &str, n: i32| {
            let cql = format!("UPDATE t USING {time} SET s = s + ?, m = m + ? WHERE k = ?");
            let row = vec![collection(1, &[int(n)]), collection(1, &[int(n), text("x")]), int(1)];
            (cql, RawRow(row))
        };
        let [old, new] = [add("TIMESTAMP 1000", 1), add("TIMESTAMP 3000 AND TTL 5000", 2)];
        let insert = "INSERT INTO t (k, v, s, m) VALUES (?, ?, ?, ?) USING TIMESTAMP 2000";
        let row = RawRow(vec![int(1), text("row"), Unset, Unset]);
        ks.db.try_batch(&[(insert, row), (&old.0, old.1), (&new.0, new.1)]).unwrap();
        if ks.node.version == NEWEST {
            let times = ks.db.rows("SELECT writetime(s), writetime(m), ttl(s), ttl(m) FROM t");
            for i in [0, 1] {
                assert_eq!(numbers(times[0][i].as_deref()), [Some(1000), Some(3000)]);
                let ttl = numbers(times[0][i + 2].as_deref());
                assert!(matches!(ttl[..], [None, Some(4000..=5000)]), "{ttl:?}");
            }
        }
        let json = |expected: &str| assert_eq!(ks.db.texts("SELECT JSON s, m FROM t").concat(), [expected]);
        let both = r#"{"s": [1, 2], "m": {"1": "x", "2": "x"}}"#;
        json(both);
        ks.db.execute("UPDATE t USING TIMESTAMP 999 SET s = s - {1}, m = m - {1} WHERE k = 1");
        ks.db.execute("UPDATE t USING TIMESTAMP 2999 SET s = s - {2}, m = m - {2} WHERE k = 1");
        json(both);
        ks.db.execute("UPDATE t USING TIMESTAMP 1001 SET s = s - {1}, m = m - {1} WHERE k = 1");
        json(r#"{"s": [2], "m": {"2": "x"}}"#);
        ks.db.execute("UPDATE t USING TIMESTAMP 3001 SET s = s - {2}, m = m - {2} WHERE k = 1");
        json(r#"{"s": null, "m": null}"#);
    });
}

/// A list refuses it as if the server were broken; sets and maps take it and change nothing.
#[test]
fn unset_after_a_plus_is_refused_for_lists() {
    everywhere("sem_plus", COLLECTIONS, |ks| {
        let json = || ks.db.texts("SELECT JSON * FROM t").concat();
        ks.db.execute("UPDATE t SET l = [1], s = {1}, m = {1: 'x'} WHERE k = 1");
        let before = json();
        for (column, k) in [("l", 1), ("s", 1), ("m", 1), ("l", 2), ("s", 2), ("m", 2)] {
            let cql = format!("UPDATE t SET {column} = {column} + ? WHERE k = ?");
            let row = || RawRow(vec![Unset, int(k)]);
            for done in [ks.db.try_bind(&cql, &row()), ks.db.try_batch(&[(&cql, row())])] {
                match done {
                    Ok(()) => assert_ne!(column, "l"),
                    Err(error) => {
                        assert!(column == "l" && error.contains("ClassCastException"), "{column}: {error}");
                    }
                }
            }
            assert_eq!(json(), before, "{column} of row {k}");
        }
    });
}

#[test]
fn a_list_doubles_if_it_is_sent_again_at_its_time() {
    everywhere("sem_lists", COLLECTIONS, |ks| {
        for (k, times, expected) in [
            (1, &[100][..], "[1, 2]"),
            (2, &[100, 100], "[1, 2, 1, 2]"),
            (3, &[100, 101], "[1, 2]"),
            (4, &[100, 99], "[1, 2]"),
            (5, &[100, 100, 101], "[1, 2]"),
            (6, &[100, 101, 101], "[1, 2, 1, 2]"),
        ] {
            for time in times {
                let row = RawRow(vec![collection(2, &[int(1), int(2)]), int(k)]);
                let cql = format!("UPDATE t USING TIMESTAMP {time} SET l = ? WHERE k = ?");
                ks.db.try_bind(&cql, &row).unwrap();
            }
            let found = ks.db.texts(&format!("SELECT JSON l FROM t WHERE k = {k}")).concat();
            assert_eq!(found, [format!("{{\"l\": {expected}}}")], "at {times:?}");
        }
    });
}

/// Sets and maps, which may be sent again, also element by element.
#[test]
fn sets_and_maps_do_not_double() {
    everywhere("sem_sets", COLLECTIONS, |ks| {
        for set in ["s = {1, 2}, m = {1: 'x'}", "s = s + {1, 2}, m = m + {1: 'x'}"] {
            for _ in 0..2 {
                ks.db.execute(&format!("UPDATE t USING TIMESTAMP 100 SET {set} WHERE k = 1"));
            }
            let found = ks.db.texts("SELECT JSON s, m FROM t").concat();
            assert_eq!(found, [r#"{"s": [1, 2], "m": {"1": "x"}}"#]);
        }
    });
}

/// Two writes at one time: on 3.11 the larger bytes win, later the one that expires.
#[test]
fn of_equal_times_the_expiring_cell_wins_since_4_0() {
    everywhere("sem_equal", UDT, |ks| {
        let writes =
            ["USING TIMESTAMP 100 SET v = 'larger'", "USING TIMESTAMP 100 AND TTL 5000 SET v = 'expires'"];
        for (k, order) in [(1, [0, 1]), (2, [1, 0])] {
            for i in order {
                ks.db.execute(&format!("UPDATE t {} WHERE k = {k}", writes[i]));
            }
            let row = &ks.db.rows(&format!("SELECT v, ttl(v) FROM t WHERE k = {k}"))[0];
            let old = ks.node.version == "3.11";
            assert_eq!(row[0].as_deref(), Some(if old { &b"larger"[..] } else { b"expires" }));
            assert_eq!(row[1].is_none(), old);
        }
    });
}

/// What is bound as TTL where the table has a default: UNSET takes it, 0 and null do not.
#[test]
fn a_ttl_of_zero_keeps_the_default_of_the_table_away() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text) WITH default_time_to_live = 5000";
    everywhere("sem_default", &[table], |ks| {
        let insert = "INSERT INTO t (k, v) VALUES (?, ?) USING TIMESTAMP ? AND TTL ?";
        for (k, ttl, expires) in [(1, int(0), false), (2, Unset, true), (3, Null, false)] {
            let time = Value(1000i64.to_be_bytes().to_vec());
            ks.db.try_bind(insert, &RawRow(vec![int(k), text("x"), time, ttl])).unwrap();
            let row = &ks.db.rows(&format!("SELECT ttl(v) FROM t WHERE k = {k}"))[0];
            assert_eq!(row[0].is_some(), expires, "row {k}");
        }
    });
}
