//! The demo of the README, run as it stands, on the tests' server and with the tests' binary.

use crate::harness::{NEWEST, Node, Scratch, tool};

#[test]
fn the_demo_runs_to_its_end() {
    let node = Node::get(NEWEST);
    let scratch = Scratch::new();
    let output = tool(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo"))
        .arg(scratch.path("out"))
        .env("CQLIFT_NODES", format!("{NEWEST}={}", node.address()))
        .env("CQLIFT_BIN", env!("CARGO_BIN_EXE_cqlift"))
        .envs(std::env::var_os("CQLIFT_CACHE").map(|cache| ("CQLIFT_CACHE", cache)))
        .output()
        .unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    // The sample of January and February 2013 has 51,955 flights (demo/README.md), and the key keeps all of them apart.
    for line in [
        "demo.flights: 51955 rows, equal to the 51955 lines of the file in every column",
        "demo_copy.flights: 51955 rows, equal to the 51955 lines of the file in every column",
    ] {
        assert!(out.contains(line), "no line {line:?} in\n{out}\n{err}");
    }
}
