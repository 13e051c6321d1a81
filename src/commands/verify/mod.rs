//! `cqlift verify`: the files of a dump against its manifest, or a cluster against the dump.

pub mod cluster;
mod files;
mod merge;
mod reorder;

use super::{BudgetArgs, OutputArgs, interruptible, plural};
use crate::cluster::catalogue::Schema;
use crate::cluster::{Cluster, ConnectArgs};
use crate::commands::parts::TableParts;
use crate::compare::{Kind as Differs, Rules};
use crate::error::{Context, Error, Result};
use crate::manifest::Manifest;
use crate::progress::Progress;
use crate::report;
use crate::selector::{Mapping, Selection};
use crate::store::{DumpDir, MANIFEST};
use crate::table::Table;
use clap::Args;
use cluster::Pair;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Differences of a table that are listed; the others are counted.
pub const LISTED: usize = 100;

/// Characters of a value that a line shows.
const IN_LINE: usize = 200;

/// Characters of a value that JSON tells.
const IN_JSON: usize = 4096;

/// Check the files of a dump against its manifest, or with -h a cluster against the dump
#[derive(Args)]
pub struct VerifyArgs {
    /// Directory that `cqlift dump` wrote
    #[arg(value_name = "DIR")]
    pub dump: PathBuf,
    /// What to compare: ks or ks.table by the dump's names, globs allowed; all if none is named
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Leave these out: ks or ks.table by the dump's names, globs allowed; may repeat
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// The cluster has it under another name: ks=ks2 or ks.table=ks2.table2; may repeat
    #[arg(long, value_name = "OLD=NEW")]
    pub map: Vec<String>,
    /// Compare values alone, neither write times nor expiries
    #[arg(long)]
    pub values_only: bool,
    /// Whether a cluster is compared: if -h names one on the command line. CQLIFT_HOST alone does not, so that checking
    /// files never depends on the environment.
    #[arg(skip)]
    pub asks_cluster: bool,
    /// What it may use up
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// How to reach the cluster
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What was compared, and what differs.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// Tables compared.
    pub tables: u64,
    /// Files read, or compared.
    pub parts: u64,
    /// Rows of the dump.
    pub rows: u64,
    /// What differs.
    pub differences: Vec<Difference>,
    /// How many more differences there are than are listed.
    pub more: u64,
    /// Of those, by table, how many are rows that the cluster lacks, and how many are not.
    #[serde(skip)]
    pub unlisted: BTreeMap<String, (u64, u64)>,
    /// What was left alone although both sides, or one, could have it.
    pub not_compared: Vec<NotCompared>,
}

/// Something that was not compared: that nothing else differs says nothing about it.
#[derive(Debug, Serialize)]
pub struct NotCompared {
    /// What it concerns: `*`, or `keyspace.table.column` as the dump calls the table.
    pub object: String,
    /// What of it.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl NotCompared {
    /// Write times and expiries, of everything or of a column.
    fn times(object: String, reason: impl Into<String>) -> NotCompared {
        NotCompared { object, what: "write times and expiries".to_owned(), reason: reason.into() }
    }

    /// A column that only the cluster has.
    fn column(table: &Table, name: &str) -> NotCompared {
        NotCompared {
            object: format!("{}.{name}", table.full_name()),
            what: "the column".to_owned(),
            reason: "the dump has no such column".to_owned(),
        }
    }

    /// It in one line.
    fn line(&self) -> String {
        format!("not compared: {} ({}): {}", self.what, self.object, self.reason)
    }
}

/// A place where two sides differ.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The table as the dump calls it, or the dump.
    pub table: String,
    /// The token range, of the dump's tokens if the cluster has the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// The row's key, or a partition's: columns and values as text, in the key's order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_object")]
    pub key: Vec<(String, String)>,
    /// The cell's column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What kind of difference.
    pub kind: Kind,
    /// What the dump has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump: Option<String>,
    /// What the cluster has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The difference in words, where it is not one between two cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Between rows, or between two cells.
    Row(Differs),
    /// Of a table as a whole.
    Table,
    /// Of a file.
    File,
}

impl Kind {
    /// The name in reports.
    fn name(self) -> &'static str {
        match self {
            Kind::Row(kind) => kind.name(),
            Kind::Table => "table",
            Kind::File => "file",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A text of at most so many characters, and a sign that there are more.
fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Pairs as an object that has them in their order.
fn as_object<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(name, value)| (name, value)))
}

impl Difference {
    /// Whether it is a row that the cluster lacks.
    pub fn is_missing_row(&self) -> bool {
        self.kind == Kind::Row(Differs::MissingRow)
    }

    /// One that concerns files, or a table as a whole.
    fn of(kind: Kind, table: &str, what: String) -> Difference {
        Difference {
            table: table.to_owned(),
            range: None,
            key: Vec::new(),
            column: None,
            kind,
            dump: None,
            cluster: None,
            what: Some(what),
        }
    }

