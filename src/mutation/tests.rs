//! Plans by hand, and properties of the plans of random rows. What a plan writes is taken apart here element by element
//! and compared with the row as it was made up, not as `plan` reads it.

use super::*;
use crate::table::ColumnKind::{self, PartitionKey, Regular, Static};
use crate::table::made::{self, At, Made, counted, fields, int, map, part, parts, texts, untold, whole};
use proptest::collection::vec;
use proptest::prelude::*;

const KEEP: Policy = Policy { write_times: WriteTimes::Keep, expiries: Expiries::Keep };
const UNTOLD: Stamp = Stamp { written: 77, life: Life::Default };

/// A moment without end, and one with.
const OLD: At = (10, None);
const NEW: At = (20, None);
const SHORT: At = (30, Some(500));
const LONG: At = (40, Some(900));

fn at((written, expires): At) -> Stamp {
    Stamp { written, life: expires.map_or(Life::Endless, Life::Until) }
}

fn write(moment: At, what: What) -> Write {
    Write { stamp: at(moment), what }
}

/// Columns, in page order: k, then by name; nothing is told of `x` and `xl`.
const COLUMNS: [(&str, &str); 8] = [
    ("a", "text"),
    ("b", "text"),
    ("l", "list<text>"),
    ("m", "map<text, text>"),
    ("s", "set<text>"),
    ("u", "u"),
    ("x", "text"),
    ("xl", "list<text>"),
];
const A: usize = 1;
const B: usize = 2;
const L: usize = 3;
const M: usize = 4;
const S: usize = 5;
const U: usize = 6;
const X: usize = 7;
const XL: usize = 8;

fn table(kind: ColumnKind) -> Table {
    let columns = COLUMNS.iter().map(|(name, cql_type)| (*name, kind, *cql_type));
    let key = std::iter::once(("k", PartitionKey, "int"));
    made::table(&key.chain(columns).collect::<Vec<_>>(), &["a", "b", "l", "m", "s", "u"])
}

fn plan_of(kind: ColumnKind, row: made::Row<'_>, policy: Policy, now: i64) -> Result<Plan, Misfit> {
    let table = table(kind);
    let row = [vec![("k", int(1))], row].concat();
    let page = made::page(&table, &[row]);
    let places = table.places(kind);
    let cells =
        Cells { table: &table, page: &page, row: 0, places: &places, is_row: kind == Regular, merges: false };
    plan(cells, policy, UNTOLD, now)
}

fn writes(row: made::Row<'_>) -> Vec<Write> {
    plan_of(Regular, row, KEEP, 0).unwrap().writes
}

// By hand.

#[test]
fn a_row_written_at_once_is_one_insert_of_all_its_cells() {
    assert_eq!(
        writes(vec![("a", whole("1", SHORT)), ("b", whole("2", SHORT))]),
        [write(SHORT, What::Insert(None))]
    );
}

#[test]
fn cells_of_two_moments_are_an_insert_and_an_update() {
    assert_eq!(
        writes(vec![("a", whole("1", NEW)), ("b", whole("2", OLD))]),
        [write(OLD, What::Insert(Some(vec![B]))), write(NEW, What::Update(Some(vec![A])))],
        "of two that never end, the one written first is the INSERT"
    );
    assert_eq!(
        writes(vec![("a", whole("1", SHORT)), ("b", whole("2", LONG))]),
        [write(LONG, What::Insert(Some(vec![B]))), write(SHORT, What::Update(Some(vec![A])))],
        "the one that ends last is the INSERT, though written later"
    );
    assert_eq!(
        writes(vec![("a", whole("1", SHORT)), ("b", whole("2", NEW))])[0],
        write(NEW, What::Insert(Some(vec![B]))),
        "without end is the latest end"
    );
}

#[test]
fn an_empty_cell_is_written_and_null_is_not() {
    assert_eq!(
        writes(vec![("a", whole("", NEW)), ("b", whole("2", OLD))])[1],
        write(NEW, What::Update(Some(vec![A])))
    );
}

