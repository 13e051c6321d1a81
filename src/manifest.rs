//! The manifest of a dump and the sidecars of its parts: what they say, as JSON, and the manifest's own checksum.
//! Where the files lie and how they get there whole is left to `store`.
//!
//! Tokens and counts that pass 2^53 are strings or stay integers of Rust's readers; tokens are strings, so that every
//! JSON reader keeps them. They are those of `ring`, by the source's partitioner.

pub mod begun;
mod check;
pub mod sidecar;

use crate::fingerprint::Sums;
use crate::roles::Roles;
use crate::table::{Column, ColumnKind, Companion, Table, Tells};
use crate::types::cql::{BadType, CqlType, Size, Udt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

/// The format this tool writes; it reads every minor version of the same major version.
pub const FORMAT: &str = "1.0";

/// What a dump holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Format version, `major.minor`.
    pub format: String,
    /// What a reader must understand to load the dump whole.
    pub capabilities: Vec<String>,
    /// Tool and version that wrote it.
    pub tool: String,
    /// Identifies this dump.
    pub id: String,
    /// When the dump began and ended, RFC 3339 UTC. No snapshot: each range has its own times.
    pub started: String,
    /// See `started`.
    pub finished: String,
    /// The cluster it came from.
    pub cluster: SourceCluster,
    /// The options that decide its content.
    pub options: DumpOptions,
    /// What the dump does not carry, and why.
    pub not_preserved: Vec<NotPreserved>,
    /// What it holds.
    pub keyspaces: Vec<KeyspaceEntry>,
    /// The roles, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,
}

/// The cluster a dump came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceCluster {
    /// `cluster_name` of the cluster.
    pub name: String,
    /// `release_version` of the contact point.
    pub version: String,
    /// Full class name of the partitioner.
    pub partitioner: String,
    /// Nodes per datacenter.
    pub datacenters: Vec<Datacenter>,
}

/// A datacenter of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datacenter {
    /// Its name.
    pub name: String,
    /// Number of its nodes.
    pub nodes: usize,
}

/// The options that decide what a dump holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpOptions {
    /// `parquet` or `csv`.
    pub format: String,
    /// `all`: values, write times and expiries. `none`: values only.
    pub preserve: String,
    /// Consistency level of every read.
    pub consistency: String,
    /// Selectors as given; none is all user keyspaces.
    pub selectors: Vec<String>,
    /// Excluding selectors as given.
    pub exclude: Vec<String>,
}

/// Something the dump does not carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotPreserved {
    /// What it concerns: `*`, `keyspace.table`, `keyspace.table.column`, `roles` or `role name`.
    pub object: String,
    /// What is missing.
    pub what: String,
    /// How many, if it can be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Why.
    pub reason: String,
}

impl NotPreserved {
    /// It in one line.
    pub fn text(&self) -> String {
        let count = self.count.map_or(String::new(), |n| format!(", {n}"));
        format!("{} ({}{count}): {}", self.what, self.object, self.reason)
    }

    /// Whether it concerns roles.
    pub fn is_of_roles(&self) -> bool {
        // Tables are named with their keyspaces, which have no spaces in their names.
        self.object == "roles" || self.object.starts_with("role ")
    }
}

/// A keyspace of a dump.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyspaceEntry {
    /// True name, unquoted.
    pub name: String,
    /// Its DDL in replay order.
    pub statements: Vec<StatementEntry>,
    /// The user types its tables use, inner ones first.
    pub types: Vec<TypeEntry>,
    /// Its tables.
    pub tables: Vec<TableEntry>,
}

/// One DDL statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementEntry {
    /// `pre-data` or `post-data`.
    pub section: String,
    /// `keyspace`, `type`, `function`, `aggregate`, `table`, `index`, `materialized_view`.
    pub kind: String,
    /// True name of the object, unquoted.
    pub name: String,
    /// The table an index or view belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The statement.
    pub cql: String,
}

/// A user type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeEntry {
    /// True name, unquoted.
    pub name: String,
    /// Its fields in order.
    pub fields: Vec<FieldEntry>,
}

/// A field of a user type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldEntry {
    /// True name, unquoted.
    pub name: String,
    /// CQL type.
    #[serde(rename = "type")]
    pub cql_type: String,
}