    /// It in one line.
    pub fn line(&self) -> String {
        if let Some(what) = &self.what {
            return format!("{}: {what}", self.table);
        }
        // As in a CSV file, where nothing at all is null.
        let shown =
            |text: &str| if text.is_empty() { "\"\"".to_owned() } else { cut(text.to_owned(), IN_LINE) };
        let key: Vec<String> =
            self.key.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
        let mut line = format!("{}, row {}", self.table, key.join(", "));
        if let Some(column) = &self.column {
            line.push_str(&format!(", column {column}"));
        }
        line.push_str(&match self.kind {
            Kind::Row(Differs::MissingRow) => ": the cluster has no such row".to_owned(),
            Kind::Row(Differs::ExtraRow) => ": the dump has no such row".to_owned(),
            kind => {
                let side = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), shown);
                let (dump, cluster) = (side(&self.dump), side(&self.cluster));
                format!(": {} {dump} in the dump, {cluster} in the cluster", kind.name())
            }
        });
        if let Some(range) = &self.range {
            line.push_str(&format!(" [token range {range}]"));
        }
        line
    }
}

impl Findings {
    /// How many differences there are.
    pub fn count(&self) -> u64 {
        self.differences.len() as u64 + self.more
    }

    /// The error of what was found, if anything was.
    ///
    /// # Errors
    /// A difference (exit 4), naming the first.
    pub fn result(&self, remedy: &str) -> Result<()> {
        match self.differences.first() {
            None => Ok(()),
            Some(first) => {
                let count = plural(self.count(), "difference");
                Err(Error::difference(format!("{count}, the first: {}", first.line())).hint(remedy))
            }
        }
    }

    fn print(&self, output: OutputArgs) -> Result<()> {
        if output.json {
            return report::json(self);
        }
        let lines: String = self.differences.iter().map(|d| d.line() + "\n").collect();
        let more = match self.more {
            0 => String::new(),
            more => format!("and {}\n", plural(more, "more difference")),
        };
        report::result(&(lines + &more))
    }
}

/// Checks.
///
/// # Errors
/// A difference (exit 4) if anything is not as the manifest says, or the cluster not as the dump.
pub async fn run(args: VerifyArgs, output: OutputArgs) -> Result<()> {
    let (dir, manifest) = match DumpDir::read(&args.dump)? {
        (_, Err(error)) if error.is_damage() => {
            let what = format!("{}: {error}", args.dump.join(MANIFEST).display());
            let mut findings = Findings::default();
            findings.add(Difference::of(Kind::File, "the dump", what));
            findings.print(output)?;
            return findings.result(files::REMEDY);
        }
        (dir, manifest) => (dir, manifest.doing(|| "read the manifest")?),
    };
    if !args.asks_cluster {
        return of_files(&args, &dir, &manifest, output);
    }
    of_cluster(&args, &dir, &manifest, output).await
}

fn of_files(args: &VerifyArgs, dir: &DumpDir, manifest: &Manifest, output: OutputArgs) -> Result<()> {
    let given = [
        ("a selector", !args.selectors.is_empty()),
        ("--exclude", !args.exclude.is_empty()),
        ("--map", !args.map.is_empty()),
        ("--values-only", args.values_only),
    ];
    if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("{flag} needs a cluster to compare with: give it with -h")));
    }
    let findings = files::check(dir, manifest)?;
    findings.print(output)?;
    findings.result(files::REMEDY)?;
    if !output.quiet {
        report::note(&format!(
            "{}: {}, {} and {} are as the manifest says",
            args.dump.display(),
            plural(findings.tables, "table"),
            plural(findings.parts, "file"),
            plural(findings.rows, "row"),
        ));
    }
    Ok(())
}

async fn of_cluster(args: &VerifyArgs, dir: &DumpDir, manifest: &Manifest, output: OutputArgs) -> Result<()> {
    let selection = super::selection(&args.selectors, &args.exclude)?;
    let mappings = super::mappings(&args.map)?;
    super::check_selection(manifest, &selection, &mappings)?;
    let cluster = Arc::new(Cluster::connect(&args.connect).await?);
    let mut findings = Findings::default();
    let dumped_times = manifest.keeps_times();
    let keeps_times = dumped_times && !args.values_only;
    // Who asks for values alone knows what is not compared.
    if !dumped_times && !args.values_only {
        findings.not_compared.push(NotCompared::times("*".to_owned(), "the dump keeps none"));
    }
    let rules = Rules {
        times: keeps_times,
        written: None,
        expiries: keeps_times,
        given: None,
        dump_expires: true,
        loaded: false,
        now: cluster.now().div_euclid(1_000_000),
    };
    let schema = cluster.schema().await?;
    let pairs = pairs((&schema, rules), (dir, manifest), &selection, &mappings, &mut findings)?;
    let units = pairs.iter().map(|pair| pair.parts.entries.len() as u64).sum();
    let progress = Progress::start(output.quiet, "comparing", ("parts", units));
    let work = cluster::compare((&cluster, &schema), pairs, (args.budget, &progress));
    findings += interruptible(work, "the comparison was not finished").await?;
    if !output.quiet {
        findings.not_compared.iter().for_each(|left| report::note(&left.line()));
    }
    findings.print(output)?;
    findings.result(
        "if the cluster has changed since, dump it again; if a load ended early, load again with --if-exists append or \
         truncate",
    )?;
    if !output.quiet {
        report::note(&format!(
            "{}: the cluster has {} of {} as the dump has them",
            args.dump.display(),
            plural(findings.rows, "row"),
            plural(findings.tables, "table"),
        ));
    }
    Ok(())
}

