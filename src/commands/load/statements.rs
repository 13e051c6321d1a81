//! Running the statements of a load, and the record of what was changed in them. Which are run, and how they read, is left
//! to the plan.

use super::plan::Plan;
use super::schema::{Existing, Step, Unsupported};
use crate::cluster::{Cluster, IN_STATEMENT};
use crate::commands::{OutputArgs, rfc3339};
use crate::ddl::fitting::unmasked;
use crate::ddl::options::{self, OptionText, Parts};
use crate::ddl::{self, Kind, Section, Statement};
use crate::error::{Context, Error, Result};
use crate::report;
use crate::store::state::default_folder;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Objects that are named where many were changed alike.
const NAMED: usize = 3;

/// A change in a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `table ks.t`.
    pub object: String,
    /// In words.
    pub change: String,
}

/// Runs statements, and keeps what was changed in them.
pub struct Runner<'a> {
    cluster: &'a Cluster,
    plan: &'a Plan,
    /// A server that refuses an option is not asked without it.
    strict: bool,
    output: OutputArgs,
    /// All changes so far.
    pub changes: Vec<Change>,
    /// What the target refused to make, and what needs it, where that was to be left out.
    pub left_out: Vec<Unsupported>,
    /// The statements that are not run: that the target cannot hold, and what it refused.
    gone: Vec<Statement>,
    /// How many changes and statements of those the user knows of.
    told: usize,
    record: Record,
}