/// A table of a dump.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableEntry {
    /// True name, unquoted.
    pub name: String,
    /// Folder of its parts, relative to the dump.
    pub path: String,
    /// Its columns in the order of the files' columns.
    pub columns: Vec<ColumnEntry>,
    /// Name of the exceptions column in its files.
    pub exceptions_column: String,
    /// Rows in all parts.
    pub rows: u64,
    /// Cells that are not null in all parts.
    pub cells: u64,
    /// Bytes of all part files.
    pub bytes: u64,
    /// Its parts: the sidecars, in name order.
    pub parts: Vec<Part>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnEntry {
    /// True name, unquoted.
    pub name: String,
    /// CQL type.
    #[serde(rename = "type")]
    pub cql_type: String,
    /// `partition_key`, `clustering`, `static` or `regular`.
    pub kind: String,
    /// Position in its key, from 0; -1 outside keys.
    pub position: i32,
    /// Clustering columns only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descending: bool,
    /// The files' column that holds its write times, µs since 1970; one list entry per element where elements are cells of
    /// their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_time: Option<String>,
    /// The files' column that holds its expiries likewise, s since 1970; null where nothing expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A part: what its sidecar says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `part-00001`.
    pub name: String,
    /// Its file beside the sidecar; none if its ranges hold no rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Rows.
    pub rows: u64,
    /// Cells that are not null.
    pub cells: u64,
    /// Cells that travel in the exceptions column.
    pub exceptions: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// `xxh3-128:` and the hash of the file in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Fingerprints of its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<Sums>,
    /// When its first cell expires, s since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_expiry: Option<i64>,
    /// Rows of which no cell's write time is told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold_rows: u64,
    /// Cells whose write time is not told, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub untold_cells: BTreeMap<String, u64>,
    /// Lists whose elements differ in write time or expiry, by column.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uneven_lists: BTreeMap<String, u64>,
    /// The token ranges it holds, whole but where `from` or `to` says otherwise.
    pub ranges: Vec<RangeEntry>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A token range `(start, end]` that a part holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeEntry {
    /// Exclusive lower bound.
    pub start: String,
    /// Inclusive upper bound.
    pub end: String,
    /// The part begins inside the partition whose token is `start`, after this row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Position>,
    /// The part ends inside the partition whose token is `end`, with this row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Position>,
    /// When its first page was asked for and its last one arrived, RFC 3339 UTC.
    pub read: [String; 2],
}

/// A row's key: cells in wire bytes, `0x…`, null for a static-only row's clustering columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Partition key cells.
    pub partition_key: Vec<Option<String>>,
    /// Clustering cells.
    pub clustering: Vec<Option<String>>,
}

impl Position {
    /// The partition key's cells in wire bytes.
    ///
    /// # Errors
    /// `BadManifest::Content` if one is not written as `0x…`.
    pub fn partition(&self) -> Result<Vec<Option<Vec<u8>>>, BadManifest> {
        self.partition_key.iter().map(|cell| cell.as_deref().map(unhex).transpose()).collect()
    }

    /// The clustering columns' cells in wire bytes.
    ///
    /// # Errors
    /// `BadManifest::Content` if one is not written as `0x…`.
    pub fn row(&self) -> Result<Vec<Option<Vec<u8>>>, BadManifest> {
        self.clustering.iter().map(|cell| cell.as_deref().map(unhex).transpose()).collect()
    }
}

