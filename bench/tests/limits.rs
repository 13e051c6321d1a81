//! The program itself, as far as it needs no server. With servers it is run by the smoke test of `scripts/bench`.

#![allow(clippy::unwrap_used, reason = "tests state facts; helpers outside #[test] functions do so too")]

use std::process::{Command, Output};

fn limits(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_limits")).args(arguments).output().unwrap()
}

#[test]
fn a_mistyped_command_is_told_from_a_failed_one() {
    let mistyped = limits(&["drain"]);
    assert_eq!(mistyped.status.code(), Some(2), "{mistyped:?}");
    // Nothing listens on the discard port of this address.
    let failed = limits(&["drain", "ks.t", "-h", "127.255.255.1", "-P", "9"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).starts_with("error: "), "{failed:?}");
    assert!(failed.stdout.is_empty(), "{failed:?}");
}