impl<'a> Runner<'a> {
    /// Has run nothing yet.
    pub fn new(
        cluster: &'a Cluster,
        plan: &'a Plan,
        (strict, mut record): (bool, Record),
        output: OutputArgs,
    ) -> Runner<'a> {
        for statement in &plan.gone {
            let label = statement.label();
            let why = plan.unsupported.iter().filter(|left_out| left_out.object == label);
            let why: Vec<&str> = why.map(|left_out| left_out.why.as_str()).collect();
            record.pending.push_str(&left_out_text(statement, &why.join("; ")));
        }
        let (changes, left_out, gone) = (Vec::new(), Vec::new(), plan.gone.clone());
        Runner { cluster, plan, strict, output, changes, left_out, gone, told: 0, record }
    }

    /// Where it is written what was changed and what left out; `None` if nothing was.
    pub fn record(&self) -> Option<&Path> {
        (self.recorded() > 0).then_some(&self.record.path)
    }

    fn recorded(&self) -> usize {
        self.changes.len() + self.gone.len()
    }

    /// Runs the statements of a section, and writes down what was run if anything was changed or left out so far.
    ///
    /// # Errors
    /// `Error` shows the first statement that failed, with all that did after the data.
    pub async fn run(&mut self, section: Section) -> Result<()> {
        let before = self.changes.len();
        let done = self.run_all(section).await;
        if self.recorded() > 0 {
            self.record.write();
        }
        self.tell(before);
        done
    }

    /// Tells of the changes from this one on right away, since what follows may fail.
    fn tell(&mut self, from: usize) {
        if self.output.quiet || self.told == self.recorded() {
            return;
        }
        self.told = self.recorded();
        lines(&self.changes[from..]).iter().for_each(|line| report::note(line));
        let log = self.record.path.display();
        report::note(&format!("the schema as it was run, with each change and what was left out: {log}"));
    }

    async fn run_all(&mut self, section: Section) -> Result<()> {
        let mut failures: Vec<Error> = Vec::new();
        let plan = self.plan;
        for step in plan.steps.iter().filter(|s| s.statement.kind.section() == section) {
            if step.existing != Existing::No {
                self.note_kept(step);
                self.record.pending.push_str(&step.text(None));
                continue;
            }
            match self.create(step).await {
                Ok(()) => {}
                Err(error) if plan.skip_unsupported && self.can_go(step, &error) => {
                    let why = error.to_string();
                    self.leave_out(step, why.lines().next().unwrap_or_default().to_owned());
                }
                // Indexes and views stand alone: one that fails must not keep the others from being made.
                Err(error) if section == Section::PostData => failures.push(error),
                Err(error) => {
                    return Err(error.hint(
                        "what stands before it in the schema was created and stays; no data was loaded",
                    ));
                }
            }
        }
        self.cluster.agree().await?;
        match failures.pop() {
            None => Ok(()),
            Some(error) => {
                failures.iter().for_each(|e| report::note(&format!("error: {e}")));
                Err(error.hint(
                    "the data is loaded whole; only this index or view is missing, and can be made by hand",
                ))
            }
        }
    }

    /// Whether the server's refusal is one of what it does not have, and no row is lost without it. Not every server tells
    /// beforehand what is switched off (3.11 does not).
    fn can_go(&self, step: &Step, error: &Error) -> bool {
        let refused = [
            "disabled",
            "not enabled",
            "not supported",
            "unsupported",
            "enable_",
            "unable to find custom indexer",
        ];
        let words = server_words(error).to_ascii_lowercase();
        !matches!(step.statement.kind, Kind::Keyspace | Kind::Type | Kind::Table)
            && refused.iter().any(|word| words.contains(word))
    }

    fn leave_out(&mut self, step: &Step, why: String) {
        report::warn(&format!("left out: {}: {why}", step.label()));
        self.record.pending.push_str(&left_out_text(&step.statement, &why));
        self.left_out.push(Unsupported { object: step.label(), why });
        self.gone.push(step.statement.clone());
    }

    /// Runs a statement, unless options are held to strictly without those that the server refuses by name.
    async fn create(&mut self, step: &Step) -> Result<()> {
        let statement = self.unmasked(step)?;
        if let Some(gone) = self.gone.iter().find(|gone| statement.needs(gone)) {
            let why = format!("it needs {}", gone.label());
            self.leave_out(step, why);
            return Ok(());
        }
        let mut made = Step { statement, changes: step.changes.clone(), existing: step.existing };
        while let Err(error) = self.cluster.run_ddl(&made.statement.cql).await {
            let words = server_words(&error);
            let Some((shorter, option)) = without_refused(&made.statement, &words) else {
                return Err(match words.contains("already exist") {
                    true => error.hint(MADE_MEANWHILE),
                    false => error,
                });
            };
            if self.strict {
                return Err(error.hint("without --strict-ddl the option would be left out"));
            }
            let change = format!("{option} dropped: the server refuses it");
            report::warn(&format!("{}: {change}", step.label()));
            made.changes.push(change);
            made.statement = shorter;
        }
        self.record.pending.push_str(&made.text(self.plan.server.as_ref()));
        let object = step.label();
        let changes = made.changes.into_iter().map(|change| Change { object: object.clone(), change });
        self.changes.extend(changes);
        Ok(())
    }

    /// The statement of a step, without those masks whose functions were left out.
    fn unmasked(&mut self, step: &Step) -> Result<Statement> {
        let gone: Vec<&Statement> = self.gone.iter().collect();
        let doing = || format!("take masks off {}", step.label());
        let (statement, lost) = unmasked(step.statement.clone(), &gone).doing(doing)?;
        for why in lost {
            report::warn(&format!("left out of {}: {why}", step.label()));
            self.left_out.push(Unsupported { object: step.label(), why });
        }
        Ok(statement)
    }

    fn note_kept(&self, step: &Step) {
        match step.existing {
            Existing::Differs => report::warn(&format!(
                "{} exists and is kept, though it differs from the dump's",
                step.label()
            )),
            _ if self.output.quiet => {}
            _ => report::note(&format!("{} exists and is kept", step.label())),
        }
    }
}

/// Why something may exist that did not when the load began.
const MADE_MEANWHILE: &str = "something has made it meanwhile, perhaps a run of this load that was stopped just before: run the \
                              same command again";

/// The statements as they were run, in a file of their own; loads of the same dump stand there one after another.
pub struct Record {
    path: PathBuf,
    /// What is not written yet.
    pending: String,
}

impl Record {
    /// In this file, or in one for the dump in the user's state directory.
    pub fn new(path: Option<PathBuf>, dump: &str) -> Record {
        let safe: String = dump.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let path = path.unwrap_or_else(|| default_folder().join(format!("load-{safe}.cql")));
        let now = rfc3339(SystemTime::now());
        Record { path, pending: format!("-- dump {}, loaded {now}\n\n", ddl::one_line(dump)) }
    }

    /// Writes it. That it cannot be written keeps no load from going on.
    fn write(&mut self) {
        if let Err(error) = self.try_write() {
            report::warn(&format!("the changes of the schema are not written down: {error}"));
        }
    }

