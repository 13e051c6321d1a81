//! What `verify DIR -h HOST --json` tells, and the two ways in which it ends.

use crate::harness::{Done, Node};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The key of a row, or of a partition.
pub type Key = &'static [(&'static str, &'static str)];

/// A difference as `--json` tells it.
#[derive(Debug, Deserialize)]
pub struct Difference {
    pub table: String,
    pub range: Option<String>,
    pub key: Option<BTreeMap<String, Option<String>>>,
    pub column: Option<String>,
    pub kind: String,
    pub dump: Option<String>,
    pub cluster: Option<String>,
}

impl Difference {
    pub fn has_key(&self, key: Key) -> bool {
        let expected = key.iter().map(|(name, cell)| ((*name).to_owned(), Some((*cell).to_owned())));
        self.key.as_ref() == Some(&expected.collect())
    }

    /// Whether `(start, end]`, the range that it names, has a token.
    pub fn is_around(&self, token: i64) -> bool {
        let range = self.range.as_deref().unwrap_or_default();
        let bounds =
            range.strip_prefix('(').and_then(|r| r.strip_suffix(']')).and_then(|r| r.split_once(", "));
        let (start, end) = bounds.unwrap_or_else(|| panic!("{range:?} is no range"));
        start.parse::<i64>().unwrap() < token && token <= end.parse::<i64>().unwrap()
    }
}

/// Something that was not compared, as `--json` tells it.
#[derive(Debug, Deserialize)]
pub struct NotCompared {
    pub object: String,
    pub what: String,
    pub reason: String,
}

/// What `verify --json` printed.
#[derive(Debug, Deserialize)]
pub struct Findings {
    pub tables: u64,
    pub parts: u64,
    pub rows: u64,
    pub differences: Vec<Difference>,
    pub more: u64,
    pub not_compared: Vec<NotCompared>,
}

impl Findings {
    #[track_caller]
    pub fn of(done: &Done) -> Findings {
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}\n{}", done.told()))
    }

    /// Object and subject of what was not compared, in a certain order.
    pub fn left_alone(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.not_compared.iter().map(|left| format!("{}: {}", left.object, left.what)).collect();
        all.sort();
        all
    }

    /// Kind, key and column of each difference, in a certain order.
    pub fn brief(&self) -> Vec<String> {
        let one = |d: &Difference| {
            let cells = d.key.iter().flatten().map(|(_, cell)| cell.as_deref().unwrap_or("null"));
            let key = cells.collect::<Vec<_>>().join(",");
            format!("{} {key} {}", d.kind, d.column.as_deref().unwrap_or("-"))
        };
        let mut all: Vec<String> = self.differences.iter().map(one).collect();
        all.sort();
        all
    }
}

/// Compares a dump with a cluster, which are to be the same.
#[track_caller]
pub fn passes(node: &Node, dir: &str, args: &[&str]) -> Findings {
    let done = node.run([&["verify", dir, "--json"], args].concat()).success();
    let findings = Findings::of(&done);
    assert!(findings.differences.is_empty() && findings.more == 0, "{}", done.told());
    findings
}

/// Compares a dump with a cluster, which are to differ.
#[track_caller]
pub fn differs(node: &Node, dir: &str, args: &[&str]) -> Findings {
    let done = node.run([&["verify", dir, "--json"], args].concat()).fails(4);
    let findings = Findings::of(&done);
    assert!(!findings.differences.is_empty(), "{}", done.told());
    findings
}

/// The judge itself: a range has its end, not its start.
#[test]
fn ranges_are_half_open() {
    let text = r#"{"table": "ks.t", "range": "(-5, 5]", "kind": "value"}"#;
    let difference: Difference = serde_json::from_str(text).unwrap();
    assert_eq!([-5, -4, 5, 6].map(|token| difference.is_around(token)), [false, true, true, false]);
}
