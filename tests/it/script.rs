//! The test schemas in `schemas/*.cql`: split into statements and run against a keyspace.
//!
//! A file is plain CQL with unqualified names, so people can read it and other tools can run most of it. What literals
//! cannot say stands in lines that CQL takes for comments:
//!
//! ```text
//! --bind INSERT INTO t (a, b, c) VALUES (?, ?, ?) : 0x0000_0001, null, unset
//! --repeat 1..2000 INSERT INTO t (a, b) VALUES ('k', $i)
//! --needs 5.0
//! --file-needs 5.0
//! ```
//! `--bind` binds raw bytes (`0x` is the empty value, `_` may separate digits); `--repeat` runs its statement for every
//! `$i` of the range, both ends included; `--needs` leaves out the next statement, and `--file-needs` the whole file, on
//! servers that are older. A ScyllaDB counts as the oldest, and runs of the rest what it takes.

use crate::harness::{Db, RawCell, RawRow, SCYLLA};
use std::path::{Path, PathBuf};

/// One thing a script does.
#[derive(Debug, PartialEq)]
pub enum Action {
    Statement(String),
    Bind(String, RawRow),
    Repeat(u32, u32, String),
}

/// An action with its line in the file.
#[derive(Debug, PartialEq)]
pub struct Step {
    pub line: usize,
    pub needs: Option<String>,
    pub action: Action,
}

/// A file of `schemas/`.
#[derive(Debug)]
pub struct Script {
    pub name: String,
    pub needs: Option<String>,
    pub steps: Vec<Step>,
}

impl Script {
    /// All files of `schemas/`, by name.
    pub fn all() -> Vec<Script> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "cql"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Script::open(path)).collect()
    }

    /// The file `schemas/NAME.cql`.
    pub fn named(name: &str) -> Script {
        Script::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.cql")))
    }

    fn open(path: &Path) -> Script {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap().to_str().unwrap();
        Script::parse(name, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Reads the text of a script; the error names the line.
    pub fn parse(name: &str, text: &str) -> Result<Script, String> {
        let mut script = Script { name: name.into(), needs: None, steps: Vec::new() };
        let mut reader = Reader { text, at: 0, line: 1 };
        let mut needs = None;
        while let Some((line, piece)) = reader.next()? {
            let action = match piece {
                Piece::Statement(cql) => Action::Statement(cql),
                Piece::Directive(directive) => {
                    let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
                    let at = |what: String| format!("line {line}: {what}");
                    match word {
                        "--needs" => {
                            needs = Some(rest.trim().to_owned());
                            continue;
                        }
                        "--file-needs" => {
                            script.needs = Some(rest.trim().to_owned());
                            continue;
                        }
                        "--bind" => bind(rest).map_err(at)?,
                        "--repeat" => repeat(rest).map_err(at)?,
                        _ => continue,
                    }
                }
            };
            script.steps.push(Step { line, needs: needs.take(), action });
        }
        Ok(script)
    }

    /// Whether a server of `version` can run the file.
    pub fn suits(&self, version: &str) -> bool {
        suits(self.needs.as_deref(), version)
    }

    /// Runs the file in the session's keyspace, all of it.
    ///
    /// # Errors
    /// Everything that the server refused, with file and line.
    pub fn run(&self, db: &Db, version: &str) -> Result<(), String> {
        let steps = self.steps.iter().filter(|step| suits(step.needs.as_deref(), version));
        let refused = steps.filter_map(|step| {
            let done = match &step.action {
                Action::Statement(cql) => db.try_execute(cql),
                Action::Bind(cql, row) => db.try_bind(cql, row),
                Action::Repeat(from, to, cql) => {
                    db.try_each((*from..=*to).map(|i| cql.replace("$i", &i.to_string())))
                }
            };
            let error = done.err()?;
            Some(format!("schemas/{}.cql line {}: {error}", self.name, step.line))
        });
        let refused: Vec<String> = refused.collect();
        if version == SCYLLA {
            refused.iter().for_each(|line| println!("left out: {line}"));
            return Ok(());
        }
        if refused.is_empty() { Ok(()) } else { Err(refused.join("\n")) }
    }
}

fn suits(needs: Option<&str>, version: &str) -> bool {
    let number = |v: &str| -> Vec<u32> { v.split(['.', '-']).map_while(|n| n.parse().ok()).collect() };
    needs.is_none_or(|needs| number(version) >= number(needs))
}

fn bind(text: &str) -> Result<Action, String> {
    let (cql, values) = text.rsplit_once(" : ").ok_or("--bind needs ` : ` before its values")?;
    let cells = values.split(',').map(|value| cell(value.trim())).collect::<Result<Vec<_>, _>>()?;
    let marks = cql.matches('?').count();
    if marks != cells.len() {
        return Err(format!("{marks} question marks, {} values", cells.len()));
    }
    Ok(Action::Bind(cql.to_owned(), RawRow(cells)))
}

fn cell(text: &str) -> Result<RawCell, String> {
    match text {
        "null" => return Ok(RawCell::Null),
        "unset" => return Ok(RawCell::Unset),
        _ => {}
    }
    let digits = text.strip_prefix("0x").ok_or(format!("{text:?} is not 0x…, null or unset"))?;
    let digits: Vec<char> = digits.chars().filter(|c| *c != '_').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok())
        .collect::<Option<Vec<u8>>>()
        .filter(|_| digits.len().is_multiple_of(2))
        .map(RawCell::Value)
        .ok_or(format!("{text:?} is not whole bytes in hex"))
}

