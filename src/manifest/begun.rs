//! What an unfinished dump says of itself: what was begun, by which options, of which tables. The next run goes on only
//! if it would do the same; how it would differ is told here.

use super::{BadManifest, CHECKSUM, ColumnEntry, DumpOptions, TypeEntry, sealed, unsealed};
use crate::table::Table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The record of a dump that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Format version, `major.minor`.
    pub format: String,
    /// Tool and version that began it.
    pub tool: String,
    /// Identifies the dump.
    pub id: String,
    /// When it first began, RFC 3339 UTC by the cluster's clock.
    pub started: String,
    /// `cluster_name` of the cluster.
    pub cluster: String,
    /// Host ids of its nodes: a name is not unique, and a restored copy has the ids of the tables too.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Full class name of its partitioner.
    pub partitioner: String,
    /// The options that decide its content.
    pub options: DumpOptions,
    /// Whether roles are dumped.
    pub roles: bool,
    /// Whether columns that cannot be read are left out.
    pub skip_unsupported: bool,
    /// What is dumped.
    pub tables: Vec<BegunTable>,
}

/// A table of a dump that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunTable {
    /// True keyspace name, unquoted.
    pub keyspace: String,
    /// True name, unquoted.
    pub name: String,
    /// The server's id of it: a table that is made again has another one.
    pub id: String,
    /// Its columns in the order of the files' columns, and what is kept beside them.
    pub columns: Vec<ColumnEntry>,
    /// The user types it uses, inner ones first.
    pub types: Vec<TypeEntry>,
    /// When columns of these names were dropped, ms since 1970: one that was added again under its name has lost its cells.
    /// Not known of dumps that an earlier version began.
    #[serde(default)]
    pub dropped: Option<BTreeMap<String, i64>>,
}

impl Begun {
    /// The file's text, with a checksum.
    ///
    /// # Errors
    /// `BadManifest::Json` if it cannot be written as JSON.
    pub fn to_text(&self) -> Result<String, BadManifest> {
        sealed(self, CHECKSUM)
    }

    /// Reads the file's text and checks its checksum.
    ///
    /// # Errors
    /// `BadManifest` says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Begun, BadManifest> {
        unsealed(text, CHECKSUM)
    }

    /// How what a run is about to do differs from what was begun; nothing if it may go on. Tables that have been made
    /// since are no difference: nothing was begun of them.
    pub fn differences(&self, now: &Begun) -> Vec<String> {
        let told = |(what, begun, now): (&str, &str, &str)| {
            (begun != now).then(|| format!("{what} was {} and is {} now", shown(begun), shown(now)))
        };
        let list = |names: &[String]| names.join(" ");
        let given = |flag: bool| if flag { "given" } else { "not given" };
        let (was, is) = (&self.options, &now.options);
        let mut differences: Vec<String> = [
            ("the tool", self.tool.as_str(), now.tool.as_str()),
            ("the format version", &self.format, &now.format),
            ("the cluster", &self.cluster, &now.cluster),
            ("its partitioner", &self.partitioner, &now.partitioner),
            ("the selection", &list(&was.selectors), &list(&is.selectors)),
            ("--exclude", &list(&was.exclude), &list(&is.exclude)),
            ("--format", &was.format, &is.format),
            ("--preserve", &was.preserve, &is.preserve),
            ("--consistency", &was.consistency, &is.consistency),
            ("--roles", given(self.roles), given(now.roles)),
            ("--skip-unsupported", given(self.skip_unsupported), given(now.skip_unsupported)),
        ]
        .into_iter()
        .filter_map(told)
        .collect();
        // Nodes come and go, but not all of them at once.
        let known_host = || self.hosts.iter().any(|host| now.hosts.contains(host));
        if self.cluster == now.cluster && !self.hosts.is_empty() && !known_host() {
            differences.push(format!(
                "the cluster is another one of the name {}: all its nodes are others",
                now.cluster
            ));
        }
        // Of other options or of another cluster, other tables are only what follows.
        if differences.is_empty() {
            let table = |table: &BegunTable| table.change(now.table(&table.keyspace, &table.name));
            differences.extend(self.tables.iter().filter_map(table));
        }
        differences
    }

    /// A table by true names.
    pub fn table(&self, keyspace: &str, name: &str) -> Option<&BegunTable> {
        self.tables.iter().find(|table| table.keyspace == keyspace && table.name == name)
    }
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "nothing" } else { value }
}

