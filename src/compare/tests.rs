//! Tables of cases: a cell as dumped, as the cluster has it, and how they differ.

use super::*;
use crate::table::ColumnKind::{Clustering, PartitionKey, Regular, Static};
use crate::table::made::{self, At, Made, fields, int, map, parts, texts, untold, whole};

/// Now is second 1000: with the tolerance what ends until 1002 is over.
const NOW: i64 = 1000;
const OLD: At = (10, None);
const NEW: At = (20, None);
const OVER: At = (10, Some(900));
const ENDING: At = (10, Some(1002));
const SHORT: At = (10, Some(1003));
const LONG: At = (10, Some(5000));

/// 2038-01-19T03:14:06Z.
const LATEST: i64 = 2_147_483_646;

const VERIFY: Rules = Rules {
    times: true,
    written: None,
    expiries: true,
    given: None,
    dump_expires: true,
    loaded: false,
    now: NOW,
};
const LOADED: Rules = Rules { loaded: true, ..VERIFY };

const COLUMNS: [(&str, &str); 8] = [
    ("a", "text"),
    ("fu", "frozen<u>"),
    ("l", "list<text>"),
    ("m", "map<text, text>"),
    ("n", "counter"),
    ("s", "set<text>"),
    ("u", "u"),
    ("x", "text"),
];

/// Every column is told of but the counter and `x`; in a table of Cassandra 4 nothing with elements is.
const TOLD: &[&str] = &["a", "fu", "l", "m", "s", "u"];
const TOLD_BY_4: &[&str] = &["a", "fu"];

fn table(told: &[&str]) -> Table {
    let mut columns = vec![("k", PartitionKey, "int"), ("c", Clustering, "int"), ("st", Static, "text")];
    columns.extend(COLUMNS.iter().map(|(name, cql_type)| (*name, Regular, *cql_type)));
    made::table(&columns, told)
}

/// A cell of a column, or null.
type CellOf<'a> = (&'a str, Option<Made>);

fn page(table: &Table, (column, cell): CellOf<'_>) -> Page {
    let cells = cell.into_iter().map(|made| (column, made));
    made::page(table, &[[("k", int(1)), ("c", int(2))].into_iter().chain(cells).collect()])
}

/// How a cell differs between a dump and a cluster that tells of other columns, perhaps.
fn between(
    rules: Rules,
    told: [&[&str]; 2],
    column: &str,
    dump: Option<Made>,
    cluster: Option<Made>,
) -> Option<Kind> {
    let [ours, theirs] = told.map(table);
    let (dump, cluster) = (page(&ours, (column, dump)), page(&theirs, (column, cluster)));
    let side = |page| Some(RowRef { page, row: 0 });
    let found = Comparison::new(&ours, &theirs, rules).cells(Regular, side(&dump), side(&cluster)).unwrap();
    assert!(found.iter().all(|d| ours.columns[d.column].name == column), "{found:?}");
    assert!(found.len() <= 1, "{found:?}");
    found.first().map(|d| d.kind)
}

