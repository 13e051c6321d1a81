//! A keyspace that chance made up, there and back: values by their wire bytes, write times and expiries as the server tells
//! them. `CQLIFT_SEEDS="7 20..40"` tries these seeds (both ends included) instead of the usual one.

use crate::clocks::compare_times;
use crate::harness::{Node, Ran, Scratch, TestKeyspace};
use crate::random_schema::Schema;
use crate::random_values::Chance;
use crate::random_writes::fill;
use crate::roundtrip::compare;

#[test]
fn random_keyspaces_come_back() {
    for seed in seeds() {
        there_and_back(Node::get("5.0"), seed);
    }
}

#[test]
fn random_keyspaces_come_back_on_a_server_that_tells_less() {
    for seed in seeds() {
        there_and_back(Node::get("4.1"), seed);
    }
}

/// The seeds to try.
pub fn seeds() -> Vec<u64> {
    const USUAL: &str = "1";
    let named = std::env::var("CQLIFT_SEEDS").unwrap_or_default();
    let text = if named.trim().is_empty() { USUAL } else { &named };
    let number =
        |n: &str| -> u64 { n.parse().unwrap_or_else(|_| panic!("CQLIFT_SEEDS: {n:?} is no number")) };
    let range = |word: &str| match word.split_once("..") {
        Some((first, last)) => number(first)..=number(last),
        None => number(word)..=number(word),
    };
    text.split_whitespace().flat_map(range).collect()
}

/// Makes the keyspace of a seed, sends it through both formats, and panics with all that was lost on the way.
fn there_and_back(node: Node, seed: u64) {
    println!("seed {seed} on Cassandra {}", node.version);
    let mut chance = Chance::new(seed);
    let schema = Schema::new(&mut chance, &node.version);
    let source = TestKeyspace::on(node, "random");
    let statements = schema.statements();
    let told = format!("seed {seed} on Cassandra {}\n{};", source.node.version, statements.join(";\n"));
    for statement in &statements {
        source.db.try_execute(statement).unwrap_or_else(|error| panic!("{error}\n{told}"));
    }
    for table in &schema.tables {
        fill(&source.db, table, &mut chance).unwrap_or_else(|error| panic!("{error}\n{told}"));
    }
    for format in ["parquet", "csv"] {
        let differences = lost(&source, format);
        assert!(differences.is_empty(), "{}\nthrough {format}\n{told}", differences.join("\n"));
    }
}

/// What differs after a journey through a format; a step that fails is all that is told then.
fn lost(source: &TestKeyspace, format: &str) -> Vec<String> {
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target(format));
    let map = format!("{}={target}", source.name);
    let mut differences = Vec::new();
    let verify = || source.node.run(["verify", &dir, "--map", &map]);
    let steps: [&dyn Fn() -> Ran; 3] =
        [&|| source.dump(&dir, format), &|| source.load(&dir, &target, &[]), &verify];
    for step in steps {
        let done = step().done();
        if done.code != Some(0) {
            differences.push(done.told());
            break;
        }
    }
    if source.db.names("keyspace_name", "keyspaces", &target).is_empty() {
        return differences;
    }
    let mut of_values = Vec::new();
    let rows = compare(&source.db, &source.name, &target, &mut of_values);
    println!("{rows} rows through {format}");
    differences.extend(of_values);
    differences.extend(compare_times(&source.db, &source.name, &target));
    differences
}