#[test]
fn elements_of_one_moment_ride_whole_with_cells_of_that_moment() {
    let row = vec![
        ("a", whole("1", OLD)),
        ("s", parts(texts(&["p", "q"]), &[OLD, OLD])),
        ("m", parts(map(&[("p", "1"), ("q", "2")]), &[NEW, NEW])),
    ];
    assert_eq!(
        writes(row),
        [write(OLD, What::Insert(Some(vec![A, S]))), write(NEW, What::Update(Some(vec![M])))]
    );
}

#[test]
fn elements_of_several_moments_are_added_to_each_other() {
    let row = vec![
        ("a", whole("1", OLD)),
        ("s", parts(texts(&["p", "q", "r"]), &[OLD, NEW, OLD])),
        ("m", parts(map(&[("p", "1"), ("q", "2")]), &[SHORT, OLD])),
        ("u", Made::Parts(fields(&[Some("1"), None, Some("3")]), vec![Some(NEW), None, Some(SHORT)])),
    ];
    let mut found = writes(row);
    assert_eq!(found.remove(0), write(OLD, What::Insert(Some(vec![A]))));
    let text = |value: &str| Some(value.as_bytes().to_vec());
    let wanted = [
        write(OLD, What::Add(S, texts(&["p", "r"]))),
        write(OLD, What::Add(M, map(&[("q", "2")]))),
        write(NEW, What::Add(S, texts(&["q"]))),
        write(NEW, What::Fields(U, vec![text("1"), None, None])),
        write(SHORT, What::Add(M, map(&[("p", "1")]))),
        write(SHORT, What::Fields(U, vec![None, None, text("3")])),
    ];
    assert_eq!(found.len(), wanted.len());
    assert!(wanted.iter().all(|write| found.contains(write)), "{found:?}");
}

#[test]
fn a_row_of_nothing_but_mixed_elements_still_has_an_insert() {
    assert_eq!(
        writes(vec![("s", parts(texts(&["p", "q"]), &[NEW, OLD]))]),
        [
            write(OLD, What::Insert(Some(vec![]))),
            write(OLD, What::Add(S, texts(&["q"]))),
            write(NEW, What::Add(S, texts(&["p"]))),
        ]
    );
}

#[test]
fn fields_that_an_older_row_leaves_out_are_not_written() {
    let short = fields(&[Some("1"), Some("")]);
    let row = vec![("u", Made::Parts(short, vec![Some(OLD), Some(NEW), None]))];
    assert_eq!(
        writes(row)[1..],
        [
            write(OLD, What::Fields(U, vec![Some(b"1".to_vec()), None, None])),
            write(NEW, What::Fields(U, vec![None, Some(vec![]), None])),
        ]
    );
}

#[test]
fn a_list_is_written_alone_at_its_newest_moment_and_to_its_latest_end() {
    let list = texts(&["p", "q"]);
    assert_eq!(
        writes(vec![("a", whole("1", SHORT)), ("l", parts(list.clone(), &[LONG, SHORT]))]),
        [
            write(LONG, What::Insert(Some(vec![]))),
            write(SHORT, What::Update(Some(vec![A]))),
            write(LONG, What::List(L, list.clone())),
        ],
        "the row lasts as long as its list"
    );
    assert_eq!(
        writes(vec![("l", parts(list.clone(), &[(50, Some(500)), LONG]))]),
        [write((50, Some(900)), What::Insert(None)), write((50, Some(900)), What::List(L, list))]
    );
}

