//! `cqlift inspect`: what a dump holds, from its manifest.

use super::{OutputArgs, plural, roles_text};
use crate::error::Result;
use crate::manifest::{Manifest, TableEntry};
use crate::report::{self, word};
use crate::store::DumpDir;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use std::path::PathBuf;

/// Show what a dump holds
#[derive(Args)]
pub struct InspectArgs {
    /// Directory that `cqlift dump` wrote
    #[arg(value_name = "DIR")]
    pub dump: PathBuf,
}

/// Shows.
///
/// # Errors
/// `Error` says why the dump cannot be read.
pub fn run(args: &InspectArgs, output: OutputArgs) -> Result<()> {
    let (_, mut manifest) = DumpDir::open(&args.dump)?;
    if let Some(roles) = &mut manifest.roles {
        roles.hide_hashes();
    }
    if output.json {
        return report::json(&manifest);
    }
    report::result(&(head(&manifest) + &body(&manifest)))
}

fn head(manifest: &Manifest) -> String {
    let cluster = &manifest.cluster;
    let datacenters: Vec<String> = cluster
        .datacenters
        .iter()
        .map(|d| format!("{} ({})", word(&d.name), plural(d.nodes as u64, "node")))
        .collect();
    let options = &manifest.options;
    format!(
        "dump      {} of format {}, by {}\n\
         cluster   {}, release {}, {}\n\
         read      {} to {} at {}, no snapshot: each range has its own times\n\
         options   --format {} --preserve {}\n",
        word(&manifest.id),
        word(&manifest.format),
        word(&manifest.tool),
        word(&cluster.name),
        word(&cluster.version),
        datacenters.join(", "),
        word(&manifest.started),
        word(&manifest.finished),
        word(&options.consistency),
        word(&options.format),
        word(&options.preserve),
    )
}

fn body(manifest: &Manifest) -> String {
    let mut text = String::new();
    for missing in &manifest.not_preserved {
        text.push_str(&format!("not kept  {}\n", word(&missing.text())));
    }
    if let Some(roles) = &manifest.roles {
        text.push_str(&format!("roles     {}\n", roles_text(&roles.counts())));
    }
    for keyspace in &manifest.keyspaces {
        text.push_str(&format!(
            "\nkeyspace {}: {}\n",
            word(&keyspace.name),
            plural(keyspace.statements.len() as u64, "statement")
        ));
        for table in &keyspace.tables {
            text.push_str(&table_lines(table));
        }
    }
    text
}

fn table_lines(table: &TableEntry) -> String {
    let files = table.parts.iter().filter(|p| p.file.is_some()).count() as u64;
    let mut text = format!(
        "  {}: {}, {} cells, {} in {}\n    {}\n",
        word(&table.name),
        plural(table.rows, "row"),
        HumanCount(table.cells),
        HumanBytes(table.bytes),
        plural(files, "file"),
        word(&table.path)
    );
    for column in &table.columns {
        let order = if column.descending { " descending" } else { "" };
        let kept: Vec<&str> =
            [&column.write_time, &column.expires_at].into_iter().flatten().map(String::as_str).collect();
        let kept = if kept.is_empty() { String::new() } else { format!(" with {}", kept.join(", ")) };
        let line = format!("{} {} {}{order}{kept}", column.name, column.cql_type, column.kind);
        text.push_str(&format!("    {}\n", word(&line)));
    }
    let exceptions: u64 = table.parts.iter().map(|p| p.exceptions).sum();
    if exceptions > 0 {
        text.push_str(&format!(
            "    {} in the exceptions column {}\n",
            plural(exceptions, "cell"),
            word(&table.exceptions_column)
        ));
    }
    text
}
