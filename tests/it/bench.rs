//! A smoke of `scripts/bench`, on the tests' server and with the tests' binaries: that every work of cqlift is measured
//! and deals with every row, and that the report is written. Its figures mean nothing here.

use crate::harness::{NEWEST, Node, Scratch, json, tool};
use std::path::Path;

/// What cqlift is measured at, as the report names it.
const WORKS: [&str; 10] = [
    "export, CSV",
    "dump of values, CSV",
    "dump of values, Parquet",
    "dump with times, Parquet",
    "verify of values",
    "verify with times",
    "load of values, Parquet",
    "load of values, CSV",
    "import, CSV",
    "load with times, Parquet",
];

#[test]
fn the_benchmark_measures_every_work() {
    let node = Node::get(NEWEST);
    let scratch = Scratch::new();
    let report = scratch.path("report");
    let binaries = Path::new(env!("CARGO_BIN_EXE_cqlift")).parent().unwrap();
    assert!(
        binaries.join("limits").exists(),
        "the smoke of the benchmark needs its baseline beside cqlift: `cargo test --no-run` builds it"
    );
    let output = tool(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/bench"))
        .args(["--smoke", "--node", &node.address(), "--bin-dir"])
        .arg(binaries)
        .args(["--out", &report, "--work-dir", &scratch.path(""), "--keyspace"])
        .arg(format!("bench_smoke_{}", std::process::id()))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    // The script itself compares the rows of every run with those that were made.
    assert!(output.status.success(), "{}\n{err}", output.status);

    let page = std::fs::read_to_string(format!("{report}/RESULTS.md")).unwrap();
    let numbers = json(format!("{report}/results.json"));
    for work in WORKS {
        let row = page.lines().find(|line| line.starts_with(&format!("| cqlift {work} | ")));
        let wall = row.and_then(|row| row.split('|').nth(2)).and_then(|cell| cell.split_whitespace().next());
        let wall = wall.unwrap_or_else(|| panic!("no row for {work} in\n{page}"));
        assert!(wall.parse::<f64>().is_ok_and(|seconds| seconds > 0.0), "{work}: {wall}\n{page}");
        for who in ["cqlift", "raw", "start-up"] {
            let samples = numbers["samples"].as_array().unwrap();
            let of_work =
                |s: &&serde_json::Value| s["table"] == "iot" && s["work"] == work && s["who"] == who;
            let runs = &samples.iter().find(of_work).unwrap_or_else(|| panic!("{work}: no {who}"))["runs"];
            assert_eq!(runs.as_array().map(Vec::len), Some(1), "{work}, {who}: {runs}");
        }
    }
    assert_eq!(numbers["rows"]["iot"], 500);
    let chart = std::fs::read_to_string(format!("{report}/results.svg")).unwrap();
    assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"), "{chart}");
    for bar in ["raw drain", "cqlift export, CSV", "raw push", "cqlift import, CSV"] {
        assert!(chart.contains(&format!(">{bar}</text>")), "no bar {bar:?} in\n{chart}");
    }
}
