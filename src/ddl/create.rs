//! The statements that make what a catalogue describes, for servers that print none themselves (Cassandra before 4.0,
//! ScyllaDB before 5.2). Asking for the catalogue's rows is left to `cluster`.
//!
//! Rows are JSON objects, as `SELECT JSON *` gives them, so that a column which this file has never heard of is seen and
//! told of instead of lost.

use super::Mask;
use super::lex::{self, literal, true_name};
use crate::types::cql::Ident;
use serde_json::{Map, Value};
use std::fmt::Write;
use thiserror::Error;

/// A row of a table of `system_schema`.
pub type Row = Map<String, Value>;

/// The rows of one keyspace.
#[derive(Debug, Default)]
pub struct Rows {
    /// `keyspaces`: one.
    pub keyspace: Row,
    /// `types`.
    pub types: Vec<Row>,
    /// `functions`.
    pub functions: Vec<Row>,
    /// `aggregates`.
    pub aggregates: Vec<Row>,
    /// `tables`.
    pub tables: Vec<Row>,
    /// `columns`, those of views among them.
    pub columns: Vec<Row>,
    /// `indexes`.
    pub indexes: Vec<Row>,
    /// `views`.
    pub views: Vec<Row>,
    /// The masks of tables, as DDL has them: those are not made from `column_masks`, which has arguments in other forms.
    pub masks: Vec<(String, Mask)>,
    /// What only ScyllaDB has.
    pub scylla: Option<Scylla>,
}

/// What only ScyllaDB has: the tables of `system_schema` that begin with its name.
#[derive(Debug, Default)]
pub struct Scylla {
    /// `scylla_tables`: more options of tables and views.
    pub tables: Vec<Row>,
    /// `scylla_aggregates`: more of aggregates.
    pub aggregates: Vec<Row>,
}

/// Statements, and what of the catalogue is in none of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// In the order of their kinds; types in that of their names.
    pub statements: Vec<String>,
    /// Options whose meaning is not known: the table or view, and the option with its value.
    pub unknown: Vec<(String, String)>,
}

/// A row that lacks what it must have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the catalogue has a row without {column}, or with another type of it: {row}")]
pub struct BadRow {
    column: String,
    row: String,
}

/// Columns of `tables` and `views` that are options of a table, under the names that DDL has for them.
const OPTIONS: &[&str] = &[
    "additional_write_policy",
    "allow_auto_snapshot",
    "bloom_filter_fp_chance",
    "caching",
    "cdc",
    "comment",
    "compaction",
    "compression",
    "crc_check_chance",
    "dclocal_read_repair_chance",
    "default_time_to_live",
    "gc_grace_seconds",
    "incremental_backups",
    "max_index_interval",
    "memtable",
    "memtable_flush_period_in_ms",
    "min_index_interval",
    "read_repair",
    "read_repair_chance",
    "speculative_retry",
];

/// Columns of `tables` and `views` that are told otherwise, or that a new table has of its own.
const NO_OPTIONS: &[&str] = &[
    "keyspace_name",
    "table_name",
    "view_name",
    "id",
    "flags",
    "base_table_id",
    "base_table_name",
    "include_all_columns",
    "where_clause",
    // Of `scylla_tables`: the schema's own.
    "version",
];

/// What makes the keyspace and all in it.
///
/// # Errors
/// `BadRow` shows the row.
pub fn create(rows: &Rows) -> Result<Made, BadRow> {
    let mut made = Made::default();
    let name = text(&rows.keyspace, "keyspace_name")?;
    made.statements.push(keyspace(&rows.keyspace)?);
    for row in &rows.types {
        made.statements.push(user_type(name, row)?);
    }
    for row in &rows.functions {
        made.statements.push(function(name, row)?);
    }
    for row in &rows.aggregates {
        made.statements.push(aggregate(name, row, rows.scylla.as_ref())?);
    }
    for row in &rows.tables {
        let row = rows.with_scylla(row, "table_name")?;
        if !is_log(&row) {
            let statement = table(&row, rows, &mut made.unknown)?;
            made.statements.push(statement);
        }
    }
    for row in &rows.indexes {
        made.statements.push(index(row, rows)?);
    }
    for row in &rows.views {
        if !rows.backs_index(row)? {
            let row = rows.with_scylla(row, "view_name")?;
            let statement = view(name, &row, &rows.columns, &mut made.unknown)?;
            made.statements.push(statement);
        }
    }
    Ok(made)
}