/// Wire bytes as `0x…`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Result<Vec<u8>, BadManifest> {
    let bad = || BadManifest::Content(format!("{text:?} is not a cell written as 0x and hex digits"));
    let digits = text.strip_prefix("0x").filter(|d| d.len() % 2 == 0 && d.is_ascii()).ok_or_else(bad)?;
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| bad());
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Why a manifest cannot be used.
#[derive(Debug, Error)]
pub enum BadManifest {
    /// Not the JSON that it should be.
    #[error("it does not say what it should: {0}")]
    Json(#[from] serde_json::Error),
    /// No checksum line.
    #[error("it has no checksum of its own: it was cut, or cqlift did not write it")]
    NoChecksum,
    /// The checksum does not fit the text.
    #[error("its checksum does not match: it was damaged or edited after it was written")]
    Checksum,
    /// It would take far more memory than its length.
    #[error("it holds more values than any that cqlift writes")]
    Values,
    /// Another major version.
    #[error("it has the format {found:?}; this cqlift reads format 1")]
    Format {
        /// What it says.
        found: String,
    },
    /// It needs something this tool does not know.
    #[error("it needs the capability {0:?}, which this cqlift does not have; use a newer one")]
    Capability(String),
    /// A type that cannot be read.
    #[error("table {table}, column {column:?}: {error}")]
    Type {
        /// Keyspace and table.
        table: String,
        /// Column name.
        column: String,
        /// What is wrong.
        error: BadType,
    },
    /// A word that is none of those allowed.
    #[error("{0}")]
    Content(String),
}

impl BadManifest {
    /// Whether the file is not as it was written, as against written by another version.
    pub fn is_damage(&self) -> bool {
        matches!(self, BadManifest::Json(_) | BadManifest::NoChecksum | BadManifest::Checksum)
    }
}

/// What this tool understands beyond the basics of the format.
pub const CAPABILITIES: &[&str] = &[VALUES, TIMES];

/// Elements of all vectors of a row, which take their room in files even where they are null. Servers have at most 8192 in
/// a vector.
const MOST_NULL_ELEMENTS: usize = 1 << 24;

/// The dump holds values.
pub const VALUES: &str = "values";

/// It holds write times and expiries beside them.
pub const TIMES: &str = "times";

/// The name of a file's own checksum.
const CHECKSUM: &str = "checksum";

/// A hash as files name it.
pub fn checksum(hash: u128) -> String {
    format!("xxh3-128:{hash:032x}")
}

/// Between what a file says and the hash of that; `key` is the checksum's name.
fn before_hash(key: &str) -> String {
    format!(",\n  \"{key}\": \"xxh3-128:")
}

/// Pretty JSON whose last member, named `key`, is the checksum of everything before it.
fn sealed(content: &impl Serialize, key: &str) -> Result<String, BadManifest> {
    let mut text = serde_json::to_string_pretty(content)?;
    // Only the last brace: a member may end with one too.
    text.truncate(text.strip_suffix("\n}").unwrap_or(&text).len());
    let hash = xxh3_128(text.as_bytes());
    text.push_str(&format!("{}{hash:032x}\"\n}}\n", before_hash(key)));
    Ok(text)
}

/// The inverse, once the checksum has proved right.
fn unsealed<T: serde::de::DeserializeOwned>(text: &str, key: &str) -> Result<T, BadManifest> {
    let (body, rest) = text.rsplit_once(&before_hash(key)).ok_or(BadManifest::NoChecksum)?;
    let stated = rest.split('"').next().unwrap_or_default();
    if stated != format!("{:032x}", xxh3_128(body.as_bytes())) {
        return Err(BadManifest::Checksum);
    }
    check_values(text)?;
    Ok(serde_json::from_str(text)?)
}

/// Values that any file may hold, and bytes to each one beyond: in those that cqlift writes each stands on a line of its own,
/// which takes some forty.
const FREE_VALUES: usize = 1 << 20;
const BYTES_OF_A_VALUE: usize = 16;

/// That there are not so many values that memory for them would be out of proportion: an empty text takes three bytes in the
/// file and 24 in memory.
fn check_values(text: &str) -> Result<(), BadManifest> {
    let values = memchr::memchr_iter(b',', text.as_bytes()).count();
    match values > FREE_VALUES + text.len() / BYTES_OF_A_VALUE {
        true => Err(BadManifest::Values),
        false => Ok(()),
    }
}

impl Manifest {
    /// Whether the dump holds write times and expiries.
    pub fn keeps_times(&self) -> bool {
        self.capabilities.iter().any(|capability| capability == TIMES)
    }

    /// The file's text: pretty JSON whose last member is the checksum of everything before it.
    ///
    /// # Errors
    /// `BadManifest::Json` if it cannot be written as JSON.
    pub fn to_text(&self) -> Result<String, BadManifest> {
        sealed(self, CHECKSUM)
    }

    /// Reads the file's text, checks its checksum, version and capabilities.
    ///
    /// # Errors
    /// `BadManifest` says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Manifest, BadManifest> {
        let manifest: Manifest = unsealed(text, CHECKSUM)?;
        if manifest.format.split('.').next() != FORMAT.split('.').next() {
            return Err(BadManifest::Format { found: manifest.format });
        }
        if let Some(unknown) = manifest.capabilities.iter().find(|c| !CAPABILITIES.contains(&c.as_str())) {
            return Err(BadManifest::Capability(unknown.clone()));
        }
        check::check(&manifest)?;
        Ok(manifest)
    }
}