#[test]
fn elements_of_a_list_that_are_over_are_left_out_unless_all_are() {
    let list = texts(&["p", "q", "p"]);
    let written = |moments: [At; 3], policy: Policy, now: i64| {
        let row = vec![("l", parts(list.clone(), &moments))];
        let mut plan = plan_of(Regular, row, policy, now).unwrap();
        plan.writes.pop().unwrap()
    };
    let both = [SHORT, LONG, SHORT];
    assert_eq!(written(both, KEEP, 499), write(LONG, What::List(L, list.clone())));
    assert_eq!(written(both, KEEP, 500), write(LONG, What::List(L, texts(&["q"]))));
    assert_eq!(written(both, KEEP, 900), write(LONG, What::List(L, list.clone())), "left to who sends it");
    assert_eq!(written([SHORT, OLD, LONG], KEEP, 900).what, What::List(L, texts(&["q"])));
    let dropped = Policy { expiries: Expiries::Drop, ..KEEP };
    assert_eq!(written(both, dropped, 500), write((40, None), What::List(L, list.clone())));
}

#[test]
fn untold_cells_go_with_the_insert() {
    let plan = plan_of(
        Regular,
        vec![
            ("a", whole("1", SHORT)),
            ("b", whole("2", OLD)),
            ("x", untold("3")),
            ("xl", Made::Untold(texts(&["4"]))),
        ],
        KEEP,
        0,
    );
    let wanted = vec![
        write(OLD, What::Insert(Some(vec![B, X]))),
        write(SHORT, What::Update(Some(vec![A]))),
        write(OLD, What::List(XL, texts(&["4"]))),
    ];
    assert_eq!(plan, Ok(Plan { writes: wanted, untold: false }));
}

#[test]
fn a_row_of_which_nothing_is_told_is_one_insert_at_the_time_given() {
    let insert = Write { stamp: UNTOLD, what: What::Insert(None) };
    for row in [vec![], vec![("x", untold("3"))]] {
        let plan = plan_of(Regular, row, KEEP, 0);
        assert_eq!(plan, Ok(Plan { writes: vec![insert.clone()], untold: true }));
    }
    let list = Write { stamp: UNTOLD, what: What::List(XL, texts(&["4"])) };
    let plan = plan_of(Regular, vec![("xl", Made::Untold(texts(&["4"])))], KEEP, 0);
    assert_eq!(plan, Ok(Plan { writes: vec![insert, list], untold: true }));
}

#[test]
fn static_cells_are_updates_only() {
    let plan = |row| plan_of(Static, row, KEEP, 0).unwrap();
    assert_eq!(plan(vec![]), Plan { writes: vec![], untold: false });
    let list = texts(&["p"]);
    let row = vec![
        ("a", whole("1", SHORT)),
        ("b", whole("2", OLD)),
        ("l", parts(list.clone(), &[LONG])),
        ("x", untold("3")),
    ];
    let wanted = vec![
        write(OLD, What::Update(Some(vec![B, X]))),
        write(SHORT, What::Update(Some(vec![A]))),
        write(LONG, What::List(L, list.clone())),
    ];
    assert_eq!(plan(row), Plan { writes: wanted, untold: false });
    let wanted = vec![write(LONG, What::List(L, list.clone()))];
    assert_eq!(
        plan(vec![("l", parts(list, &[LONG]))]),
        Plan { writes: wanted, untold: false },
        "a list needs no other statement"
    );
    let wanted = vec![Write { stamp: UNTOLD, what: What::Update(None) }];
    assert_eq!(plan(vec![("x", untold("3"))]), Plan { writes: wanted, untold: true });
}

#[test]
fn other_write_times_and_expiries_can_be_asked_for() {
    let told = |write_times, expiries| {
        Policy { write_times, expiries }.told(crate::times::Moment { written: 30, expires: Some(500) })
    };
    let stamp = |written, life| Stamp { written, life };
    assert_eq!(told(WriteTimes::Keep, Expiries::Keep), stamp(30, Life::Until(500)));
    assert_eq!(told(WriteTimes::All(5), Expiries::Keep), stamp(5, Life::Until(500)));
    assert_eq!(told(WriteTimes::Keep, Expiries::Drop), stamp(30, Life::Endless));
    assert_eq!(told(WriteTimes::All(5), Expiries::Seconds(60)), stamp(5, Life::Seconds(60)));
    let untold = |write_times, expiries| Policy { write_times, expiries }.untold(77, Life::Default);
    assert_eq!(untold(WriteTimes::Keep, Expiries::Keep), stamp(77, Life::Default));
    assert_eq!(untold(WriteTimes::All(5), Expiries::Drop), stamp(5, Life::Endless));
    assert_eq!(untold(WriteTimes::Keep, Expiries::Seconds(60)), stamp(77, Life::Seconds(60)));
}

