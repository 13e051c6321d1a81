//! What the sums tell apart and what they do not, and the bytes that are hashed, which are frozen with the dump format.

use super::*;
use crate::table::ColumnKind::{Clustering, PartitionKey, Regular, Static};
use crate::table::made::{self, At, Made, fields, int, map, parts, texts, untold, whole};
use proptest::collection::vec;
use proptest::prelude::*;

const OLD: At = (10, None);
const NEW: At = (20, None);
const SHORT: At = (10, Some(500));
const LONG: At = (10, Some(900));

/// Of `x` and the keys nothing is told.
fn table() -> Table {
    let columns = [
        ("k", PartitionKey, "int"),
        ("c", Clustering, "int"),
        ("st", Static, "text"),
        ("a", Regular, "text"),
        ("fu", Regular, "frozen<u>"),
        ("l", Regular, "list<text>"),
        ("m", Regular, "map<text, text>"),
        ("s", Regular, "set<text>"),
        ("u", Regular, "u"),
        ("x", Regular, "text"),
    ];
    made::table(&columns, &["st", "a", "fu", "l", "m", "s", "u"])
}

fn tally(rows: &[made::Row<'_>]) -> Tally {
    let mut fingerprint = Fingerprint::new(&table(), None);
    fingerprint.add(&made::page(&table(), rows)).unwrap();
    fingerprint.tally().clone()
}

/// A row of one key and these cells.
fn row<'a>(cells: &[(&'a str, Made)]) -> made::Row<'a> {
    [&[("k", int(1)), ("c", int(2))], cells].concat()
}

/// Which sums differ between two rows.
fn moved(a: &[(&str, Made)], b: &[(&str, Made)]) -> Vec<&'static str> {
    let (a, b) = (tally(&[row(a)]).sums, tally(&[row(b)]).sums);
    let all = [
        ("values", a.values != b.values),
        ("times", a.times != b.times),
        ("element times", a.element_times != b.element_times),
        ("expiring", a.expiring != b.expiring),
    ];
    all.into_iter().filter(|(_, moved)| *moved).map(|(name, _)| name).collect()
}

fn one(name: &str, a: Made, b: Made) -> Vec<&'static str> {
    moved(&[(name, a)], &[(name, b)])
}

// The bytes.

#[test]
fn the_bytes_that_are_hashed_are_these() {
    let columns = [
        ("k", PartitionKey, "text"),
        ("c", Clustering, "text"),
        ("st", Static, "text"),
        ("ab", Regular, "text"),
        ("m", Regular, "map<text, text>"),
        ("z", Regular, "text"),
    ];
    let table = made::table(&columns, &["st", "ab", "m"]);
    let page = made::page(
        &table,
        &[vec![
            ("k", untold("K")),
            ("c", untold("")),
            ("st", whole("S", (258, None))),
            ("ab", whole("xyz", (-1, Some(7)))),
            ("m", parts(map(&[("p", "1"), ("q", "")]), &[(3, None), (4, Some(9))])),
        ]],
    );
    let mut fingerprint = Fingerprint::new(&table, None);
    fingerprint.add(&page).unwrap();

    // A row is 0, a partition 1. Then come name and cell, each behind its length of eight bytes, in the order of names.
    // Null (z) is left out, empty (c) is not.
    let row_values = [
        &b"\0"[..],
        b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\x03xyz",
        b"\0\0\0\0\0\0\0\x01c\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\0\0\0\x01k\0\0\0\0\0\0\0\x01K",
        b"\0\0\0\0\0\0\0\x01m\0\0\0\0\0\0\0\x17",
        b"\0\0\0\x02\0\0\0\x01p\0\0\0\x011\0\0\0\x01q\0\0\0\0",
    ];
    let partition_values =
        [&b"\x01"[..], b"\0\0\0\0\0\0\0\x01k\0\0\0\0\0\0\0\x01K", b"\0\0\0\0\0\0\0\x02st\0\0\0\0\0\0\0\x01S"];
    // What is told stands behind the key, key columns in the order of names too.
    let row_key =
        [&b"\0"[..], b"\0\0\0\0\0\0\0\x01c\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\x01k\0\0\0\0\0\0\0\x01K"]
            .concat();
    let row_times = b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff";
    let partition_times = [
        &b"\x01"[..],
        b"\0\0\0\0\0\0\0\x01k\0\0\0\0\0\0\0\x01K",
        b"\0\0\0\0\0\0\0\x02st\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\x01\x02",
    ];
    // An element: its number in four bytes, its write time in eight.
    let element_times = [
        &b"\0\0\0\0\0\0\0\x01m\0\0\0\0\0\0\0\x18"[..],
        b"\0\0\0\0\0\0\0\0\0\0\0\x03",
        b"\0\0\0\x01\0\0\0\0\0\0\0\x04",
    ];
    // A cell that expires: nothing but its name; elements that do: their numbers.
    let expiring = [
        &b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\0"[..],
        b"\0\0\0\0\0\0\0\x01m\0\0\0\0\0\0\0\x04",
        b"\0\0\0\x01",
    ];
    let hash = |bytes: &[&[u8]]| xxh3_128(&bytes.concat());
    let sum = |a: u128, b: u128| a.wrapping_add(b);
    let sums = fingerprint.tally().sums;
    assert_eq!(sums.values, sum(hash(&row_values), hash(&partition_values)));
    assert_eq!(sums.times, sum(hash(&[&row_key, row_times]), hash(&partition_times)));
    assert_eq!(sums.element_times, hash(&[&row_key, &element_times.concat()]));
    assert_eq!(sums.expiring, hash(&[&row_key, &expiring.concat()]));

    // The same, laid out by a few lines of Python and hashed by its xxhash (4.1.0).
    assert_eq!(
        serde_json::to_value(sums).unwrap(),
        serde_json::json!({
            "values": "0805b94df7fc2b785da8debea43a7263",
            "times": "757b14925c6182fcb4201d4509d81127",
            "element_times": "2b6838397e945b14bdff84628a72ce5a",
            "expiring": "e2db7fa46081bba4f34c6532d718539f",
        })
    );
}