impl BegunTable {
    /// What is to be known again of a table, its id, and when columns of it were dropped, of whatever name.
    pub fn of(table: &Table, id: Option<&str>, dropped: Option<&BTreeMap<String, i64>>) -> BegunTable {
        let mut dropped = dropped.cloned().unwrap_or_default();
        dropped.retain(|name, _| table.columns.iter().any(|column| column.name == *name));
        BegunTable {
            keyspace: table.keyspace.clone(),
            name: table.name.clone(),
            id: id.unwrap_or_default().to_owned(),
            columns: (0..table.columns.len()).map(|index| ColumnEntry::of(table, index)).collect(),
            types: table.udts().iter().map(|udt| TypeEntry::of(udt)).collect(),
            dropped: Some(dropped),
        }
    }

    /// What has become of the table, if it is not what it was; `now` is `None` if it is gone.
    pub fn change(&self, now: Option<&BegunTable>) -> Option<String> {
        let name = format!("{}.{}", self.keyspace, self.name);
        let Some(now) = now else { return Some(format!("{name} was dropped")) };
        if self.id != now.id {
            return Some(format!("{name} was dropped and made again"));
        }
        let what = self
            .changed_column(now)
            .or_else(|| self.changed_type(now))
            .or_else(|| self.emptied_column(now))?;
        Some(format!("{name} was altered: {what}"))
    }

    fn changed_column(&self, now: &BegunTable) -> Option<String> {
        let find = |columns: &[ColumnEntry], name: &str| columns.iter().find(|c| c.name == name).cloned();
        for was in &self.columns {
            match find(&now.columns, &was.name) {
                None => return Some(format!("column {:?} was dropped", was.name)),
                Some(is) if is == *was => {}
                Some(is) if is.cql_type != was.cql_type => {
                    return Some(format!(
                        "column {:?} was of type {} and is of {}",
                        was.name, was.cql_type, is.cql_type
                    ));
                }
                Some(is) if (&is.write_time, &is.expires_at) != (&was.write_time, &was.expires_at) => {
                    return Some(format!(
                        "the cluster tells something else of the times of column {:?} now",
                        was.name
                    ));
                }
                Some(_) => return Some(format!("column {:?} has another place in the table", was.name)),
            }
        }
        let added = now.columns.iter().find(|is| find(&self.columns, &is.name).is_none())?;
        Some(format!("column {:?} was added", added.name))
    }

    fn emptied_column(&self, now: &BegunTable) -> Option<String> {
        let (was, is) = (self.dropped.as_ref()?, now.dropped.as_ref()?);
        let (name, _) = is.iter().find(|(name, at)| was.get(*name) != Some(*at))?;
        Some(format!("column {name:?} was dropped and added again"))
    }