    fn try_write(&mut self) -> Result<()> {
        let doing = || format!("write {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).doing(doing)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        options.open(&self.path).doing(doing)?.write_all(self.pending.as_bytes()).doing(doing)?;
        self.pending.clear();
        Ok(())
    }
}

/// A statement that is not run, as a comment: whoever can use it in another form has it there.
fn left_out_text(statement: &Statement, why: &str) -> String {
    let lines = statement.cql.lines().map(|line| format!("-- {line}\n"));
    let head = ddl::one_line(&format!("{}: {why}", statement.label()));
    format!("-- left out: {head}\n{}\n", lines.collect::<String>())
}

/// What the server said of a statement, without the statement.
fn server_words(error: &Error) -> String {
    let text = error.to_string();
    text.split_once(IN_STATEMENT).map_or(text.as_str(), |(words, _)| words).to_owned()
}

/// The statement without what the server's words refuse of its options, and that; `None` if they refuse nothing of it.
fn without_refused(statement: &Statement, words: &str) -> Option<(Statement, String)> {
    if !matches!(statement.kind, Kind::Keyspace | Kind::Table | Kind::View) {
        return None;
    }
    let mut parts = Parts::of(statement).ok()?;
    let refused = without_option(&mut parts, words).or_else(|| without_value(&mut parts, words))?;
    Some((Statement::parse(&parts.cql()).ok()?, refused))
}

/// Takes out the option that the server's words call unknown. Cassandra and ScyllaDB name one at a time: `Unknown property
/// 'memtable'` (measured 3.11 to 5.0).
fn without_option(parts: &mut Parts, words: &str) -> Option<String> {
    let quoted = || words.split_once("Unknown property '")?.1.split_once('\'').map(|(name, _)| name);
    // A configuration of memtables is a name in the node's own file.
    let memtable = || words.contains("Memtable configuration").then_some("memtable");
    let name = quoted().or_else(memtable)?.to_ascii_lowercase();
    let at = parts.options.iter().position(|option| option.name == name)?;
    Some(parts.options.remove(at).text)
}

/// Options whose values name classes and settings that not every server has, and a word of those that refuse them.
const REFUSABLE: [(&str, &str); 3] =
    [("compaction", "compaction"), ("compression", "compress"), ("caching", "caching")];

/// Takes out the sub-options that the server's words name, else the option that they are about. Measured on 3.11 to 5.0:
/// `Properties specified [a, b] are not understood by SizeTieredCompactionStrategy`, `Unknown compression options a`,
/// `Invalid caching sub-options [a]: …`, `Unable to find compaction strategy class '…'`, `Could not create Compression for
/// type …`, `Invalid value 99p for option 'speculative_retry'` (of both options that take such values). ScyllaDB's, not run by
/// us: `Invalid compaction strategy options {"a": "1"} for chosen strategy type` (its `compaction_strategy.cc`).
fn without_value(parts: &mut Parts, words: &str) -> Option<String> {
    let lower = words.to_ascii_lowercase();
    // What is refused stands in brackets where what is allowed is told, too.
    let brackets = words.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let naming = brackets.map_or(words, |(inside, _)| inside);
    let named: BTreeSet<&str> = naming.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for (name, about) in REFUSABLE {
        let Some(at) = parts.options.iter().position(|option| option.name == name) else { continue };
        let mut entries = options::map(&parts.options[at].value).unwrap_or_default();
        let is_about =
            lower.contains(about) || (name == "compaction" && lower.contains("are not understood by"));
        let is_refused = |(key, _): &mut (String, String)| {
            // Words that people use as well count where they are about the option.
            key != "class" && named.contains(key.as_str()) && (is_about || key.contains('_'))
        };
        let refused: Vec<(String, String)> = entries.extract_if(.., is_refused).collect();
        if !refused.is_empty() {
            parts.options[at] = OptionText::new(name, &options::print_map(&entries));
            return Some(format!("{} of {name}", options::print_map(&refused)));
        }
        if is_about {
            return Some(parts.options.remove(at).text);
        }
    }
    let is_refused = |option: &OptionText| {
        let value = option.value.trim_matches('\'');
        ["speculative_retry", "additional_write_policy"].contains(&option.name.as_str())
            && lower.contains("speculative_retry")
            && words.contains(value)
    };
    let at = parts.options.iter().position(is_refused)?;
    Some(parts.options.remove(at).text)
}

/// Changes for people: those that are alike in one line.
fn lines(changes: &[Change]) -> Vec<String> {
    let mut alike: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Change { object, change } in changes {
        alike.entry(change).or_default().push(object);
    }
    let line = |(change, objects): (&str, Vec<&str>)| {
        let named = objects.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        match objects.len().saturating_sub(NAMED) {
            0 => format!("changed: {change} ({named})"),
            more => format!("changed: {change} ({named} and {more} more)"),
        }
    };
    alike.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_server_names_is_left_out() {
        let table = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'Unknown property ''x''' AND \"new\" = 1 AND x = {'a': 1};";
        let statement = Statement::parse(table).unwrap();
        let (shorter, option) = without_refused(&statement, "line 1: Unknown property 'x'").unwrap();
        assert_eq!(option, "x = {'a': 1}");
        assert!(!shorter.cql.contains("{'a': 1}") && shorter.cql.contains("comment = "), "{}", shorter.cql);
        for words in ["Unknown property 'y'", "Unknown property", "no such table"] {
            assert_eq!(without_refused(&statement, words), None, "{words}");
        }
        let memtable =
            Statement::parse("CREATE TABLE ks.t (k int PRIMARY KEY) WITH memtable = 'trie'").unwrap();
        let (_, option) = without_refused(&memtable, "Memtable configuration \"trie\" not found.").unwrap();
        assert_eq!(option, "memtable = 'trie'");
    }

    /// The words of servers, measured on 3.11.19 and 5.0.6, and those of ScyllaDB from its source (not run by us).
    #[test]
    fn a_value_that_the_server_refuses_is_left_out() {
        let table = "CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'x' AND caching = {'keys': 'ALL', 'foo': '1'} \
                     AND compaction = {'class': 'com.example.X', 'foo': '1', 'min_threshold': '4'} \
                     AND compression = {'class': 'LZ4Compressor', 'foo': '1'} AND additional_write_policy = '99p' \
                     AND speculative_retry = '95p'";
        let statement = Statement::parse(table).unwrap();
        for (words, option) in [
            (
                "Unable to find compaction strategy class 'com.example.X'",
                "compaction = {'class': 'com.example.X', 'foo': '1', 'min_threshold': '4'}",
            ),
            ("Properties specified [bar, foo] are not understood by X", "{'foo': '1'} of compaction"),
            ("1 is not a parsable int (base10) for min_threshold", "{'min_threshold': '4'} of compaction"),
            ("Unknown compression options foo", "{'foo': '1'} of compression"),
            (
                "Could not create Compression for type com.example.X",
                "compression = {'class': 'LZ4Compressor', 'foo': '1'}",
            ),
            (
                "Invalid caching sub-options [foo]: only 'keys' and 'rows_per_partition' are allowed",
                "{'foo': '1'} of caching",
            ),
            ("Invalid value 99p for option 'speculative_retry'", "additional_write_policy = '99p'"),
            ("Invalid value 95p for option 'speculative_retry'", "speculative_retry = '95p'"),
            (
                "Invalid compaction strategy options {\"foo\": \"1\"} for chosen strategy type",
                "{'foo': '1'} of compaction",
            ),
            ("Unknown compression option 'foo'.", "{'foo': '1'} of compression"),
        ] {
            let (shorter, refused) = without_refused(&statement, words).unwrap();
            assert_eq!(refused, option, "{words}");
            let of =
                |s: &Statement| Parts::of(s).unwrap().options.iter().map(|o| o.value.len()).sum::<usize>();
            let is_less = of(&shorter) < of(&statement);
            assert!(is_less && shorter.cql.contains("comment = 'x'"), "{}", shorter.cql);
        }
        for words in ["foo: no such table", "the keys are wrong", "Cannot add existing table ks.t"] {
            assert_eq!(without_refused(&statement, words), None, "{words}");
        }
    }

    #[test]
    fn changes_that_are_alike_are_told_once() {
        let change = |object: &str, change: &str| Change { object: object.into(), change: change.into() };
        let all: Vec<Change> = (0..5).map(|n| change(&format!("table ks.t{n}"), "a dropped")).collect();
        let all = [all, vec![change("table ks.t0", "b dropped")]].concat();
        assert_eq!(
            lines(&all),
            [
                "changed: a dropped (table ks.t0, table ks.t1, table ks.t2 and 2 more)",
                "changed: b dropped (table ks.t0)"
            ]
        );
    }
}