#[test]
fn one_moment_for_all_makes_one_statement_of_a_row_of_many() {
    let row = vec![
        ("a", whole("1", SHORT)),
        ("s", parts(texts(&["p", "q"]), &[OLD, LONG])),
        ("l", parts(texts(&["p"]), &[NEW])),
    ];
    let policy = Policy { write_times: WriteTimes::All(5), expiries: Expiries::Drop };
    assert_eq!(
        plan_of(Regular, row, policy, 0).unwrap().writes,
        [write((5, None), What::Insert(None)), write((5, None), What::List(L, texts(&["p"])))]
    );
}

#[test]
fn what_is_told_of_elements_that_are_not_there_is_refused() {
    for (column, cell) in [("s", texts(&["p"])), ("l", texts(&["p"])), ("m", map(&[("p", "1")]))] {
        let row = vec![(column, parts(cell, &[OLD, OLD]))];
        assert_eq!(plan_of(Regular, row, KEEP, 0), Err(Misfit), "{column}");
    }
    assert_eq!(plan_of(Regular, vec![("u", parts(fields(&[Some("1")]), &[OLD]))], KEEP, 0), Err(Misfit));
    assert_eq!(plan_of(Regular, vec![("s", parts(b"torn".to_vec(), &[OLD]))], KEEP, 0), Err(Misfit));
}

#[test]
fn an_element_of_which_nothing_is_told_beside_others_is_refused() {
    let half = vec![Some(OLD), None];
    for (column, cell) in [("s", texts(&["p", "q"])), ("m", map(&[("p", "1"), ("q", "2")]))] {
        for moments in [half.clone(), vec![None, None]] {
            let row = vec![(column, Made::Parts(cell.clone(), moments))];
            assert_eq!(plan_of(Regular, row, KEEP, 0), Err(Misfit), "{column}: it would be lost");
        }
    }
    let row = vec![("u", Made::Parts(fields(&[Some("1"), Some("2")]), vec![Some(OLD), None, None]))];
    assert_eq!(plan_of(Regular, row, KEEP, 0), Err(Misfit));
}

#[test]
fn cells_are_counted_once_and_lists_with_their_own_statement() {
    let table = table(Regular);
    let list = texts(&["p", "q"]);
    let row = vec![("k", int(1)), ("a", whole("1", OLD)), ("l", parts(list.clone(), &[OLD, OLD]))];
    let page = made::page(&table, &[row]);
    let places = table.places(Regular);
    let cells = Cells { table: &table, page: &page, row: 0, places: &places, is_row: true, merges: false };
    let counts = |what: What| what.cells(cells);
    assert_eq!(counts(What::Insert(None)), 1);
    assert_eq!(counts(What::Update(Some(vec![A, S]))), 2);
    assert_eq!(counts(What::List(L, list)), 1);
}

// Properties.

/// A column's cell as it was made up: its elements with their moments.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Simple(Vec<u8>, At),
    /// Key, bytes as `What::Add` has them, moment; a field's number is its key.
    Elements(Vec<(Vec<u8>, Vec<u8>, At)>),
    List(Vec<(Vec<u8>, At)>),
    Untold(Vec<u8>),
    UntoldList(Vec<u8>),
}

fn moment() -> impl Strategy<Value = At> {
    let expires = prop_oneof![3 => Just(None), 1 => Just(Some(500)), 1 => Just(Some(900))];
    (1..4_i64, expires)
}