/// What is expected, of a cell as dumped and as found, and why.
type Case = (Option<Kind>, Option<Made>, Option<Made>, &'static str);

fn check(rules: Rules, column: &str, cases: Vec<Case>) {
    check_between(rules, [TOLD, TOLD], column, cases);
}

fn check_between(rules: Rules, told: [&[&str]; 2], column: &str, cases: Vec<Case>) {
    for (expected, dump, cluster, why) in cases {
        let note = format!("{why}: {column} {dump:?} / {cluster:?}");
        assert_eq!(between(rules, told, column, dump, cluster), expected, "{note}");
    }
}

const SAME: Option<Kind> = None;
const VALUE: Option<Kind> = Some(Kind::Value);
const TIME: Option<Kind> = Some(Kind::WriteTime);
const EXPIRY: Option<Kind> = Some(Kind::Expiry);

fn a(value: &str, at: At) -> Option<Made> {
    Some(whole(value, at))
}

fn x(value: &str) -> Option<Made> {
    Some(untold(value))
}

fn set(elements: &[(&str, At)]) -> Option<Made> {
    let (texts_of, each): (Vec<&str>, Vec<At>) = elements.iter().copied().unzip();
    Some(parts(texts(&texts_of), &each))
}

/// A list is laid out as a set.
fn list(elements: &[(&str, At)]) -> Option<Made> {
    set(elements)
}

fn of_map(entries: &[(&str, &str, At)]) -> Option<Made> {
    let pairs: Vec<_> = entries.iter().map(|(key, value, _)| (*key, *value)).collect();
    let each: Vec<At> = entries.iter().map(|(.., at)| *at).collect();
    Some(parts(map(&pairs), &each))
}

/// As many fields as are given.
fn udt(all: &[Option<(&str, At)>]) -> Option<Made> {
    let cell = fields(&all.iter().map(|f| f.map(|(value, _)| value)).collect::<Vec<_>>());
    let mut each: Vec<Option<At>> = all.iter().map(|f| f.map(|(_, at)| at)).collect();
    each.resize(3, None);
    Some(Made::Parts(cell, each))
}

/// The same cell where nothing is told of it.
fn as_4_tells(cell: &Option<Made>) -> Option<Made> {
    cell.as_ref().map(|made| Made::Untold(made.bytes().to_vec()))
}

#[test]
fn cells_are_compared_by_value_write_time_and_expiry() {
    check(
        VERIFY,
        "a",
        vec![
            (SAME, None, None, "null"),
            (SAME, a("1", OLD), a("1", OLD), "as dumped"),
            (SAME, a("", OLD), a("", OLD), "empty"),
            (VALUE, a("1", OLD), a("2", OLD), "another value"),
            (VALUE, a("1", OLD), None, "null in the cluster"),
            (VALUE, None, a("1", OLD), "null in the dump"),
            (VALUE, a("", OLD), None, "empty is not null"),
            (VALUE, None, a("", OLD), "nor null empty"),
            (TIME, a("1", OLD), a("1", NEW), "written later"),
            (TIME, a("1", NEW), a("1", OLD), "written earlier"),
            (EXPIRY, a("1", OLD), a("1", LONG), "ends"),
            (EXPIRY, a("1", LONG), a("1", OLD), "does not end"),
            (VALUE, a("1", OLD), a("2", (20, Some(5000))), "the value comes before the rest"),
            (TIME, a("1", OLD), a("1", (20, Some(5000))), "the write time before the expiry"),
        ],
    );
    check(
        VERIFY,
        "x",
        vec![
            (SAME, x("1"), x("1"), "untold"),
            (VALUE, x("1"), x("2"), "untold"),
            (VALUE, x(""), None, "untold"),
        ],
    );
}

#[test]
fn an_expiry_may_be_off_by_two_seconds() {
    let ends = |second| a("1", (10, Some(second)));
    for (off, expected) in [(0, SAME), (1, SAME), (2, SAME), (3, EXPIRY), (60, EXPIRY)] {
        check(
            VERIFY,
            "a",
            vec![
                (expected, ends(5000), ends(5000 + off), "later"),
                (expected, ends(5000), ends(5000 - off), "earlier"),
            ],
        );
    }
}

#[test]
fn an_expiry_beyond_2038_may_have_been_cut_to_it() {
    let ends = |second| a("1", (10, Some(second)));
    let beyond = LATEST + 1_000_000;
    check(
        VERIFY,
        "a",
        vec![
            (SAME, ends(beyond), ends(LATEST), "cut"),
            (SAME, ends(beyond), ends(LATEST - 2), "cut and rounded"),
            (EXPIRY, ends(beyond), ends(LATEST - 3), "neither"),
            (SAME, ends(beyond), ends(beyond), "a cluster that takes it"),
            (EXPIRY, ends(beyond), ends(LATEST + 1000), "neither"),
            (EXPIRY, ends(beyond), a("1", OLD), "without end"),
            (EXPIRY, ends(5000), ends(LATEST), "an expiry before 2038 is not cut"),
        ],
    );
}

#[test]
fn what_is_over_need_not_be_there() {
    check(
        VERIFY,
        "a",
        vec![
            (SAME, a("1", OVER), None, "over"),
            (SAME, a("1", ENDING), None, "perhaps over"),
            (VALUE, a("1", SHORT), None, "not over"),
            (SAME, None, a("1", ENDING), "about to end in the cluster"),
            (SAME, a("1", ENDING), a("1", SHORT), "over on one side, but near"),
            (SAME, a("1", SHORT), a("1", ENDING), "over on one side, but near"),
            (SAME, a("1", ENDING), a("2", ENDING), "over on both"),
        ],
    );
}

#[test]
fn what_should_be_over_and_lasts_is_a_difference() {
    check(
        VERIFY,
        "a",
        vec![
            (EXPIRY, a("1", OVER), a("1", OLD), "without end in the cluster"),
            (EXPIRY, a("1", OVER), a("1", LONG), "a longer life in the cluster"),
            (TIME, a("1", OVER), a("2", NEW), "written anew"),
        ],
    );
    check(
        VERIFY,
        "s",
        vec![
            (EXPIRY, set(&[("p", OVER)]), set(&[("p", OLD)]), "all of it"),
            (EXPIRY, set(&[("p", OVER), ("q", OLD)]), set(&[("p", OLD), ("q", OLD)]), "an element"),
            (SAME, set(&[("p", ENDING), ("q", OLD)]), set(&[("p", SHORT), ("q", OLD)]), "near"),
            (VALUE, set(&[("p", OVER)]), set(&[("q", OLD)]), "all of it is over, and others are there"),
        ],
    );
    check(
        VERIFY,
        "l",
        vec![
            (EXPIRY, list(&[("p", OVER)]), list(&[("p", OLD)]), "a list"),
            (VALUE, list(&[("p", OVER)]), list(&[("q", OLD)]), "another list"),
            (SAME, list(&[("p", OVER)]), list(&[("p", ENDING)]), "about to end"),
        ],
    );
    let values_only = Rules { times: false, expiries: false, ..VERIFY };
    check(values_only, "a", vec![(SAME, a("1", OVER), a("1", OLD), "expiries are not compared")]);
    let older = (5, None);
    check(LOADED, "a", vec![(SAME, a("1", OVER), a("2", older), "a load left an older cell there")]);
    check(LOADED, "s", vec![(SAME, set(&[("p", OVER)]), set(&[("q", older)]), "the same of a set")]);
    check(LOADED, "l", vec![(SAME, list(&[("p", OVER)]), list(&[("q", older)]), "the same of a list")]);
}

#[test]
fn expiries_that_a_load_has_dropped_end_nothing() {
    let dropped = Rules { dump_expires: false, expiries: false, ..VERIFY };
    check(
        dropped,
        "a",
        vec![
            (SAME, a("1", OVER), a("1", OLD), "kept for ever"),
            (VALUE, a("1", OVER), None, "missing"),
            (VALUE, a("1", OVER), a("2", OLD), "another value"),
            (TIME, a("1", OVER), a("1", NEW), "another write time"),
        ],
    );
}

#[test]
fn what_is_not_asked_for_is_not_compared() {
    let values = Rules { times: false, expiries: false, ..VERIFY };
    check(
        values,
        "a",
        vec![
            (SAME, a("1", OLD), a("1", (20, Some(5000))), "values alone"),
            (VALUE, a("1", OLD), a("2", OLD), "values alone"),
        ],
    );
    let no_times = Rules { times: false, ..VERIFY };
    check(no_times, "a", vec![(EXPIRY, a("1", OLD), a("1", (20, Some(5000))), "expiries alone")]);
}

#[test]
fn sets_are_compared_element_by_element() {
    let both = || set(&[("p", OLD), ("q", NEW)]);
    check(
        VERIFY,
        "s",
        vec![
            (SAME, both(), both(), "as dumped"),
            (VALUE, both(), set(&[("p", OLD)]), "missing"),
            (VALUE, both(), set(&[("p", OLD), ("q", NEW), ("r", OLD)]), "extra"),
            (VALUE, both(), None, "all are missing"),
            (VALUE, None, both(), "all are extra"),
            (TIME, both(), set(&[("p", OLD), ("q", OLD)]), "one written at another time"),
            (EXPIRY, both(), set(&[("p", LONG), ("q", NEW)]), "one that ends"),
            (VALUE, set(&[("p", OLD)]), set(&[("", OLD)]), "an empty element"),
        ],
    );
}

#[test]
fn elements_that_are_over_need_not_be_there() {
    check(
        VERIFY,
        "s",
        vec![
            (SAME, set(&[("p", OVER), ("q", NEW)]), set(&[("q", NEW)]), "one"),
            (VALUE, set(&[("p", OVER), ("q", NEW)]), set(&[("p", OVER)]), "the other one"),
            (SAME, set(&[("p", OVER), ("q", ENDING)]), None, "all"),
            (VALUE, set(&[("p", OVER), ("q", NEW)]), None, "not all"),
            (SAME, set(&[("q", NEW)]), set(&[("p", ENDING), ("q", NEW)]), "about to end in the cluster"),
            (VALUE, set(&[("q", NEW)]), set(&[("p", SHORT), ("q", NEW)]), "not about to end"),
        ],
    );
}

#[test]
fn maps_are_compared_by_their_keys() {
    let both = || of_map(&[("p", "1", OLD), ("q", "2", NEW)]);
    check(
        VERIFY,
        "m",
        vec![
            (SAME, both(), both(), "as dumped"),
            (VALUE, both(), of_map(&[("p", "1", OLD), ("q", "", NEW)]), "another value"),
            (VALUE, both(), of_map(&[("p", "1", OLD), ("r", "2", NEW)]), "another key"),
            (VALUE, of_map(&[("p", "1", OLD)]), of_map(&[("p1", "", OLD)]), "keys end where they end"),
            (TIME, both(), of_map(&[("p", "1", NEW), ("q", "2", NEW)]), "another write time"),
            (VALUE, both(), of_map(&[("p", "1", NEW), ("q", "3", NEW)]), "a value before a write time"),
            (SAME, of_map(&[("p", "1", OVER), ("q", "2", NEW)]), of_map(&[("q", "2", NEW)]), "over"),
        ],
    );
}

#[test]
fn user_types_are_compared_field_by_field() {
    let first = Some(("1", OLD));
    check(
        VERIFY,
        "u",
        vec![
            (SAME, udt(&[first]), udt(&[first, None, None]), "null fields at the end"),
            (SAME, udt(&[None, first]), udt(&[None, first, None]), "null fields at the end"),
            (VALUE, udt(&[first]), udt(&[None, first]), "another field"),
            (VALUE, udt(&[first, Some(("", OLD))]), udt(&[first]), "empty is not null"),
            (VALUE, udt(&[first]), udt(&[first, None, Some(("3", OLD))]), "one more field"),
            (TIME, udt(&[first]), udt(&[Some(("1", NEW))]), "another write time"),
            (SAME, udt(&[first, Some(("2", OVER))]), udt(&[first]), "over"),
            (VALUE, udt(&[first]), None, "null"),
        ],
    );
    let frozen = |all: &[Option<&str>]| Some(Made::Whole(fields(all), OLD));
    check(
        VERIFY,
        "fu",
        vec![(VALUE, frozen(&[Some("1")]), frozen(&[Some("1"), None]), "a frozen one is its bytes")],
    );
}

#[test]
fn lists_are_compared_in_their_order_and_without_write_times() {
    let both = || list(&[("p", OLD), ("q", NEW)]);
    check(
        VERIFY,
        "l",
        vec![
            (SAME, both(), both(), "as dumped"),
            (SAME, both(), list(&[("p", (99, None)), ("q", (99, None))]), "written anew"),
            (VALUE, both(), list(&[("q", NEW), ("p", OLD)]), "another order"),
            (VALUE, both(), list(&[("p", OLD), ("q", NEW), ("p", OLD), ("q", NEW)]), "doubled"),
            (VALUE, both(), list(&[("p", OLD)]), "missing"),
            (VALUE, both(), None, "all are missing"),
            (EXPIRY, both(), list(&[("p", LONG), ("q", LONG)]), "ends"),
            (EXPIRY, list(&[("p", LONG)]), list(&[("p", OLD)]), "does not end"),
        ],
    );
}

#[test]
fn elements_of_lists_that_are_over_may_be_there_in_their_place() {
    let three = || list(&[("p", OLD), ("q", OVER), ("r", OLD)]);
    let now = (99, None);
    check(
        VERIFY,
        "l",
        vec![
            (SAME, three(), list(&[("p", now), ("r", now)]), "left out by the load"),
            (SAME, three(), list(&[("p", now), ("q", now), ("r", now)]), "loaded before it was over"),
            (VALUE, three(), list(&[("q", now), ("p", now), ("r", now)]), "in another place"),
            (VALUE, three(), list(&[("p", now), ("q", now)]), "one that is not over is missing"),
            (VALUE, three(), list(&[("p", now), ("q", now), ("q", now), ("r", now)]), "twice"),
            (SAME, list(&[("p", OVER), ("q", ENDING)]), None, "all are over"),
            (EXPIRY, three(), list(&[("p", LONG), ("r", LONG)]), "what is left ends"),
            (
                SAME,
                list(&[("p", SHORT), ("q", LONG)]),
                list(&[("p", LONG), ("q", LONG)]),
                "a load gives all of it the latest expiry",
            ),
        ],
    );
}

#[test]
fn a_cluster_that_tells_nothing_of_elements_is_compared_by_values() {
    let told = [TOLD, TOLD_BY_4];
    let two = || set(&[("p", OLD), ("q", OVER)]);
    let plain = |elements: &[&str]| Some(Made::Untold(texts(elements)));
    check_between(
        VERIFY,
        told,
        "s",
        vec![
            (SAME, set(&[("p", OLD)]), plain(&["p"]), "as dumped"),
            (VALUE, set(&[("p", OLD)]), plain(&["q"]), "another"),
            (VALUE, set(&[("p", OLD)]), plain(&["p", "q"]), "extra"),
            (SAME, two(), plain(&["p"]), "over"),
            (SAME, two(), plain(&["p", "q"]), "perhaps about to be over"),
            (SAME, set(&[("q", OVER)]), plain(&["q"]), "perhaps about to be over"),
            (VALUE, two(), plain(&["q"]), "missing"),
        ],
    );
    let value = list(&[("p", OLD), ("q", NEW)]);
    check_between(VERIFY, told, "l", vec![(SAME, value.clone(), as_4_tells(&value), "a list")]);
    let value = of_map(&[("p", "1", OLD)]);
    let other = as_4_tells(&of_map(&[("p", "2", OLD)]));
    check_between(VERIFY, told, "m", vec![(SAME, value.clone(), as_4_tells(&value), "a map")]);
    check_between(VERIFY, told, "m", vec![(VALUE, value, other, "a map")]);
    let value = udt(&[Some(("1", OLD)), None]);
    check_between(VERIFY, told, "u", vec![(SAME, value.clone(), as_4_tells(&value), "a user type")]);
}

#[test]
fn static_cells_of_a_partition_that_is_not_there_are_null() {
    let table = table(&["st"]);
    let row = |st: Made| made::page(&table, &[vec![("k", int(1)), ("st", st)]]);
    let (old, over) = (row(whole("S", OLD)), row(whole("S", OVER)));
    let comparison = Comparison::new(&table, &table, VERIFY);
    let kinds = |dump: Option<&Page>, cluster: Option<&Page>| -> Vec<Kind> {
        let side = |page| RowRef { page, row: 0 };
        let found = comparison.cells(Static, dump.map(side), cluster.map(side)).unwrap();
        found.into_iter().map(|d| d.kind).collect()
    };
    assert_eq!(kinds(Some(&old), None), [Kind::Value]);
    assert_eq!(kinds(None, Some(&old)), [Kind::Value]);
    assert_eq!(kinds(Some(&over), None), []);
    assert_eq!(kinds(None, None), []);
}

#[test]
fn a_row_of_which_all_is_over_need_not_be_there() {
    let table = table(TOLD);
    let row = |cells: Vec<(&'static str, Made)>| {
        made::page(&table, &[[vec![("k", int(1)), ("c", int(2))], cells].concat()])
    };
    let all_over = row(vec![
        ("a", whole("1", OVER)),
        ("l", list(&[("p", ENDING), ("q", OVER)]).unwrap()),
        ("s", set(&[("p", OVER)]).unwrap()),
    ]);
    let not_all = [
        row(vec![("a", whole("1", OVER)), ("s", set(&[("p", OVER), ("q", OLD)]).unwrap())]),
        row(vec![("a", whole("1", SHORT))]),
        row(vec![("x", untold("1"))]),
        row(vec![]),
    ];
    let is = |rules: Rules, page: &Page| {
        let comparison = Comparison::new(&table, &table, rules);
        let row = RowRef { page, row: 0 };
        (comparison.is_missing(Regular, row).unwrap(), comparison.is_extra(Regular, row).unwrap())
    };
    assert_eq!(is(VERIFY, &all_over), (false, false));
    for (number, page) in not_all.iter().enumerate() {
        assert_eq!(is(VERIFY, page), (true, true), "{number}");
        assert_eq!(is(LOADED, page), (true, false), "{number}: a load leaves other rows alone");
    }
    assert!(is(Rules { dump_expires: false, ..VERIFY }, &all_over).0);
}

// After a load: what is newer in the cluster wins, what is missing was hidden by deletions.

#[test]
fn after_a_load_newer_cells_are_no_difference_and_missing_ones_are() {
    check(
        LOADED,
        "a",
        vec![
            (SAME, a("1", OLD), a("1", OLD), "as dumped"),
            (SAME, None, a("1", OLD), "the dump has none"),
            (SAME, a("1", OLD), a("2", NEW), "newer"),
            (SAME, a("1", OLD), a("1", (20, Some(5000))), "newer, and ends"),
            (VALUE, a("1", OLD), None, "deleted later than it was written"),
            (VALUE, a("1", OLD), a("2", OLD), "as old: the larger won"),
            (VALUE, a("1", NEW), a("2", OLD), "older"),
            (TIME, a("1", NEW), a("1", OLD), "older"),
            (EXPIRY, a("1", OLD), a("1", LONG), "as old, but ends"),
            (SAME, a("1", OVER), None, "over"),
        ],
    );
    check(
        LOADED,
        "x",
        vec![
            (SAME, x("1"), x("2"), "perhaps newer"),
            (VALUE, x("1"), None, "missing"),
            (SAME, None, x("1"), "the dump has none"),
        ],
    );
}

#[test]
fn after_a_load_counters_are_always_compared() {
    let number = |n: i64| Some(Made::Untold(n.to_be_bytes().to_vec()));
    for written in [None, Some(50)] {
        check(
            Rules { written, ..LOADED },
            "n",
            vec![
                (SAME, number(1), number(1), "as dumped"),
                (VALUE, number(1), number(2), "another count"),
                (VALUE, number(1), None, "missing"),
            ],
        );
    }
}

#[test]
fn after_a_load_elements_deleted_beside_others_are_missing() {
    let two = || set(&[("p", OLD), ("q", NEW)]);
    let newer = (30, None);
    check(
        LOADED,
        "s",
        vec![
            (SAME, two(), two(), "as dumped"),
            (SAME, two(), set(&[("p", OLD), ("q", NEW), ("r", newer)]), "one more"),
            (SAME, two(), set(&[("p", newer), ("q", newer)]), "both newer"),
            (VALUE, two(), None, "all deleted"),
            (VALUE, two(), set(&[("p", OLD)]), "one deleted"),
            (VALUE, two(), set(&[("q", NEW)]), "one deleted"),
            (VALUE, two(), set(&[("p", OLD), ("r", newer)]), "one deleted, one new"),
            (SAME, two(), set(&[("r", newer)]), "written over as a whole"),
            (SAME, two(), set(&[("p", newer)]), "written over as a whole"),
            (VALUE, two(), set(&[("r", (5, None))]), "both deleted beside an older one"),
            (VALUE, two(), set(&[("p", (15, None))]), "one newer, the newest deleted"),
            (TIME, two(), set(&[("p", OLD), ("q", OLD)]), "older"),
            (SAME, set(&[("p", OVER), ("q", NEW)]), set(&[("q", NEW)]), "over"),
        ],
    );
    let two = || of_map(&[("p", "1", OLD), ("q", "2", NEW)]);
    check(
        LOADED,
        "m",
        vec![
            (SAME, two(), of_map(&[("p", "1", OLD), ("q", "3", newer)]), "one newer"),
            (VALUE, two(), of_map(&[("p", "3", OLD), ("q", "2", NEW)]), "as old: the larger won"),
            (VALUE, two(), of_map(&[("p", "1", OLD)]), "one deleted"),
            (SAME, two(), of_map(&[("q", "3", newer)]), "written over as a whole"),
        ],
    );
    let two = || udt(&[Some(("1", OLD)), Some(("2", NEW))]);
    check(
        LOADED,
        "u",
        vec![
            (VALUE, two(), udt(&[Some(("1", OLD))]), "a field deleted"),
            (SAME, two(), udt(&[Some(("1", OLD)), Some(("3", newer))]), "a field newer"),
            (SAME, two(), udt(&[None, None, Some(("3", newer))]), "written over as a whole"),
        ],
    );
}

#[test]
fn after_a_load_lists_may_be_written_a_little_later() {
    let two = |at: At| list(&[("p", at), ("q", at)]);
    check(
        LOADED,
        "l",
        vec![
            (SAME, two(OLD), two((11, None)), "as dumped, a microsecond later"),
            (VALUE, two(OLD), list(&[("p", OLD)]), "not newer"),
            (SAME, two(OLD), list(&[("p", (11, None))]), "newer"),
            (VALUE, two(OLD), None, "deleted"),
        ],
    );
}

#[test]
fn after_a_load_into_a_cluster_that_tells_nothing_of_elements_only_what_lacks_is_missing() {
    let told = [TOLD, TOLD_BY_4];
    let plain = |elements: &[&str]| Some(Made::Untold(texts(elements)));
    let two = || set(&[("p", OLD), ("q", NEW)]);
    check_between(
        LOADED,
        told,
        "s",
        vec![
            (SAME, two(), plain(&["p", "q", "r"]), "one more"),
            (VALUE, two(), plain(&["p"]), "one deleted"),
            (VALUE, two(), None, "all deleted"),
            (SAME, two(), plain(&["r"]), "perhaps written over as a whole"),
        ],
    );
    check_between(LOADED, told, "l", vec![(SAME, two(), plain(&["r"]), "perhaps newer")]);
}

#[test]
fn after_a_load_at_a_time_of_its_own_newer_is_newer_than_that() {
    let rules = Rules { written: Some(50), times: false, ..LOADED };
    let now = (50, None);
    check(
        rules,
        "a",
        vec![
            (SAME, a("1", OLD), a("1", now), "loaded"),
            (VALUE, a("1", OLD), a("2", NEW), "newer than it was, older than the load"),
            (VALUE, a("1", OLD), a("2", now), "as old as the load"),
            (SAME, a("1", OLD), a("2", (51, None)), "newer"),
            (SAME, a("1", (99, None)), a("2", (51, None)), "the load made it older"),
            (VALUE, a("1", OLD), None, "missing"),
        ],
    );
    check(
        rules,
        "m",
        vec![
            (VALUE, of_map(&[("p", "1", OLD)]), of_map(&[("p", "2", NEW)]), "older than the load"),
            (SAME, of_map(&[("p", "1", OLD)]), of_map(&[("p", "2", (51, None))]), "newer"),
            (VALUE, of_map(&[("p", "1", (99, None))]), of_map(&[("q", "1", now)]), "deleted beside another"),
        ],
    );
    // A dump that tells nothing: the cluster still tells what was written when.
    let told = [TOLD_BY_4, TOLD];
    let plain = |entries: &[(&str, &str)]| Some(Made::Untold(map(entries)));
    check_between(
        rules,
        told,
        "m",
        vec![
            (VALUE, plain(&[("p", "1")]), of_map(&[("p", "2", now)]), "as old as the load"),
            (SAME, plain(&[("p", "1")]), of_map(&[("p", "2", (51, None))]), "newer"),
            (VALUE, plain(&[("p", "1")]), of_map(&[("q", "2", now)]), "deleted beside another"),
            (SAME, plain(&[("p", "1")]), of_map(&[("q", "2", (51, None))]), "written over as a whole"),
        ],
    );
    check_between(
        rules,
        [&[], TOLD],
        "a",
        vec![(VALUE, x("1"), a("2", now), "untold"), (SAME, x("1"), a("2", (51, None)), "untold")],
    );
}

#[test]
fn what_ends_while_a_comparison_lasts_is_over_then() {
    let table = table(TOLD);
    let (dump, cluster) = (page(&table, ("a", a("1", LONG))), page(&table, ("a", None)));
    let row = |page| RowRef { page, row: 0 };
    let mut comparison = Comparison::new(&table, &table, VERIFY);
    for (now, is_over) in [(NOW, false), (4997, false), (4998, true), (5000, true)] {
        comparison.is_now(now);
        let found = comparison.cells(Regular, Some(row(&dump)), Some(row(&cluster))).unwrap();
        assert_eq!(found.is_empty(), is_over, "{now}");
        assert_eq!(comparison.is_missing(Regular, row(&dump)).unwrap(), !is_over, "{now}");
    }
}

#[test]
fn a_difference_tells_what_is_told_on_both_sides() {
    let table = table(TOLD);
    let (dump, cluster) = (page(&table, ("a", a("1", OLD))), page(&table, ("a", a("1", LONG))));
    let side = |page| Some(RowRef { page, row: 0 });
    let found = Comparison::new(&table, &table, VERIFY).cells(Regular, side(&dump), side(&cluster)).unwrap();
    let told = |written, expires| Told::Cell(Moment { written, expires });
    let column = table.columns.iter().position(|c| c.name == "a").unwrap();
    assert_eq!(
        found,
        [CellDifference { column, kind: Kind::Expiry, dump: told(10, None), cluster: told(10, Some(5000)) }]
    );
}

#[test]
fn companions_that_do_not_fit_are_refused() {
    let table = table(TOLD);
    let (torn, whole_set) = (Some(parts(b"torn".to_vec(), &[OLD])), set(&[("p", OLD)]));
    let (dump, cluster) = (page(&table, ("s", whole_set)), page(&table, ("s", torn)));
    let side = |page| Some(RowRef { page, row: 0 });
    let found = Comparison::new(&table, &table, VERIFY).cells(Regular, side(&dump), side(&cluster));
    assert_eq!(found, Err(Misfit));
}