impl KeyspaceEntry {
    /// The user types, resolved.
    ///
    /// # Errors
    /// `BadManifest::Type` if a field's type cannot be read, or is too large.
    pub fn udts(&self) -> Result<Vec<Arc<Udt>>, BadManifest> {
        Ok(self.sized_udts()?.into_iter().map(|(udt, _)| udt).collect())
    }

    /// Each with the size of its fields. An entry names only types before it, so none is inside itself.
    fn sized_udts(&self) -> Result<Vec<(Arc<Udt>, Size)>, BadManifest> {
        let mut known: Vec<(Arc<Udt>, Size)> = Vec::new();
        for entry in &self.types {
            let mut fields = Vec::with_capacity(entry.fields.len());
            let mut size = Size::default();
            for field in &entry.fields {
                let (parsed, inner) = parse(&known, &field.cql_type).map_err(|error| BadManifest::Type {
                    table: entry.name.clone(),
                    column: field.name.clone(),
                    error,
                })?;
                size = size.with(inner);
                fields.push((field.name.clone(), parsed));
            }
            known.push((Arc::new(Udt { name: entry.name.clone(), fields }), size));
        }
        Ok(known)
    }

    /// A table of it as the engine knows tables.
    ///
    /// # Errors
    /// `BadManifest` names the column that cannot be read.
    pub fn table(&self, entry: &TableEntry) -> Result<Table, BadManifest> {
        let udts = self.sized_udts()?;
        let full_name = format!("{}.{}", self.name, entry.name);
        let mut columns = Vec::with_capacity(entry.columns.len());
        for column in &entry.columns {
            let (cql_type, _) = parse(&udts, &column.cql_type).map_err(|error| BadManifest::Type {
                table: full_name.clone(),
                column: column.name.clone(),
                error,
            })?;
            let kind = ColumnKind::named(&column.kind).ok_or_else(|| {
                BadManifest::Content(format!(
                    "table {full_name}, column {:?}: unknown kind {:?}",
                    column.name, column.kind
                ))
            })?;
            columns.push(Column {
                name: column.name.clone(),
                cql_type,
                kind,
                position: column.position,
                descending: column.descending,
            });
        }
        let nulls = columns.iter().map(|c| c.cql_type.null_elements()).fold(0, usize::saturating_add);
        if nulls > MOST_NULL_ELEMENTS {
            return Err(BadManifest::Content(format!(
                "table {full_name}: its vectors have {nulls} elements, more than the {MOST_NULL_ELEMENTS} of a row"
            )));
        }
        let mut table = Table::new(self.name.clone(), entry.name.clone(), columns);
        table.companions = companions(&table, entry);
        Ok(table)
    }
}

/// What the manifest says of a table's companions, in page order.
fn companions(table: &Table, entry: &TableEntry) -> Vec<Companion> {
    let mut companions = Vec::new();
    for (column, Column { name, .. }) in table.columns.iter().enumerate() {
        let Some(entry) = entry.columns.iter().find(|c| c.name == *name) else { continue };
        for (tells, name) in [(Tells::WriteTime, &entry.write_time), (Tells::Expiry, &entry.expires_at)] {
            companions.extend(name.clone().map(|name| Companion { name, column, tells }));
        }
    }
    companions
}

impl TypeEntry {
    /// How the manifest states a user type.
    pub fn of(udt: &Udt) -> TypeEntry {
        let field =
            |(name, t): &(String, CqlType)| FieldEntry { name: name.clone(), cql_type: t.to_string() };
        TypeEntry { name: udt.name.clone(), fields: udt.fields.iter().map(field).collect() }
    }
}

impl ColumnEntry {
    /// How the manifest states the column at a page index.
    pub fn of(table: &Table, index: usize) -> ColumnEntry {
        let column = &table.columns[index];
        let companion = |tells| {
            let found = table.companions.iter().find(|c| c.column == index && c.tells == tells);
            found.map(|companion| companion.name.clone())
        };
        ColumnEntry {
            write_time: companion(Tells::WriteTime),
            expires_at: companion(Tells::Expiry),
            name: column.name.clone(),
            cql_type: column.cql_type.to_string(),
            kind: column.kind.name().to_owned(),
            position: column.position,
            descending: column.descending,
        }
    }
}