/// Elements that share a moment as often as not.
fn moments(most: usize) -> impl Strategy<Value = Vec<At>> {
    prop_oneof![(moment(), 1..=most).prop_map(|(at, n)| vec![at; n]), vec(moment(), 1..=most)]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..3)
}

fn set_or_map(is_map: bool) -> impl Strategy<Value = Cell> {
    (moments(4), bytes()).prop_map(move |(moments, value)| {
        let element = |(number, at): (u8, At)| {
            let key = vec![number];
            let value = if is_map { part(Some(&value)) } else { Vec::new() };
            (key.clone(), [part(Some(key)), value].concat(), at)
        };
        Cell::Elements((0..).zip(moments).map(element).collect())
    })
}

fn user_type() -> impl Strategy<Value = Cell> {
    (moments(3), bytes(), 0..3_u8).prop_map(|(moments, value, first)| {
        let numbers = first..3;
        Cell::Elements(numbers.zip(moments).map(|(n, at)| (vec![n], value.clone(), at)).collect())
    })
}

fn or_null(cell: impl Strategy<Value = Cell> + 'static) -> impl Strategy<Value = Cell> {
    prop_oneof![1 => Just(Cell::Null), 2 => cell]
}

fn random_row() -> impl Strategy<Value = Vec<Cell>> {
    let simple = || or_null((bytes(), moment()).prop_map(|(b, at)| Cell::Simple(b, at)));
    let list = (moments(3), bytes())
        .prop_map(|(moments, b)| Cell::List(moments.into_iter().map(|at| (b.clone(), at)).collect()));
    let cells = (
        simple(),
        simple(),
        or_null(list),
        or_null(set_or_map(true)),
        or_null(set_or_map(false)),
        or_null(user_type()),
        or_null(bytes().prop_map(Cell::Untold)),
        or_null(bytes().prop_map(|b| Cell::UntoldList(counted(&[part(Some(b))])))),
    );
    cells.prop_map(|(a, b, l, m, s, u, x, xl)| vec![a, b, l, m, s, u, x, xl])
}

impl Cell {
    fn made(&self, column: usize) -> Option<Made> {
        Some(match self {
            Cell::Null => return None,
            Cell::Simple(bytes, at) => Made::Whole(bytes.clone(), *at),
            Cell::Untold(bytes) | Cell::UntoldList(bytes) => Made::Untold(bytes.clone()),
            Cell::List(all) => {
                let elements: Vec<_> = all.iter().map(|(bytes, _)| part(Some(bytes))).collect();
                Made::Parts(counted(&elements), all.iter().map(|(_, at)| Some(*at)).collect())
            }
            Cell::Elements(all) if column == U => {
                let find = |n: u8| all.iter().find(|(key, ..)| *key == [n]);
                let cell = (0..3).map(|n| part(find(n).map(|(_, bytes, _)| bytes))).collect::<Vec<_>>();
                Made::Parts(cell.concat(), (0..3).map(|n| find(n).map(|(.., at)| *at)).collect())
            }
            Cell::Elements(all) => {
                let elements: Vec<_> = all.iter().map(|(_, bytes, _)| bytes.clone()).collect();
                Made::Parts(counted(&elements), all.iter().map(|(.., at)| Some(*at)).collect())
            }
        })
    }

    /// What it and its elements are written at.
    fn moments(&self) -> Vec<At> {
        match self {
            Cell::Null | Cell::Untold(_) | Cell::UntoldList(_) => vec![],
            Cell::Simple(_, at) => vec![*at],
            Cell::Elements(all) => all.iter().map(|(.., at)| *at).collect(),
            Cell::List(all) => vec![newest(all)],
        }
    }
}

/// The newest write time and the latest expiry.
fn newest(list: &[(Vec<u8>, At)]) -> At {
    let written = list.iter().map(|(_, at)| at.0).max().unwrap();
    let ends: Option<Vec<i64>> = list.iter().map(|(_, at)| at.1).collect();
    (written, ends.map(|ends| ends.into_iter().max().unwrap()))
}