#[test]
fn a_sum_is_written_as_32_hex_digits() {
    let sums = Sums { values: 0xab, ..Sums::default() };
    let json = serde_json::to_value(sums).unwrap();
    assert_eq!(json["values"], "000000000000000000000000000000ab");
    assert_eq!(serde_json::from_value::<Sums>(json).unwrap(), sums);
}

// What moves which sum.

#[test]
fn a_value_moves_the_values_alone() {
    assert_eq!(one("a", whole("1", OLD), whole("2", OLD)), ["values"]);
    assert_eq!(one("x", untold("1"), untold("2")), ["values"]);
    let set = |element| parts(texts(&["p", element]), &[OLD, OLD]);
    assert_eq!(one("s", set("q"), set("r")), ["values"]);
    let list = |elements| parts(texts(elements), &[OLD, OLD]);
    assert_eq!(one("l", list(&["p", "q"]), list(&["q", "p"])), ["values"], "lists have an order");
}

#[test]
fn null_is_not_empty() {
    assert_eq!(moved(&[], &[("x", untold(""))]), ["values"]);
    assert_eq!(moved(&[], &[("a", whole("", OLD))]), ["values", "times"]);
    let fields = |second| Made::Parts(fields(&[None, second, Some("")]), vec![None, None, Some(OLD)]);
    assert_eq!(one("fu", whole("", OLD), whole("\0\0\0\0", OLD)), ["values"]);
    assert_eq!(one("u", fields(None), fields(Some(""))), ["values"]);
}

#[test]
fn bytes_never_pass_from_one_cell_to_the_next() {
    assert_eq!(
        moved(&[("a", whole("12", OLD)), ("x", untold("3"))], &[("a", whole("1", OLD)), ("x", untold("23"))]),
        ["values"]
    );
    assert_eq!(
        moved(
            &[("a", whole("1", OLD)), ("fu", whole("2", NEW))],
            &[("a", whole("1", NEW)), ("fu", whole("2", OLD))]
        ),
        ["times"]
    );
}

