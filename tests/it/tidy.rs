//! The law of the house, read from the sources: who may use whom, and that no test file is forgotten.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The law as `src/lib.rs` states it: groups from left to right, and the order inside some of them.
struct Law {
    /// `a → {b, c} → d`; a module may use everything in groups to the right of its own.
    groups: Vec<Vec<String>>,
    /// `b → c`: inside one group, again from left to right.
    inner: Vec<Vec<String>>,
    sentence: String,
}

impl Law {
    /// Reads the page: under the heading "The import law" the first code with arrows is the law, and all others in that
    /// section are orders inside a group.
    fn read(page: &str) -> Law {
        let lines = page.lines().filter_map(|line| line.strip_prefix("//!"));
        let section: Vec<&str> = lines
            .skip_while(|line| line.trim() != "# The import law")
            .skip(1)
            .take_while(|line| !line.trim_start().starts_with("# "))
            .map(str::trim)
            .collect();
        let section = section.join(" ");
        let mut chains = section.split('`').skip(1).step_by(2).filter(|code| code.contains('→'));
        let sentence = chains.next().expect("src/lib.rs states the law under \"# The import law\"");
        let chain = |code: &str| -> Vec<Vec<String>> {
            let names = |group: &str| -> Vec<String> {
                let names = group.split(',').map(|n| n.trim_matches(|c: char| !c.is_alphanumeric()));
                names.map(str::to_owned).collect()
            };
            code.split('→').map(names).collect()
        };
        Law {
            groups: chain(sentence),
            inner: chains.map(|code| chain(code).concat()).collect(),
            sentence: sentence.to_owned(),
        }
    }

    fn of_this_crate() -> Law {
        Law::read(&std::fs::read_to_string(repository().join("src/lib.rs")).unwrap())
    }

    fn knows(&self, module: &str) -> bool {
        self.groups.iter().flatten().any(|known| known == module)
    }

    /// Why `user` may not use `used`, if so.
    fn broken(&self, user: &str, used: &str) -> Option<String> {
        let group = |module: &str| self.groups.iter().position(|g| g.iter().any(|m| m == module));
        let ordered = |chain: &Vec<String>| {
            let place = |module: &str| chain.iter().position(|m| m == module);
            place(user).zip(place(used)).is_some_and(|(a, b)| a < b)
        };
        let reason = match (group(user), group(used)) {
            _ if user == used => return None,
            (None, _) => format!("the law does not know `{user}`"),
            (_, None) => format!("the law does not know `{used}`"),
            (Some(a), Some(b)) if a < b => return None,
            (Some(a), Some(b)) if a == b && self.inner.iter().any(ordered) => return None,
            (Some(a), Some(b)) if a == b => "modules of one group do not use each other".into(),
            _ => format!("`{user}` stands to the right of `{used}`"),
        };
        Some(format!("`{user}` uses `{used}`: {reason}\n    {}", self.sentence))
    }
}

/// The modules of this crate that a source names: in `use crate::…` with or without braces, in paths, as `cqlift::…`, and
/// as `super::…` where that leads to the root, from which the file's module is `depth` steps away. Comments are left
/// out; test modules are code like any other.
fn used_modules(source: &str, depth: usize) -> Vec<String> {
    let code = without_comments(source);
    let mut found = beyond_super(&code, depth);
    for root in ["crate::", "cqlift::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            found.extend(first_names(&code[at + root.len()..]));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What `super::super::…` names at the root.
fn beyond_super(code: &str, depth: usize) -> Vec<String> {
    const STEP: &str = "super::";
    let mut found = Vec::new();
    for (at, _) in code.match_indices(STEP) {
        let before = &code[..at];
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let chain = &code[at..];
        let rest = chain.trim_start_matches(STEP);
        let steps = (chain.len() - rest.len()) / STEP.len();
        if steps == depth + usize::from(is_in_inline_module(before)) {
            found.extend(first_names(rest));
        }
    }
    found
}

/// Whether code after `before` stands in a `mod name { … }` of its file, which rustfmt ends with a brace at the margin.
fn is_in_inline_module(before: &str) -> bool {
    let mut inside = false;
    for line in before.lines() {
        let bare = line.trim_start_matches("pub ");
        inside = (inside || bare.starts_with("mod ") && bare.ends_with('{')) && line != "}";
    }
    inside
}

/// The names with which a path, or each path of a brace group, begins.
fn first_names(path: &str) -> Vec<String> {
    let path = path.trim_start();
    match path.strip_prefix('{') {
        Some(group) => heads(group),
        None => head(path).into_iter().collect(),
    }
}

/// The first name of each path in a brace group whose opening brace has been taken.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut expect = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expect = true,
            c if expect && !c.is_whitespace() => {
                names.extend(head(&group[at..]));
                expect = false;
            }
            _ => {}
        }
    }
    names
}

