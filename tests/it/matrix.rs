//! Every version to every version and topology to topology, for `scripts/test --long`: what is slow, and what writes the
//! table of the README. The servers are those of `scripts/test`, and `5.0-three`: three nodes with other numbers of tokens.

use crate::compact;
use crate::harness::{Node, SCYLLA, Scratch, TestKeyspace};
use crate::migrate::{Journey, SCHEMAS, everywhere, journey};
use crate::roundtrip::compare_across;
use crate::script::Script;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

/// The versions that are always there, and a ScyllaDB if `CQLIFT_NODES` names one.
fn versions() -> Vec<&'static str> {
    let scylla = Node::all().iter().any(|node| node.version == SCYLLA).then_some(SCYLLA);
    ["3.11", "4.0", "4.1", "5.0"].into_iter().chain(scylla).collect()
}

/// Where the table stands in the file that `CQLIFT_MATRIX` names.
const MARKS: [&str; 2] = ["<!-- written by scripts/test --long -->", "<!-- until here -->"];

#[test]
#[ignore = "takes a quarter of an hour: scripts/test --long"]
fn every_version_to_every_version() {
    let mut table =
        "| from | to | rows, all equal | left out | options rewritten | not told by the source |\n\
                     |---|---|---|---|---|---|\n"
            .to_owned();
    let mut failures = Vec::new();
    for from in versions() {
        for to in versions().into_iter().filter(|to| *to != from) {
            let mut all = Journey::default();
            let replication = everywhere(to, 2);
            let vectors = if from == "5.0" { vec!["vectors"] } else { vec![] };
            for schema in SCHEMAS.iter().chain(&vectors) {
                match journey(from, to, schema, &["--skip-unsupported", "--replication", &replication]) {
                    Ok(one) => all.add(one),
                    Err(error) => {
                        failures.push(format!("== schemas/{schema}.cql from {from} to {to}\n{error}"))
                    }
                }
            }
            if ![from, to].contains(&SCYLLA) {
                all.rows += compact::moves(from, to);
            }
            let line = all.line(from, to);
            println!("{line}");
            writeln!(table, "{line}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{} failed:\n\n{}", failures.len(), failures.join("\n\n"));
    if let Ok(path) = std::env::var("CQLIFT_MATRIX") {
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(MARKS[0]).expect("the marks stand in the file");
        let (_, after) = rest.split_once(MARKS[1]).expect("the marks stand in the file");
        let date = Command::new("date").args(["-u", "+%F"]).output().unwrap().stdout;
        let date = String::from_utf8(date).unwrap();
        let date = date.trim();
        let [begin, end] = MARKS;
        let written = format!("{before}{begin}\nRun on {date}.\n\n{table}{end}{after}");
        std::fs::write(&path, written).unwrap();
    }
}

impl Journey {
    fn add(&mut self, other: Journey) {
        self.rows += other.rows;
        self.left_out.extend(other.left_out);
        self.changes.extend(other.changes);
        self.not_preserved.extend(other.not_preserved);
    }

    fn line(&self, from: &str, to: &str) -> String {
        let whys = self.left_out.iter().filter(|(_, why)| !why.starts_with("it needs"));
        let options =
            self.changes.iter().map(|change| change.split(" = ").next().unwrap_or(change).to_owned());
        let lines = [
            listed(whys.map(|(object, why)| format!("{object}: {why}"))),
            listed(options.map(|option| format!("`{option}`"))),
            listed(self.not_preserved.iter().cloned()),
        ];
        format!("| {from} | {to} | {} | {} |", self.rows, lines.join(" | "))
    }
}

fn listed(texts: impl Iterator<Item = String>) -> String {
    let distinct: BTreeSet<String> = texts.map(|text| text.replace('|', "\\|")).collect();
    if distinct.is_empty() { "–".to_owned() } else { distinct.into_iter().collect::<Vec<_>>().join("; ") }
}

/// One node to three at a factor of three, and three to one: a dump of one topology is what another one holds.
#[test]
#[ignore = "needs three nodes more: scripts/test --long"]
fn one_node_to_three_and_three_to_one() {
    for (from, to, replication) in [("5.0", "5.0-three", "3"), ("5.0-three", "5.0", "1")] {
        let source = TestKeyspace::on(Node::get(from), "topology");
        for schema in ["all_types", "counters", "keys", "nested", "statics"] {
            Script::named(schema).run(&source.db, "5.0").unwrap();
        }
        let target = TestKeyspace::on(Node::get(to), "landing");
        target.db.execute(&format!("DROP KEYSPACE {}", target.name));
        let scratch = Scratch::new();
        let dir = scratch.path("dump");
        source.dump(&dir, "parquet").success();
        let map = format!("{}={}", source.name, target.name);
        target.node.run(["load", &dir, "--map", &map, "--replication", replication]).success();
        for (node, map) in [(&source.node, None), (&target.node, Some(&map))] {
            let map: Vec<&str> = map.iter().flat_map(|map| ["--map", map]).collect();
            node.run([&["verify", &dir[..]], &map[..]].concat()).success();
        }
        let mut differences = Vec::new();
        let rows = compare_across([(&source.db, &source.name), (&target.db, &target.name)], &mut differences);
        assert!(differences.is_empty() && rows > 400, "{rows} rows\n{}", differences.join("\n"));
    }
}