/// A type, and how large it is with its user types opened.
fn parse(udts: &[(Arc<Udt>, Size)], text: &str) -> Result<(CqlType, Size), BadType> {
    let find = |name: &str| udts.iter().find(|(udt, _)| udt.name == name);
    let parsed = CqlType::parse(text, &|name| find(name).map(|(udt, _)| udt.clone()))?;
    let size = parsed.size(&|udt| find(&udt.name).map(|(_, size)| *size).unwrap_or_default());
    size.check()?;
    Ok((parsed, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::{Hash, Role};
    use crate::types::cql::Native;

    fn manifest() -> Manifest {
        let inner =
            Udt { name: "My Type".into(), fields: vec![("Fi eld".into(), CqlType::Native(Native::Int))] };
        Manifest {
            format: FORMAT.into(),
            capabilities: vec!["values".into()],
            tool: "cqlift test".into(),
            id: "1".into(),
            started: "a".into(),
            finished: "b".into(),
            cluster: SourceCluster {
                name: "c\"}\n".into(),
                version: "5.0.6".into(),
                partitioner: "p".into(),
                datacenters: vec![],
            },
            options: DumpOptions {
                format: "csv".into(),
                preserve: "none".into(),
                consistency: "LOCAL_QUORUM".into(),
                selectors: vec![],
                exclude: vec![],
            },
            not_preserved: vec![],
            keyspaces: vec![KeyspaceEntry {
                name: "ks".into(),
                statements: vec![],
                types: vec![TypeEntry::of(&inner)],
                tables: vec![TableEntry {
                    name: "t".into(),
                    path: "data/ks/t".into(),
                    columns: vec![ColumnEntry {
                        name: "k".into(),
                        cql_type: "frozen<\"My Type\">".into(),
                        kind: "partition_key".into(),
                        position: 0,
                        descending: false,
                        write_time: None,
                        expires_at: None,
                    }],
                    exceptions_column: "__wire".into(),
                    rows: 0,
                    cells: 0,
                    bytes: 0,
                    parts: vec![],
                }],
            }],
            roles: None,
        }
    }

    #[test]
    fn a_manifest_reads_back_and_resolves_its_types() {
        let text = manifest().to_text().unwrap();
        let read = Manifest::from_text(&text).unwrap();
        assert_eq!(read.to_text().unwrap(), text);
        let table = read.keyspaces[0].table(&read.keyspaces[0].tables[0]).unwrap();
        assert_eq!(table.columns[0].cql_type.to_string(), "frozen<\"My Type\">");
    }

    #[test]
    fn roles_read_back_with_their_hashes_and_are_no_member_of_a_manifest_without_them() {
        assert!(!manifest().to_text().unwrap().contains("roles"));
        let mut with = manifest();
        let hash = Some(Hash::new("$2a$10$x".into()));
        let role = Role { name: "a".into(), password_hash: hash, ..Role::default() };
        with.roles = Some(Roles { roles: vec![role], grants: Vec::new() });
        let read = Manifest::from_text(&with.to_text().unwrap()).unwrap();
        assert_eq!(read.roles, with.roles);
        let read = serde_json::to_value(&read).unwrap();
        assert_eq!(read["roles"]["roles"][0]["password_hash"], "$2a$10$x");
    }

    #[test]
    fn every_changed_byte_of_a_manifest_is_noticed() {
        let text = manifest().to_text().unwrap();
        for at in 0..text.len() - 2 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Manifest::from_text(&changed).is_err(), "byte {at}: {:?}", &text[at..=at]);
        }
        assert!(matches!(Manifest::from_text("{}"), Err(BadManifest::NoChecksum)));
    }

    #[test]
    fn a_member_of_a_later_minor_version_is_ignored_and_an_unknown_capability_refused() {
        let text = manifest().to_text().unwrap();
        let (body, _) = text.rsplit_once(&before_hash(CHECKSUM)).unwrap();
        let with = |body: String| {
            let hash = xxh3_128(body.as_bytes());
            Manifest::from_text(&format!("{body}{}{hash:032x}\"\n}}\n", before_hash(CHECKSUM)))
        };
        assert!(with(format!("{body},\n  \"later\": 1")).is_ok());
        assert!(matches!(with(body.replace("\"values\"", "\"magic\"")), Err(BadManifest::Capability(_))));
        assert!(matches!(with(body.replace("\"1.0\"", "\"2.0\"")), Err(BadManifest::Format { .. })));
    }

    #[test]
    fn a_file_of_nothing_but_values_is_refused() {
        let values = |count: usize, value: &str| check_values(&format!("{value},").repeat(count)).is_ok();
        assert!(values(FREE_VALUES, r#""""#) && !values(2 * FREE_VALUES, r#""""#));
        assert!(values(2 * FREE_VALUES, &format!("{:16}", "1")));
    }
}