    fn changed_type(&self, now: &BegunTable) -> Option<String> {
        let fields = |entry: &TypeEntry| {
            let fields: Vec<String> =
                entry.fields.iter().map(|f| format!("{} {}", f.name, f.cql_type)).collect();
            fields.join(", ")
        };
        let changed = self.types.iter().find(|was| !now.types.contains(was))?;
        let is = now.types.iter().find(|is| is.name == changed.name);
        Some(format!(
            "its type {:?} was ({}) and is ({})",
            changed.name,
            fields(changed),
            is.map_or(String::new(), fields)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FieldEntry;
    use crate::table::{ColumnKind, made};

    fn begun() -> Begun {
        let columns = [("k", ColumnKind::PartitionKey, "int"), ("v", ColumnKind::Regular, "text")];
        let table = made::table(&columns, &[]);
        Begun {
            format: "1.0".into(),
            tool: "cqlift 0".into(),
            id: "1".into(),
            started: "then".into(),
            cluster: "c".into(),
            hosts: vec!["h1".into(), "h2".into()],
            partitioner: "p".into(),
            options: DumpOptions {
                format: "csv".into(),
                preserve: "all".into(),
                consistency: "LOCAL_QUORUM".into(),
                selectors: vec!["ks".into()],
                exclude: vec![],
            },
            roles: false,
            skip_unsupported: false,
            tables: vec![BegunTable::of(&table, Some("id"), None)],
        }
    }

    #[test]
    fn a_record_reads_back_and_every_changed_byte_is_noticed() {
        let text = begun().to_text().unwrap();
        assert_eq!(Begun::from_text(&text).unwrap(), begun());
        for at in 0..text.len() - 2 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Begun::from_text(&changed).is_err(), "byte {at}: {:?}", &text[at..=at]);
        }
        for len in 0..text.len() - 2 {
            assert!(Begun::from_text(&text[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn each_difference_is_named_with_both_values() {
        let differs = |change: fn(&mut Begun)| {
            let mut now = begun();
            change(&mut now);
            begun().differences(&now).join("; ")
        };
        assert_eq!(differs(|now| (now.id, now.started) = ("2".into(), "now".into())), "");
        assert_eq!(
            differs(|now| now.options.format = "parquet".into()),
            "--format was csv and is parquet now"
        );
        assert_eq!(differs(|now| now.options.selectors = vec![]), "the selection was ks and is nothing now");
        assert_eq!(
            differs(|now| (now.roles, now.cluster) = (true, "d".into())),
            "the cluster was c and is d now; --roles was not given and is given now"
        );
        assert_eq!(differs(|now| now.hosts = vec!["h3".into(), "h2".into()]), "");
        assert_eq!(
            differs(|now| now.hosts = vec!["h3".into()]),
            "the cluster is another one of the name c: all its nodes are others"
        );
        assert_eq!(differs(|now| now.tables.clear()), "ks.t was dropped");
        assert_eq!(differs(|now| now.tables[0].id = "x".into()), "ks.t was dropped and made again");
        let altered = |what: &str| format!("ks.t was altered: {what}");
        assert_eq!(
            differs(|now| now.tables[0].columns[1].cql_type = "blob".into()),
            altered("column \"v\" was of type text and is of blob")
        );
        assert_eq!(differs(|now| drop(now.tables[0].columns.pop())), altered("column \"v\" was dropped"));
        assert_eq!(
            differs(|now| now.tables[0].dropped = Some(BTreeMap::from([("v".into(), 1)]))),
            altered("column \"v\" was dropped and added again")
        );
        assert_eq!(differs(|now| now.tables[0].dropped = None), "");
        assert_eq!(
            differs(|now| {
                let added = ColumnEntry { name: "w".into(), ..now.tables[0].columns[1].clone() };
                now.tables[0].columns.push(added);
            }),
            altered("column \"w\" was added")
        );
        let with_type = |fields: &[(&str, &str)]| {
            let field = |(name, cql_type): &(&str, &str)| FieldEntry {
                name: (*name).to_owned(),
                cql_type: (*cql_type).to_owned(),
            };
            let entry = TypeEntry { name: "u".into(), fields: fields.iter().map(field).collect() };
            BegunTable { types: vec![entry], ..begun().tables.remove(0) }
        };
        assert_eq!(
            with_type(&[("a", "int")]).change(Some(&with_type(&[("a", "int"), ("b", "text")]))),
            Some(altered("its type \"u\" was (a int) and is (a int, b text)"))
        );
        // Made since: nothing was begun of it.
        assert_eq!(
            differs(|now| {
                let made = BegunTable { name: "u".into(), ..now.tables[0].clone() };
                now.tables.push(made);
            }),
            ""
        );
    }
}
