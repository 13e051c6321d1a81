//! The README's tour, typed in by a test: every command of its console blocks runs, and prints what the page shows.

use crate::harness::{Db, NEWEST, Node, Scratch, python, tool};
use std::path::Path;

const SECTION: &str = "five-minute tour";

/// A command with the output lines that the page shows below it.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands of the `console` blocks in the section whose heading has `SECTION` in it.
fn tour(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut in_section, mut block) = (false, None);
    for line in readme.lines() {
        match (block, line) {
            (None, heading) if heading.starts_with("## ") => in_section = heading.contains(SECTION),
            (None, fence) if fence.starts_with("```") => block = Some(in_section && fence == "```console"),
            (Some(_), "```") => block = None,
            (Some(true), line) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.to_owned(), shown: Vec::new() });
                }
                // A command goes on after a backslash.
                (None, Some(step)) if step.command.ends_with('\\') => {
                    step.command.push('\n');
                    step.command.push_str(line.strip_prefix("> ").unwrap_or(line));
                }
                (None, Some(step)) => step.shown.push(line.to_owned()),
                (None, None) => panic!("output before the first command: {line}"),
            },
            _ => {}
        }
    }
    steps
}

/// Whether `printed` has a line like `shown`, in which `…` stands for anything.
fn appears(shown: &str, printed: &str) -> bool {
    printed.lines().any(|line| {
        let mut rest = line.trim();
        let pieces: Vec<&str> = shown.trim().split('…').collect();
        pieces.iter().enumerate().all(|(i, piece)| match rest.find(piece) {
            Some(at) if i > 0 || at == 0 => {
                rest = &rest[at + piece.len()..];
                true
            }
            _ => false,
        }) && (rest.is_empty() || shown.trim().ends_with('…'))
    })
}

#[test]
fn the_tour_of_the_readme_runs() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&readme).expect("README.md");
    let steps = tour(&text);
    assert!(!steps.is_empty(), "README.md has no console block under \"A {SECTION}\"");
    let node = Node::get(NEWEST);
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("tour")).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_cqlift")).parent().unwrap().to_str().unwrap();
    // The tour's other tools, cqlsh and Python with DuckDB, are in the environment that scripts/test makes.
    let python = python();
    let others = Path::new(&python).parent().unwrap().to_str().unwrap();
    let db = Db::connect(&node);
    for keyspace in ["shop", "shop_copy"] {
        db.execute(&format!("DROP KEYSPACE IF EXISTS {keyspace}"));
    }
    for Step { command, shown } in steps {
        let command = command.replace("-h 127.0.0.1", &format!("-h {}", node.host));
        let output = tool("bash")
            .args(["-euo", "pipefail", "-c", &command])
            .current_dir(scratch.path("tour"))
            .env("PATH", format!("{binaries}:{others}:{}", std::env::var("PATH").unwrap_or_default()))
            .env("CQLIFT_HOST", &node.host)
            .env("CQLIFT_PORT", node.port.to_string())
            .env("CQLSH_HOST", &node.host)
            .env("CQLSH_PORT", node.port.to_string())
            .output()
            .unwrap();
        let printed = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b)).concat();
        assert!(output.status.success(), "$ {command}\n[{}]\n{printed}", output.status);
        for line in shown.iter().filter(|line| !line.trim().is_empty()) {
            assert!(appears(line, &printed), "$ {command}\nlacks: {line}\n{printed}");
        }
    }
}

#[test]
fn the_tour_is_read_as_people_read_it() {
    let readme = "# x\n## Install\n```console\n$ not this\n```\n## A five-minute tour\nWords.\n```console\n$ a \\\n    b\nout …\n\
                  $ c\n```\n```json\n$ no\n```\n## Next\n```console\n$ nor this\n```\n";
    let step = |command: &str, shown: &[&str]| Step {
        command: command.into(),
        shown: shown.iter().map(|s| (*s).to_owned()).collect(),
    };
    assert_eq!(tour(readme), [step("a \\\n    b", &["out …"]), step("c", &[])]);
    for (shown, expected) in [
        ("12 rows", true),
        ("… rows", true),
        ("12 …", true),
        ("1… rows", true),
        ("…", true),
        ("2 rows", false),
        ("12", false),
        ("13 …", false),
    ] {
        assert_eq!(appears(shown, "first\n  12 rows\n"), expected, "{shown}");
    }
}