#[test]
fn a_write_time_moves_the_times_of_its_kind() {
    assert_eq!(one("a", whole("1", OLD), whole("1", NEW)), ["times"]);
    assert_eq!(one("fu", whole("", OLD), whole("", NEW)), ["times"], "frozen is one cell");
    let of = |cell: Vec<u8>| move |second| parts(cell.clone(), &[OLD, second]);
    let set = of(texts(&["p", "q"]));
    assert_eq!(one("s", set(OLD), set(NEW)), ["element times"]);
    let map = of(map(&[("p", "1"), ("q", "2")]));
    assert_eq!(one("m", map(OLD), map(NEW)), ["element times"]);
    let udt = |third| Made::Parts(fields(&[None, None, Some("3")]), vec![None, None, Some(third)]);
    assert_eq!(one("u", udt(OLD), udt(NEW)), ["element times"]);
    let swapped = parts(texts(&["p", "q"]), &[NEW, OLD]);
    assert_eq!(one("s", set(NEW), swapped), ["element times"]);
}

#[test]
fn write_times_of_lists_move_nothing() {
    let list = |each: &[At]| parts(texts(&["p", "q"]), each);
    assert_eq!(one("l", list(&[OLD, OLD]), list(&[NEW, OLD])), [""; 0]);
    assert_eq!(one("l", list(&[OLD, OLD]), list(&[NEW, NEW])), [""; 0]);
}

#[test]
fn that_something_expires_counts_and_not_when() {
    assert_eq!(one("a", whole("1", OLD), whole("1", SHORT)), ["expiring"]);
    assert_eq!(one("a", whole("1", LONG), whole("1", SHORT)), [""; 0]);
    let set = |each: &[At]| parts(texts(&["p", "q"]), each);
    assert_eq!(one("s", set(&[OLD, OLD]), set(&[OLD, SHORT])), ["expiring"]);
    assert_eq!(one("s", set(&[OLD, SHORT]), set(&[SHORT, OLD])), ["expiring"], "which of them does");
    assert_eq!(one("s", set(&[OLD, SHORT]), set(&[OLD, LONG])), [""; 0]);
}

#[test]
fn a_list_expires_if_all_of_it_does() {
    // A load writes it whole, to last as long as its last element.
    let list = |each: &[At]| parts(texts(&["p", "q"]), each);
    assert_eq!(one("l", list(&[OLD, OLD]), list(&[OLD, SHORT])), [""; 0]);
    assert_eq!(one("l", list(&[OLD, SHORT]), list(&[LONG, SHORT])), ["expiring"]);
    assert_eq!(one("l", list(&[LONG, LONG]), list(&[LONG, SHORT])), [""; 0]);
}

#[test]
fn null_fields_at_the_end_of_a_user_type_move_nothing() {
    let first = [Some("1"), None, None];
    let udt = |n: usize| Made::Parts(fields(&first[..n]), vec![Some(OLD), None, None]);
    assert_eq!(one("u", udt(1), udt(2)), [""; 0]);
    assert_eq!(one("u", udt(1), udt(3)), [""; 0]);
    let frozen = |n: usize| Made::Whole(fields(&first[..n]), OLD);
    assert_eq!(one("fu", frozen(1), frozen(3)), ["values"], "the bytes of a frozen one are kept");
}

#[test]
fn another_key_moves_all_that_is_told_with_it() {
    let cells = [("a", whole("1", SHORT)), ("s", parts(texts(&["p"]), &[OLD]))];
    for other in ["k", "c"] {
        let moved: Vec<_> = row(&cells)
            .into_iter()
            .map(|(name, made)| (name, if name == other { int(9) } else { made }))
            .collect();
        let (a, b) = (tally(&[row(&cells)]).sums, tally(&[moved]).sums);
        assert!(a.values != b.values && a.times != b.times && a.element_times != b.element_times, "{other}");
        assert_ne!(a.expiring, b.expiring, "{other}");
    }
}

#[test]
fn static_cells_count_once_in_a_partition() {
    let with = |c: i32, st: &str| vec![("k", int(1)), ("c", int(c)), ("st", whole(st, SHORT))];
    let bare = |c: i32| vec![("k", int(1)), ("c", int(c))];
    let statics = |st: &str| tally(&[vec![("k", int(1)), ("st", whole(st, SHORT))]]).sums;
    let mut wanted = tally(&[bare(1), bare(2)]).sums;
    wanted += statics("S");
    assert_eq!(tally(&[with(1, "S"), with(2, "S")]).sums, wanted);
    assert_ne!(statics("S").values, statics("T").values);
    assert_eq!(statics("S").times, statics("T").times);
    let inside = Some(vec![Some(1_i32.to_be_bytes().to_vec())]);
    let mut later = Fingerprint::new(&table(), inside);
    later.add(&made::page(&table(), &[with(1, "S"), with(2, "S")])).unwrap();
    assert_eq!(later.tally().sums, tally(&[bare(1), bare(2)]).sums);
}