/// The tables to compare, each with the cluster's; one that the cluster does not have, or has in
/// another shape, is a difference.
fn pairs(
    (schema, rules): (&Schema, Rules),
    (dir, manifest): (&DumpDir, &Manifest),
    selection: &Selection,
    mappings: &[Mapping],
    findings: &mut Findings,
) -> Result<Vec<Pair>> {
    let renames = Mapping::renames(mappings).map_err(|e| Error::usage(format!("--map: {e}")))?;
    let mut pairs = Vec::new();
    for keyspace in &manifest.keyspaces {
        for entry in keyspace.tables.iter().filter(|t| selection.wants_table(&keyspace.name, &t.name)) {
            let table = keyspace.table(entry).doing(|| "read the manifest")?;
            let (to_keyspace, to_table) = renames.table(&keyspace.name, &entry.name);
            let Some(target) = schema.table(to_keyspace, to_table) else {
                let what = format!("the cluster has no table {to_keyspace}.{to_table}");
                findings.tables += 1;
                findings.add(Difference::of(Kind::Table, &table.full_name(), what));
                continue;
            };
            if let Some(misfit) = table.misfit(target) {
                let what = format!("{to_keyspace}.{to_table} cannot be compared with it: {misfit}");
                findings.tables += 1;
                findings.add(Difference::of(Kind::Table, &table.full_name(), what));
                continue;
            }
            let only_theirs =
                target.columns.iter().filter(|c| table.columns.iter().all(|o| o.name != c.name));
            findings.not_compared.extend(only_theirs.map(|c| NotCompared::column(&table, &c.name)));
            let parts = TableParts::of(dir, manifest, entry, &table)?;
            pairs.push(Pair { parts, into: (to_keyspace.to_owned(), to_table.to_owned()), rules });
        }
    }
    Ok(pairs)
}

impl Findings {
    /// Adds a difference; lists it if its table does not have too many.
    pub fn add(&mut self, difference: Difference) {
        let listed = self.differences.iter().filter(|d| d.table == difference.table).count();
        if listed < LISTED {
            self.differences.push(difference);
        } else {
            self.more += 1;
            let (missing, others) = self.unlisted.entry(difference.table.clone()).or_default();
            *(if difference.is_missing_row() { missing } else { others }) += 1;
        }
    }
}

impl std::ops::AddAssign for Findings {
    fn add_assign(&mut self, other: Findings) {
        self.tables += other.tables;
        self.parts += other.parts;
        self.rows += other.rows;
        self.more += other.more;
        for (table, (missing, others)) in other.unlisted {
            let (all_missing, all_others) = self.unlisted.entry(table).or_default();
            *all_missing += missing;
            *all_others += others;
        }
        self.not_compared.extend(other.not_compared);
        other.differences.into_iter().for_each(|difference| self.add(difference));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(key: &[(&str, &str)]) -> Difference {
        let key = key.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Difference {
            key,
            what: None,
            ..Difference::of(Kind::Row(Differs::MissingRow), "ks.t", String::new())
        }
    }

    #[test]
    fn kinds_are_told_by_their_names() {
        let kinds = [Kind::Row(Differs::ExtraRow), Kind::Row(Differs::WriteTime), Kind::Table, Kind::File];
        let json = serde_json::to_string(&kinds).unwrap();
        assert_eq!(json, r#"["extra row","write time","table","file"]"#);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let uncut = "äß".repeat(100);
        assert_eq!(cut(uncut.clone(), 200), uncut);
        assert_eq!(cut(uncut.clone() + "x", 200), uncut.clone() + "…");
        let line = difference(&[("k", &(uncut.clone() + "x")), ("c", &uncut)]).line();
        assert_eq!(line, format!("ks.t, row k={uncut}…, c={uncut}: the cluster has no such row"));
    }

    #[test]
    fn a_key_stands_in_its_own_order() {
        let found = difference(&[("z", "1"), ("b", "2"), ("a", "")]);
        assert_eq!(found.line(), "ks.t, row z=1, b=2, a=\"\": the cluster has no such row");
        let json = serde_json::to_string(&found).unwrap();
        assert!(json.contains(r#""key":{"z":"1","b":"2","a":""}"#), "{json}");
    }
}