fn repeat(text: &str) -> Result<Action, String> {
    let (range, cql) = text.split_once(' ').ok_or("--repeat needs a range and a statement")?;
    let ends = range.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (from, to) = ends.ok_or(format!("{range:?} is not a range"))?;
    Ok(Action::Repeat(from, to, cql.to_owned()))
}

enum Piece<'a> {
    Statement(String),
    Directive(&'a str),
}

/// Cuts a script: comments go, strings, quoted names and `$$` bodies stay whole, `;` ends a statement.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(usize, Piece<'a>)>, String> {
        let mut statement = String::new();
        let mut first = self.line;
        loop {
            let rest = &self.text[self.at..];
            let blank = statement.trim().is_empty();
            let Some(c) = rest.chars().next() else {
                return if blank {
                    Ok(None)
                } else {
                    Err(format!("line {first}: no ; after the last statement"))
                };
            };
            if blank {
                first = self.line;
            }
            if rest.starts_with("--") || rest.starts_with("//") {
                let comment = self.take(rest.find('\n').unwrap_or(rest.len()));
                if comment.strip_prefix("--").is_some_and(|c| c.starts_with(char::is_alphabetic)) {
                    if blank {
                        return Ok(Some((first, Piece::Directive(comment.trim_end()))));
                    }
                    return Err(format!("line {}: a directive inside a statement", self.line));
                }
            } else if rest.starts_with("/*") {
                self.take_quoted(rest, 2, "*/")?;
            } else if c == '\'' || c == '"' {
                statement.push_str(self.take_quoted(rest, 1, &c.to_string())?);
            } else if rest.starts_with("$$") {
                statement.push_str(self.take_quoted(rest, 2, "$$")?);
            } else {
                let piece = self.take(c.len_utf8());
                if c == ';' {
                    return Ok(Some((first, Piece::Statement(statement.trim().to_owned()))));
                }
                statement.push_str(piece);
            }
        }
    }

    /// Takes up to and with `end`, which is looked for after the opening. A doubled quote is two strings that touch.
    fn take_quoted(&mut self, rest: &'a str, opening: usize, end: &str) -> Result<&'a str, String> {
        match rest[opening..].find(end) {
            Some(found) => Ok(self.take(opening + found + end.len())),
            None => Err(format!("line {}: no closing {end}", self.line)),
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let piece = &self.text[self.at..self.at + len];
        self.at += len;
        self.line += piece.matches('\n').count();
        piece
    }
}

#[test]
fn a_script_is_cut_at_the_semicolons_that_count() {
    let text = r#"-- Covers; nothing.
CREATE TABLE t (a int PRIMARY KEY); // said
INSERT INTO "x;""y" (a) VALUES ('it''s; -- not') /* ; */ ;
CREATE FUNCTION f AS $$ return ';'; // stays
$$;
--needs 5.0
--bind INSERT INTO t (a, b, c) VALUES (?, ?, ?) : 0x00_01, null, unset
--bind UPDATE t SET a = ? : 0x
--repeat 1..3 INSERT INTO t (a) VALUES ($i)
"#;
    let script = Script::parse("t", text).unwrap();
    let step = |line, needs: Option<&str>, action| Step { line, needs: needs.map(str::to_owned), action };
    let statement = |cql: &str| Action::Statement(cql.to_owned());
    let bound = |cql: &str, cells| Action::Bind(cql.to_owned(), RawRow(cells));
    assert_eq!(
        script.steps,
        [
            step(2, None, statement("CREATE TABLE t (a int PRIMARY KEY)")),
            step(3, None, statement(r#"INSERT INTO "x;""y" (a) VALUES ('it''s; -- not')"#)),
            step(4, None, statement("CREATE FUNCTION f AS $$ return ';'; // stays\n$$")),
            step(
                7,
                Some("5.0"),
                bound(
                    "INSERT INTO t (a, b, c) VALUES (?, ?, ?)",
                    vec![RawCell::Value(vec![0, 1]), RawCell::Null, RawCell::Unset],
                ),
            ),
            step(8, None, bound("UPDATE t SET a = ?", vec![RawCell::Value(vec![])])),
            step(9, None, Action::Repeat(1, 3, "INSERT INTO t (a) VALUES ($i)".into())),
        ]
    );
}

#[test]
fn a_script_with_a_mistake_is_refused_with_its_line() {
    for (text, message) in [
        ("SELECT 1", "line 1: no ; after the last statement"),
        ("\nSELECT 'a;", "line 2: no closing '"),
        ("SELECT\n--bind x : 0x00\n;", "line 2: a directive inside a statement"),
        ("--bind x = ? : 0x0", "line 1: \"0x0\" is not whole bytes in hex"),
        ("--bind x = ? : 0x00, 0x00", "line 1: 1 question marks, 2 values"),
        ("--repeat x y", "line 1: \"x\" is not a range"),
    ] {
        assert_eq!(Script::parse("t", text).unwrap_err(), message, "{text:?}");
    }
    assert!(suits(Some("4.1"), "5.0") && !suits(Some("5.0"), "4.1") && suits(None, "3.11"));
}

#[test]
fn every_schema_says_what_it_covers() {
    for script in Script::all() {
        let path = format!("{}/schemas/{}.cql", env!("CARGO_MANIFEST_DIR"), script.name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-- "), "{path} does not begin with a comment");
        assert!(!script.steps.is_empty(), "{path} does nothing");
    }
}