/// ScyllaDB's logs of changes; what the driver goes by, too.
fn is_log(row: &Row) -> bool {
    let partitioner = row.get("partitioner").and_then(Value::as_str);
    partitioner.is_some_and(|name| name.ends_with("CDCPartitioner"))
}

impl Rows {
    /// The row of a table or view with what only ScyllaDB tells of it.
    fn with_scylla(&self, row: &Row, name: &str) -> Result<Row, BadRow> {
        let mut row = row.clone();
        let name = text(&row, name)?.to_owned();
        for more in self.scylla.iter().flat_map(|scylla| &scylla.tables) {
            if text(more, "table_name")? == name {
                row.extend(
                    more.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())),
                );
            }
        }
        Ok(row)
    }

    /// Whether a view is how ScyllaDB keeps an index: it has the index's name, and something behind it.
    fn backs_index(&self, view: &Row) -> Result<bool, BadRow> {
        let (name, base) = (text(view, "view_name")?, text(view, "base_table_name")?);
        let Some(index) = name.strip_suffix("_index").filter(|_| self.scylla.is_some()) else {
            return Ok(false);
        };
        for row in &self.indexes {
            if (text(row, "index_name")?, text(row, "table_name")?) == (index, base) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn keyspace(row: &Row) -> Result<String, BadRow> {
    let mut replication = object(row, "replication")?.clone();
    if let Some(Value::String(class)) = replication.get_mut("class") {
        *class = class.trim_start_matches("org.apache.cassandra.locator.").to_owned();
    }
    Ok(format!(
        "CREATE KEYSPACE {} WITH replication = {} AND durable_writes = {};",
        Ident(text(row, "keyspace_name")?),
        map(&replication),
        boolean(row, "durable_writes")?
    ))
}

fn user_type(keyspace: &str, row: &Row) -> Result<String, BadRow> {
    let types = texts(row, "field_types")?;
    let fields = texts(row, "field_names")?.into_iter().zip(types);
    let fields: Vec<String> = fields.map(|(name, cql)| format!("    {} {cql}", Ident(name))).collect();
    let name = text(row, "type_name")?;
    Ok(format!("CREATE TYPE {}.{} (\n{}\n);", Ident(keyspace), Ident(name), fields.join(",\n")))
}

fn function(keyspace: &str, row: &Row) -> Result<String, BadRow> {
    let types = texts(row, "argument_types")?;
    let arguments = texts(row, "argument_names")?.into_iter().zip(types);
    let arguments: Vec<String> =
        arguments.map(|(name, cql)| format!("{} {}", Ident(name), thawed(cql))).collect();
    let on_null = match boolean(row, "called_on_null_input")? {
        true => "CALLED",
        false => "RETURNS NULL",
    };
    Ok(format!(
        "CREATE FUNCTION {}.{}({})\n    {on_null} ON NULL INPUT\n    RETURNS {}\n    LANGUAGE {}\n    AS {};",
        Ident(keyspace),
        Ident(text(row, "function_name")?),
        arguments.join(", "),
        thawed(text(row, "return_type")?),
        text(row, "language")?,
        body(text(row, "body")?)
    ))
}

fn aggregate(keyspace: &str, row: &Row, scylla: Option<&Scylla>) -> Result<String, BadRow> {
    let arguments: Vec<String> = texts(row, "argument_types")?.into_iter().map(thawed).collect();
    let mut cql = format!(
        "CREATE AGGREGATE {}.{}({})\n    SFUNC {}\n    STYPE {}",
        Ident(keyspace),
        Ident(text(row, "aggregate_name")?),
        arguments.join(", "),
        Ident(text(row, "state_func")?),
        thawed(text(row, "state_type")?)
    );
    let same = |more: &&Row| {
        ["aggregate_name", "argument_types"].iter().all(|column| more.get(*column) == row.get(*column))
    };
    let more = scylla.and_then(|scylla| scylla.aggregates.iter().find(same));
    if let Some(function) = more.and_then(|more| more.get("reduce_func")).and_then(Value::as_str) {
        let _ = write!(cql, "\n    REDUCEFUNC {}", Ident(function));
    }
    if let Some(function) = row.get("final_func").and_then(Value::as_str) {
        let _ = write!(cql, "\n    FINALFUNC {}", Ident(function));
    }
    if let Some(value) = row.get("initcond").and_then(Value::as_str) {
        let _ = write!(cql, "\n    INITCOND {value}");
    }
    Ok(cql + ";")
}

/// The columns of a table, by what they are.
#[derive(Default)]
struct Columns<'a> {
    partition: Vec<&'a Row>,
    clustering: Vec<&'a Row>,
    statics: Vec<&'a Row>,
    regular: Vec<&'a Row>,
}

impl<'a> Columns<'a> {
    fn of(table: &str, all: &'a [Row]) -> Result<Columns<'a>, BadRow> {
        let mut columns = Columns::default();
        for row in all {
            if text(row, "table_name")? == table {
                match text(row, "kind")? {
                    "partition_key" => columns.partition.push(row),
                    "clustering" => columns.clustering.push(row),
                    "static" => columns.statics.push(row),
                    _ => columns.regular.push(row),
                }
            }
        }
        let position = |row: &&Row| row.get("position").and_then(Value::as_i64);
        columns.partition.sort_by_key(position);
        columns.clustering.sort_by_key(position);
        Ok(columns)
    }

    /// As CQL sees a table WITH COMPACT STORAGE: without the columns that only its storage has.
    fn compact(mut self, dense: bool) -> Result<Columns<'a>, BadRow> {
        if !dense {
            // Its columns are static in storage; what is clustered there has the names of columns that were added by hand.
            self.regular = std::mem::take(&mut self.statics);
            self.clustering.clear();
        }
        let mut seen = Vec::new();
        for row in self.regular {
            if text(row, "type")? != "empty" {
                seen.push(row);
            }
        }
        self.regular = seen;
        Ok(self)
    }

    fn key(&self) -> Result<String, BadRow> {
        let names = |rows: &[&Row]| -> Result<Vec<String>, BadRow> {
            rows.iter().map(|row| Ok(Ident(text(row, "column_name")?).to_string())).collect()
        };
        let partition = names(&self.partition)?;
        let first = match partition.len() {
            1 => partition.join(""),
            _ => format!("({})", partition.join(", ")),
        };
        let clustering = names(&self.clustering)?;
        Ok(format!("PRIMARY KEY ({})", [vec![first], clustering].concat().join(", ")))
    }

    fn order(&self) -> Result<Option<String>, BadRow> {
        if self.clustering.is_empty() {
            return Ok(None);
        }
        let order = |row: &&Row| -> Result<String, BadRow> {
            let order = text(row, "clustering_order")?.to_ascii_uppercase();
            Ok(format!("{} {order}", Ident(text(row, "column_name")?)))
        };
        let each: Vec<String> = self.clustering.iter().map(order).collect::<Result<_, _>>()?;
        Ok(Some(format!("CLUSTERING ORDER BY ({})", each.join(", "))))
    }
}

fn table(row: &Row, rows: &Rows, unknown: &mut Vec<(String, String)>) -> Result<String, BadRow> {
    let (keyspace, name) = (text(row, "keyspace_name")?, text(row, "table_name")?);
    let mask = |column: &str| {
        let of = |(table, mask): &&(String, Mask)| table == name && true_name(&mask.column) == column;
        rows.masks.iter().find(of).map_or_else(String::new, |(_, mask)| format!(" {}", mask.text))
    };
    let flags = texts(row, "flags")?;
    let (dense, compound) = (flags.contains(&"dense"), flags.contains(&"compound"));
    let is_compact = dense || !compound;
    let mut columns = Columns::of(name, &rows.columns)?;
    if is_compact {
        columns = columns.compact(dense)?;
    }
    let mut lines = Vec::new();
    for (rows, suffix) in [
        (&columns.partition, ""),
        (&columns.clustering, ""),
        (&columns.statics, " static"),
        (&columns.regular, ""),
    ] {
        for row in rows {
            let (name, cql) = (text(row, "column_name")?, text(row, "type")?);
            lines.push(format!("    {} {cql}{suffix}{}", Ident(name), mask(name)));
        }
    }
    lines.push(format!("    {}", columns.key()?));
    let mut with = Vec::new();
    if is_compact {
        with.push("COMPACT STORAGE".to_owned());
    }
    with.extend(columns.order()?);
    with.extend(options(name, row, unknown));
    let with = with.join("\n    AND ");
    Ok(format!("CREATE TABLE {}.{} (\n{}\n) WITH {with};", Ident(keyspace), Ident(name), lines.join(",\n")))
}

fn view(
    keyspace: &str,
    row: &Row,
    columns: &[Row],
    unknown: &mut Vec<(String, String)>,
) -> Result<String, BadRow> {
    let name = text(row, "view_name")?;
    let columns = Columns::of(name, columns)?;
    let selected = match boolean(row, "include_all_columns")? {
        true => "*".to_owned(),
        false => {
            let all = [&columns.partition, &columns.clustering, &columns.statics, &columns.regular];
            let names = all.into_iter().flatten();
            let names = names.map(|row| Ok(Ident(text(row, "column_name")?).to_string()));
            names.collect::<Result<Vec<_>, BadRow>>()?.join(", ")
        }
    };
    let mut with: Vec<String> = columns.order()?.into_iter().collect();
    // Views expire as their tables do: 4.0 refuses even a 0 (CASSANDRA-17266), and no later version prints one.
    let mut row = row.clone();
    row.remove("default_time_to_live");
    let row = &row;
    with.extend(options(name, row, unknown));
    Ok(format!(
        "CREATE MATERIALIZED VIEW {}.{} AS\n    SELECT {selected}\n    FROM {}.{}\n    WHERE {}\n    {}\n    WITH {};",
        Ident(keyspace),
        Ident(name),
        Ident(keyspace),
        Ident(text(row, "base_table_name")?),
        text(row, "where_clause")?,
        columns.key()?,
        with.join("\n    AND ")
    ))
}

/// Columns that the catalogue has kept for options that are no more: servers that have this one have not those.
const SINCE_4_0: &str = "read_repair";
const UNTIL_4_0: [&str; 2] = ["read_repair_chance", "dclocal_read_repair_chance"];

/// The options of a table or view, in the order of their names.
fn options(object: &str, row: &Row, unknown: &mut Vec<(String, String)>) -> Vec<String> {
    let mut options = Vec::new();
    let mut names: Vec<&String> = row.keys().collect();
    names.sort();
    for name in names {
        let value = &row[name];
        let is_gone = UNTIL_4_0.contains(&name.as_str()) && row.contains_key(SINCE_4_0);
        if value.is_null() || is_gone || NO_OPTIONS.contains(&name.as_str()) {
            continue;
        }
        if OPTIONS.contains(&name.as_str()) {
            options.push(format!("{name} = {}", option(name, value)));
        } else if !is_empty(value) {
            unknown.push((object.to_owned(), format!("{name} = {value}")));
        }
    }
    options
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn option(name: &str, value: &Value) -> String {
    match value {
        // Nothing at all stands for no compression, but a new table without the option is compressed.
        Value::Object(entries) if name == "compression" && entries.is_empty() => {
            "{'enabled': 'false'}".to_owned()
        }
        Value::Object(entries) => map(entries),
        Value::String(text) => literal(text),
        other => other.to_string(),
    }
}

fn index(row: &Row, rows: &Rows) -> Result<String, BadRow> {
    let keyspace = text(row, "keyspace_name")?;
    let mut options = object(row, "options")?.clone();
    let mut take = |name: &str| options.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let mut target = take("target").ok_or_else(|| bad(row, "options['target']"))?;
    if rows.scylla.is_some() {
        target = scylla_target(&target, text(row, "table_name")?, &rows.columns)?;
    }
    let class = take("class_name");
    let name = text(row, "index_name")?;
    let on = format!("{} ON {}.{} ({target})", Ident(name), Ident(keyspace), Ident(text(row, "table_name")?));
    Ok(match class {
        None => format!("CREATE INDEX {on};"),
        Some(class) if options.is_empty() => format!("CREATE CUSTOM INDEX {on} USING {};", literal(&class)),
        Some(class) => {
            format!("CREATE CUSTOM INDEX {on} USING {} WITH OPTIONS = {};", literal(&class), map(&options))
        }
    })
}

/// What ScyllaDB indexes, as DDL has it: it keeps a column's bare name (scylladb #10707), and of an index within a partition
/// `{"pk":["p"],"ck":["v"]}` (`target_parser::serialize_targets`).
fn scylla_target(target: &str, table: &str, columns: &[Row]) -> Result<String, BadRow> {
    for column in columns {
        if (text(column, "table_name")?, text(column, "column_name")?) == (table, target) {
            return Ok(Ident(target).to_string());
        }
    }
    let Ok(Value::Object(local)) = serde_json::from_str(target) else { return Ok(target.to_owned()) };
    let names = |key: &str| -> Result<String, BadRow> {
        let names = texts(&local, key)?;
        Ok(names.into_iter().map(|name| Ident(name).to_string()).collect::<Vec<_>>().join(", "))
    };
    Ok(format!("({}), {}", names("pk")?, names("ck")?))
}

/// A type without any `frozen<…>`: arguments and results of functions are written without it.
pub(super) fn thawed(cql: &str) -> String {
    let Ok(tokens) = lex::lex(cql) else { return cql.to_owned() };
    let mut out = String::with_capacity(cql.len());
    // Of each open bracket, whether it is printed.
    let mut open = Vec::new();
    let mut frozen = false;
    for token in tokens {
        let text = &cql[token.range];
        match text {
            _ if text.eq_ignore_ascii_case("frozen") => frozen = true,
            "<" => {
                open.push(!frozen);
                if !std::mem::take(&mut frozen) {
                    out.push('<');
                }
            }
            ">" if open.pop() == Some(false) => {}
            _ => out.push_str(text),
        }
    }
    out
}

/// A function's body, in the quotes that it does not hold itself.
fn body(text: &str) -> String {
    if text.contains("$$") || text.ends_with('$') { literal(text) } else { format!("$${text}$$") }
}

fn map(entries: &Map<String, Value>) -> String {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut each: Vec<String> =
        entries.iter().map(|(key, of)| format!("{}: {}", literal(key), literal(&value(of)))).collect();
    each.sort();
    // Servers ask for the class; people look for it first.
    each.sort_by_key(|entry| !entry.starts_with("'class'"));
    format!("{{{}}}", each.join(", "))
}

fn bad(row: &Row, column: &str) -> BadRow {
    BadRow { column: column.to_owned(), row: Value::Object(row.clone()).to_string() }
}

fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, BadRow> {
    row.get(column).and_then(Value::as_str).ok_or_else(|| bad(row, column))
}

fn boolean(row: &Row, column: &str) -> Result<bool, BadRow> {
    row.get(column).and_then(Value::as_bool).ok_or_else(|| bad(row, column))
}

fn object<'a>(row: &'a Row, column: &str) -> Result<&'a Map<String, Value>, BadRow> {
    row.get(column).and_then(Value::as_object).ok_or_else(|| bad(row, column))
}

/// A list or set of texts, or nothing, which is an empty one.
fn texts<'a>(row: &'a Row, column: &str) -> Result<Vec<&'a str>, BadRow> {
    match row.get(column) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().ok_or_else(|| bad(row, column))).collect()
        }
        Some(_) => Err(bad(row, column)),
    }
}

#[cfg(test)]
mod tests;