/// The INSERT's moment: the latest end, none being the latest; of those the smallest write time.
fn main_moment(row: &[Cell]) -> Option<At> {
    let all = row.iter().flat_map(Cell::moments);
    all.min_by_key(|(written, expires)| (std::cmp::Reverse(expires.unwrap_or(i64::MAX)), *written))
}

/// A piece of a row: column, element's key (none of a whole cell), bytes, and its stamp.
type Piece = (usize, Option<Vec<u8>>, Vec<u8>, (i64, Life));

/// What a row should come to, piece by piece.
fn wanted(row: &[Cell], now: i64) -> Vec<Piece> {
    let main = main_moment(row).map_or(UNTOLD, at);
    let mut pieces: Vec<Piece> = Vec::new();
    for (column, cell) in (1..).zip(row) {
        let mut piece = |key, bytes: &[u8], stamp: Stamp| {
            pieces.push((column, key, bytes.to_vec(), (stamp.written, stamp.life)));
        };
        match cell {
            Cell::Null => {}
            Cell::Simple(bytes, moment) => piece(None, bytes, at(*moment)),
            Cell::Elements(all) => {
                all.iter().for_each(|(key, bytes, moment)| piece(Some(key.clone()), bytes, at(*moment)));
            }
            Cell::List(all) => {
                let live: Vec<_> = all.iter().filter(|(_, at)| at.1.is_none_or(|e| e > now)).collect();
                let left = if live.is_empty() { all.iter().collect() } else { live };
                let elements: Vec<_> = left.iter().map(|(bytes, _)| part(Some(bytes))).collect();
                piece(None, &counted(&elements), at(newest(all)));
            }
            Cell::Untold(bytes) | Cell::UntoldList(bytes) => piece(None, bytes, main),
        }
    }
    pieces.sort();
    pieces
}