/// The name a path begins with.
fn head(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The source without `//` comments. A `//` inside a string loses the rest of its line too, which hides nothing that
/// this test looks for unless code follows a URL on one line.
fn without_comments(source: &str) -> String {
    let code = source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Each file of `src/` with the top module it belongs to; `lib.rs` is only the list of them.
fn sources() -> Vec<(String, PathBuf)> {
    let root = repository().join("src");
    let module = |path: &PathBuf| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let all = rust_files(&root).into_iter().map(|path| (module(&path), path));
    all.filter(|(module, _)| module != "lib").collect()
}

/// Steps from the root to the module of a file.
fn depth(path: &Path) -> usize {
    let below = path.strip_prefix(repository().join("src")).unwrap();
    let is_root = ["lib.rs", "main.rs", "mod.rs"].iter().any(|name| below.ends_with(name));
    below.components().count() - usize::from(is_root)
}

#[test]
fn the_import_law_holds() {
    let law = Law::of_this_crate();
    let modules: Vec<String> = sources().into_iter().map(|(module, _)| module).collect();
    let mut breaches = Vec::new();
    for (module, path) in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        // A name that is no module is an item of lib.rs or a macro; lib.rs has nothing but modules.
        let used = used_modules(&text, depth(&path)).into_iter().filter(|name| modules.contains(name));
        breaches.extend(
            used.filter_map(|used| law.broken(&module, &used))
                .map(|breach| format!("{}: {breach}", path.display())),
        );
    }
    assert!(breaches.is_empty(), "the import law is broken:\n{}", breaches.join("\n"));
}

#[test]
fn the_law_and_the_sources_have_the_same_modules() {
    let law = Law::of_this_crate();
    let present: BTreeSet<String> = sources().into_iter().map(|(module, _)| module).collect();
    let stated: BTreeSet<String> = law.groups.iter().flatten().cloned().collect();
    assert_eq!(present, stated, "src/ on the left, the law of src/lib.rs on the right");
    for module in law.inner.iter().flatten() {
        assert!(law.knows(module), "`{module}` has an order inside a group, but no group");
    }
}

#[test]
fn the_law_is_read_from_all_forms_of_use() {
    for (source, expected) in [
        ("use crate::rows::Cell;", vec!["rows"]),
        ("use crate::{error::Error, types::{self, cql}};", vec!["error", "types"]),
        ("use crate::{\n    rows,\n    ring::Ring,\n};", vec!["ring", "rows"]),
        ("let x = crate::ring::whole();", vec!["ring"]),
        ("use cqlift::cli;", vec!["cli"]),
        ("// use crate::cluster;", vec![]),
        ("pub(crate) fn f() {}", vec![]),
        ("use mycrate::cluster;", vec![]),
        ("macro!($crate::cluster)", vec![]),
        ("use super::cql;", vec![]),
    ] {
        assert_eq!(used_modules(source, 2), expected, "{source}");
    }
}

#[test]
fn the_law_is_read_from_supers_that_lead_out_of_a_module() {
    let file = |path: &str| depth(&repository().join("src").join(path));
    for (path, source, expected) in [
        ("rows.rs", "use super::cluster::Cluster;", vec!["cluster"]),
        ("rows.rs", "use super::{ring, table::Table};", vec!["ring", "table"]),
        ("types/mod.rs", "use super::rows;", vec!["rows"]),
        ("types/map.rs", "use super::cql;", vec![]),
        ("types/map.rs", "use super::super::rows::Cell;", vec!["rows"]),
        ("types/map.rs", "fn f() -> super::super::ring::Token {}", vec!["ring"]),
        ("format/csv/sink.rs", "use super::super::parquet;", vec![]),
        ("format/csv/sink.rs", "use super::super::super::{store, rows::Cell};", vec!["rows", "store"]),
        (
            "rows.rs",
            "fn f() {\n}\nmod tests {\n    use super::*;\n    use super::super::ring;\n}",
            vec!["ring"],
        ),
        ("rows.rs", "mod inner {\n    use super::Cell;\n}\nuse super::ring;", vec!["ring"]),
        ("types/map.rs", "mod tests {\n    use super::super::check;\n}", vec![]),
        ("rows.rs", "// use super::ring;", vec![]),
    ] {
        assert_eq!(used_modules(source, file(path)), expected, "{path}: {source}");
    }
}

#[test]
fn the_law_forbids_what_it_should() {
    let law = Law::read(
        "//! # The import law\n//!\n//! Left may:\n//! `main → {cluster, format}\n//! → {table, types, rows} → error`, within \
         `table → types → rows`. `x` is not.\n//! # Words\n//! `a → b`",
    );
    for (user, used, reason) in [
        ("main", "error", None),
        ("table", "rows", None),
        ("rows", "error", None),
        ("rows", "rows", None),
        ("rows", "types", Some("of one group")),
        ("format", "cluster", Some("of one group")),
        ("rows", "cluster", Some("stands to the right")),
        ("newcomer", "error", Some("does not know `newcomer`")),
        ("error", "newcomer", Some("does not know `newcomer`")),
    ] {
        match (law.broken(user, used), reason) {
            (None, None) => {}
            (Some(said), Some(reason)) if said.contains(reason) => {}
            (said, _) => panic!("{user} → {used}: {said:?}, not {reason:?}"),
        }
    }
}

#[test]
fn every_test_file_is_registered() {
    let folder = repository().join("tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for path in rust_files(&folder) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let line = format!("mod {name};");
        assert!(
            name == "main" || main.lines().any(|l| l.trim() == line),
            "tests/it/main.rs lacks `{line}`: {name}.rs would never run"
        );
    }
}