#[test]
fn static_cells_of_which_nothing_is_told_take_no_times_from_the_rows() {
    let columns = [
        ("k", PartitionKey, "int"),
        ("c", Clustering, "int"),
        ("st", Static, "text"),
        ("a", Regular, "text"),
    ];
    let table = made::table(&columns, &["a"]);
    let row =
        |k: i32| vec![("k", int(k)), ("c", int(1)), ("st", untold("S")), ("a", whole(&k.to_string(), SHORT))];
    let sums = |rows: &[made::Row<'_>]| {
        let mut fingerprint = Fingerprint::new(&table, None);
        fingerprint.add(&made::page(&table, rows)).unwrap();
        assert_eq!(fingerprint.tally().untold, BTreeMap::from([(2, rows.len() as u64)]));
        fingerprint.tally().sums
    };
    let mut apart = sums(&[row(1)]);
    apart += sums(&[row(2)]);
    assert_eq!(sums(&[row(1), row(2)]), apart);
}

#[test]
fn names_and_cells_of_any_length_are_hashed_whole() {
    let name = "n".repeat(40);
    let columns = [("k", PartitionKey, "int"), (&*name, Regular, "text")];
    let table = made::table(&columns, &[]);
    for len in [0, 1, 3, 4, 8, 15, 16, 17, 1000] {
        let value = "v".repeat(len);
        let mut fingerprint = Fingerprint::new(&table, None);
        fingerprint.add(&made::page(&table, &[vec![("k", int(7)), (&*name, untold(&value))]])).unwrap();
        let hashed = [
            &b"\0\0\0\0\0\0\0\0\x01k\0\0\0\0\0\0\0\x04\0\0\0\x07\0\0\0\0\0\0\0\x28"[..],
            name.as_bytes(),
            &(len as u64).to_be_bytes(),
            value.as_bytes(),
        ];
        assert_eq!(fingerprint.tally().sums.values, xxh3_128(&hashed.concat()), "{len}");
    }
}

#[test]
fn a_partition_without_rows_or_static_cells_sums_to_nothing() {
    let alone = tally(&[vec![("k", int(1))]]);
    assert_eq!((alone.sums, alone.rows), (Sums::default(), 1));
}

#[test]
fn times_of_counters_are_left_out_and_not_missed() {
    let columns = [("k", PartitionKey, "int"), ("n", Regular, "counter")];
    let table = made::table(&columns, &[]);
    let number = |n: i64| Made::Untold(n.to_be_bytes().to_vec());
    let mut fingerprint = Fingerprint::new(&table, None);
    fingerprint.add(&made::page(&table, &[vec![("k", int(1)), ("n", number(5))]])).unwrap();
    let tally = fingerprint.tally();
    assert_eq!(tally.sums, Sums { values: tally.sums.values, ..Sums::default() });
    assert_eq!((tally.untold_rows, tally.untold.len()), (0, 0));
}

// What is counted.

#[test]
fn what_is_not_told_and_what_is_uneven_is_counted() {
    let list = |each: &[At]| parts(texts(&["p", "q"]), each);
    let rows = [
        row(&[("x", untold("1"))]),
        row(&[("x", untold("1")), ("a", whole("1", LONG))]),
        row(&[]),
        row(&[("l", list(&[OLD, NEW]))]),
        row(&[("l", list(&[SHORT, SHORT])), ("s", parts(texts(&["p", "q"]), &[OLD, NEW]))]),
    ];
    let tally = tally(&rows);
    let (x, l) = (table().columns.len() - 1, 5);
    assert_eq!(table().columns[l].name, "l");
    assert_eq!(tally.untold, BTreeMap::from([(x, 2)]));
    assert_eq!(tally.untold_rows, 2);
    assert_eq!(tally.uneven, BTreeMap::from([(l, 1)]));
    assert_eq!(tally.earliest_expiry, Some(500));
    assert_eq!((tally.rows, tally.cells), (5, 10 + 6));
}

#[test]
fn companions_that_do_not_fit_are_refused() {
    let mut fingerprint = Fingerprint::new(&table(), None);
    assert_eq!(fingerprint.add(&made::page(&table(), &[row(&[("a", untold("1"))])])), Err(Misfit));
}