/// The elements that `What::Add` adds, found among those of the row by their bytes.
fn added(cell: &[u8], all: &[(Vec<u8>, Vec<u8>, At)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let count = u32::from_be_bytes(cell[..4].try_into().unwrap());
    let mut rest = &cell[4..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (key, bytes, _) = all.iter().find(|(_, bytes, _)| rest.starts_with(bytes)).unwrap();
        found.push((key.clone(), bytes.clone()));
        rest = &rest[bytes.len()..];
    }
    assert_eq!(usize::try_from(count).unwrap(), found.len());
    found
}

/// What writes come to, piece by piece; asserts that a collection rides whole only if it is one moment's.
fn written(writes: &[Write], row: &[Cell]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for Write { stamp, what } in writes {
        let mut piece = |column, key, bytes: &[u8]| {
            pieces.push((column, key, bytes.to_vec(), (stamp.written, stamp.life)));
        };
        let all: Vec<usize> =
            (1..=row.len()).filter(|c| ![L, XL].contains(c) && !matches!(row[c - 1], Cell::Null)).collect();
        match what {
            What::Insert(only) | What::Update(only) => {
                for column in only.as_ref().unwrap_or(&all) {
                    match &row[column - 1] {
                        Cell::Simple(bytes, _) | Cell::Untold(bytes) => piece(*column, None, bytes),
                        Cell::Elements(all) => {
                            all.iter().for_each(|(key, bytes, _)| piece(*column, Some(key.clone()), bytes));
                        }
                        other => panic!("{other:?} is not written whole"),
                    }
                }
            }
            What::Add(column, cell) => {
                let Cell::Elements(all) = &row[column - 1] else { panic!("{column} has no elements") };
                let added = added(cell, all);
                assert!(!added.is_empty() && added.len() < all.len(), "some, not all, of {all:?}");
                added.into_iter().for_each(|(key, bytes)| piece(*column, Some(key), &bytes));
            }
            What::Fields(column, fields) => {
                assert_eq!((*column, fields.len()), (U, 3));
                for (number, bytes) in (0..).zip(fields) {
                    bytes.iter().for_each(|bytes| piece(U, Some(vec![number]), bytes));
                }
            }
            What::List(column, cell) => piece(*column, None, cell),
        }
    }
    pieces.sort();
    pieces
}

fn made_row(row: &[Cell]) -> made::Row<'static> {
    let cells = COLUMNS.iter().zip((1..).zip(row));
    cells.filter_map(|((name, _), (column, cell))| Some((*name, cell.made(column)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn every_cell_and_element_is_written_once_and_at_its_own_stamp(
        row in random_row(),
        is_row in any::<bool>(),
        now in prop::sample::select(vec![0_i64, 500, 900]),
    ) {
        let kind = if is_row { Regular } else { Static };
        let plan = plan_of(kind, made_row(&row), KEEP, now).unwrap();
        prop_assert_eq!(written(&plan.writes, &row), wanted(&row, now));
        let told = main_moment(&row);
        let is_there = is_row || row.iter().any(|cell| !matches!(cell, Cell::Null));
        prop_assert_eq!(plan.untold, told.is_none() && is_there);
        let inserts = plan.writes.iter().filter(|w| matches!(w.what, What::Insert(_))).count();
        prop_assert_eq!(inserts, usize::from(is_row));
        if is_row {
            prop_assert!(matches!(plan.writes[0].what, What::Insert(_)));
            prop_assert_eq!(plan.writes[0].stamp, told.map_or(UNTOLD, at));
        }
    }

    #[test]
    fn each_moment_has_one_statement_for_its_whole_cells_and_none_writes_nothing(
        row in random_row(),
        is_row in any::<bool>(),
    ) {
        let kind = if is_row { Regular } else { Static };
        let writes = plan_of(kind, made_row(&row), KEEP, 0).unwrap().writes;
        let mut stamps = Vec::new();
        for Write { stamp, what } in &writes {
            match what {
                What::Insert(_) => stamps.push(*stamp),
                What::Update(Some(columns)) => {
                    prop_assert!(!columns.is_empty());
                    stamps.push(*stamp);
                }
                What::Update(None) => stamps.push(*stamp),
                What::Fields(_, fields) => prop_assert!(fields.iter().any(Option::is_some)),
                What::Add(..) | What::List(..) => {}
            }
        }
        for (number, stamp) in stamps.iter().enumerate() {
            prop_assert!(!stamps[..number].contains(stamp), "{stamp:?} twice in {writes:?}");
        }
    }

    #[test]
    fn one_time_and_one_life_for_all_leave_one_statement_and_the_lists(
        row in random_row(),
        seconds in prop::option::of(1..1000_i32),
    ) {
        let expiries = seconds.map_or(Expiries::Drop, Expiries::Seconds);
        let life = seconds.map_or(Life::Endless, Life::Seconds);
        let policy = Policy { write_times: WriteTimes::All(5), expiries };
        let untold = policy.untold(77, Life::Default);
        let table = table(Regular);
        let page = made::page(&table, &[[vec![("k", int(1))], made_row(&row)].concat()]);
        let places = table.places(Regular);
        let cells = Cells { table: &table, page: &page, row: 0, places: &places, is_row: true, merges: false };
        let writes = plan(cells, policy, untold, 700).unwrap().writes;
        let stamp = Stamp { written: 5, life };
        prop_assert!(writes.iter().all(|w| w.stamp == stamp));
        prop_assert_eq!(&writes[0].what, &What::Insert(None));
        prop_assert!(writes[1..].iter().all(|w| matches!(w.what, What::List(..))));
        // Nothing is over: what does not expire any more is written, elements of lists too.
        let all = |row: &[Cell]| -> Vec<(usize, Option<Vec<u8>>, Vec<u8>)> {
            wanted(row, 0).into_iter().map(|(column, key, bytes, _)| (column, key, bytes)).collect()
        };
        let found: Vec<_> = written(&writes, &row).into_iter().map(|(c, key, bytes, _)| (c, key, bytes)).collect();
        prop_assert_eq!(found, all(&row));
    }
}