// Cuts.

/// Partitions in the order of a scan, each with its rows.
fn partitions() -> impl Strategy<Value = Vec<Vec<made::Row<'static>>>> {
    let at = || (1..4_i64, prop::option::of(500..503_i64));
    let text = || prop::option::of((0..3_i32, at()));
    let made = |name: &'static str, cell: Option<(i32, At)>| {
        cell.map(|(value, at)| (name, whole(&value.to_string(), at)))
    };
    let rows = vec((text(), prop::option::of((at(), at()))), 0..5);
    let partition = (text(), rows).prop_map(move |(st, rows)| {
        let keyed = |c: Option<i32>| -> made::Row<'static> {
            c.map(|c| ("c", int(c))).into_iter().chain(made("st", st)).collect()
        };
        let mut all = Vec::new();
        for (c, (a, s)) in (0..).zip(&rows) {
            let set = s.map(|(p, q)| ("s", parts(texts(&["p", "q"]), &[p, q])));
            all.push(keyed(Some(c)).into_iter().chain(made("a", *a)).chain(set).collect());
        }
        if all.is_empty() { vec![keyed(None)] } else { all }
    });
    vec(partition, 0..5).prop_map(|partitions| {
        let keyed = |(k, rows): (i32, Vec<made::Row<'static>>)| {
            rows.into_iter().map(|row| [vec![("k", int(k))], row].concat()).collect()
        };
        (0..).zip(partitions).map(keyed).collect()
    })
}

/// The rows cut at some places, into pieces that may be empty.
fn cut<'a, 'b>(rows: &'b [made::Row<'a>], cuts: &[prop::sample::Index]) -> Vec<&'b [made::Row<'a>]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len() + 1)).collect();
    at.extend([0, rows.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &rows[ends[0]..ends[1]]).collect()
}

fn key_of(row: &made::Row<'_>) -> Partition {
    vec![Some(row[0].1.bytes().to_vec())]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn pages_do_not_show_in_what_is_summed_and_counted(
        partitions in partitions(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let rows = partitions.concat();
        let mut fingerprint = Fingerprint::new(&table(), None);
        for page in cut(&rows, &cuts) {
            fingerprint.add(&made::page(&table(), page)).unwrap();
        }
        prop_assert_eq!(fingerprint.tally(), &tally(&rows));
    }

    #[test]
    fn parts_add_up_wherever_a_table_is_cut(
        partitions in partitions(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let rows = partitions.concat();
        let mut inside = None;
        let (mut sums, mut count) = (Sums::default(), (0, 0));
        for part in cut(&rows, &cuts) {
            // As a dump goes on: inside the partition of the last row, which may have ended there.
            let mut fingerprint = Fingerprint::new(&table(), inside.clone());
            fingerprint.add(&made::page(&table(), part)).unwrap();
            inside = part.last().map(key_of).or(inside);
            let tally = fingerprint.tally();
            sums += tally.sums;
            count = (count.0 + tally.rows, count.1 + tally.cells);
        }
        let whole = tally(&rows);
        prop_assert_eq!((sums, count), (whole.sums, (whole.rows, whole.cells)));
    }

    #[test]
    fn the_order_of_partitions_and_of_their_rows_does_not_show(
        (partitions, shuffled) in partitions().prop_flat_map(|partitions| {
            let each: Vec<_> = partitions.iter().map(|rows| Just(rows.clone()).prop_shuffle()).collect();
            (Just(partitions), each.prop_flat_map(|all| Just(all).prop_shuffle()))
        }),
    ) {
        prop_assert_eq!(tally(&partitions.concat()), tally(&shuffled.concat()));
    }

    #[test]
    fn a_row_that_is_missing_shows(
        partitions in partitions(),
        which in any::<prop::sample::Index>(),
    ) {
        let rows = partitions.concat();
        let is_row = |row: &made::Row<'_>| row.iter().any(|(name, _)| *name == "c");
        prop_assume!(rows.iter().any(is_row));
        let candidates: Vec<usize> = (0..rows.len()).filter(|n| is_row(&rows[*n])).collect();
        let mut fewer = rows.clone();
        fewer.remove(candidates[which.index(candidates.len())]);
        prop_assert_ne!(tally(&fewer).sums.values, tally(&rows).sums.values);
    }
}
