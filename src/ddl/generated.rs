//! What must hold for every statement: whatever its kind, its names and what stands between its words.

use super::rewrite::rename;
use super::servers::Target;
use super::target::{Adapted, Choices, adapt};
use super::{Kind, Renames, Statement};
use crate::types::cql::Ident;
use proptest::prelude::*;

/// A name that may need quotes, or hold what ends a statement elsewhere.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9_]{0,6}", "[A-Za-z \"';$.,(){}-]{1,6}"]
}

fn text() -> impl Strategy<Value = String> {
    "[a-z'\";$ {}(-]{0,10}".prop_map(|text| format!("'{}'", text.replace('\'', "''")))
}

/// A type; `KS` stands for the keyspace.
fn cql_type() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("int".to_owned()),
        Just("text".to_owned()),
        name().prop_map(|name| format!("frozen<KS.{}>", Ident(&name))),
    ];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| format!("frozen<set<{of}>>")),
            (inner.clone(), inner).prop_map(|(key, value)| format!("map<{key}, {value}>")),
        ]
    })
}

/// Names and types that differ, of which statements take what they need.
#[derive(Clone, Debug)]
struct Parts {
    keyspace: String,
    name: String,
    table: String,
    columns: Vec<(String, String)>,
    text: String,
    body: String,
    between: &'static str,
}

fn parts() -> impl Strategy<Value = Parts> {
    let columns = prop::collection::btree_map(name(), cql_type(), 2..5);
    let between = prop::sample::select(vec![" ", "\n    ", " /* a; ' */ ", " -- it's \"\n", "\t// ;\r\n"]);
    (name(), name(), name(), columns, text(), "[a-z'\"; /*-]{0,10}", between).prop_map(
        |(keyspace, name, table, columns, text, body, between)| {
            let columns = columns.into_iter().collect();
            Parts { keyspace, name, table, columns, text, body, between }
        },
    )
}

impl Parts {
    /// A statement of this kind. A keyspace has its own name, and only indexes and views have a table.
    fn cql(&self, kind: Kind) -> String {
        let (name, table, text) = (Ident(&self.name), Ident(&self.table), &self.text);
        let columns: Vec<String> =
            self.columns.iter().map(|(name, cql)| format!("{} {cql}", Ident(name))).collect();
        let types: Vec<&str> = self.columns.iter().map(|(_, cql)| cql.as_str()).collect();
        let names: Vec<String> = self.columns.iter().map(|(name, _)| Ident(name).to_string()).collect();
        let (first, second, all) = (&names[0], &names[1], columns.join(", "));
        let words = match kind {
            Kind::Keyspace => format!(
                "CREATE KEYSPACE KS WITH replication = {{'class': 'NetworkTopologyStrategy', {text}: '1', 'd': '2'}} AND durable_writes = true AND tablets = {{'enabled': false}}"
            ),
            Kind::Type => format!("CREATE TYPE KS.{name} ( {all} )"),
            Kind::Function => format!(
                "CREATE FUNCTION KS.{name} ( {all} ) CALLED ON NULL INPUT RETURNS {} LANGUAGE java AS $${}$$",
                types[0], self.body
            ),
            Kind::Aggregate => format!(
                "CREATE AGGREGATE KS.{name} ( {} ) SFUNC {first} STYPE {} FINALFUNC {second} INITCOND {{a: {text}}}",
                types.join(", "),
                types[1]
            ),
            Kind::Table => format!(
                "CREATE TABLE KS.{name} ( {all} , masked text MASKED WITH KS.{first}({text}, 1), PRIMARY KEY (({first}), {second}) ) WITH CLUSTERING ORDER BY ({second} DESC) AND comment = {text} AND compaction = {{'class': 'UnifiedCompactionStrategy', {text}: 'x'}} AND speculative_retry = '99p' AND unheard_of = [{text}, 1]"
            ),
            Kind::Index => format!(
                "CREATE CUSTOM INDEX {name} ON KS.{table} ( values({first}) ) USING 'com.example.Index' WITH OPTIONS = {{'a': {text}}}"
            ),
            Kind::View => format!(
                "CREATE MATERIALIZED VIEW KS.{name} AS SELECT {first}, {second} FROM KS.{table} WHERE {first} IS NOT NULL AND {second} = KS.{first}({text}) PRIMARY KEY ({second}, {first}) WITH comment = {text} AND memtable = 'default'"
            ),
        };
        // Between the words that stand outside of quotes, whatever may stand there.
        let mut cql = String::new();
        for token in super::lex::lex(&words).unwrap() {
            match &words[token.range.clone()] {
                " " => cql.push_str(self.between),
                "KS" => cql.push_str(&Ident(&self.keyspace).to_string()),
                other => cql.push_str(other),
            }
        }
        cql + ";"
    }
}

const TARGETS: [&str; 7] = [
    "cassandra-3.11",
    "cassandra-4.0",
    "cassandra-4.1",
    "cassandra-5.0",
    "scylla-5.4",
    "scylla-2025.1",
    "scylla-2026.1",
];

proptest! {
    #[test]
    fn every_statement_is_read_renamed_and_adapted(
        parts in parts(),
        kind in prop::sample::select(Kind::ALL.to_vec()),
        target in prop::sample::select(TARGETS.to_vec()),
    ) {
        let cql = parts.cql(kind);
        let statement = Statement::parse(&cql).unwrap();
        let has_table = matches!(kind, Kind::Index | Kind::View);
        let expected = Statement {
            kind,
            keyspace: parts.keyspace.clone(),
            name: if kind == Kind::Keyspace { parts.keyspace.clone() } else { parts.name.clone() },
            table: has_table.then(|| parts.table.clone()),
            cql: cql.clone(),
        };
        prop_assert_eq!(&statement, &expected);

        // No other name is as long, so that nothing else comes back with it.
        let there = "a name of another place";
        let renames = |from: &str, to: &str| Renames {
            keyspaces: [(from.to_owned(), to.to_owned())].into(),
            ..Renames::default()
        };
        let renamed = rename(&statement, &renames(&parts.keyspace, there)).unwrap();
        let moved = Parts { keyspace: there.to_owned(), ..parts.clone() };
        prop_assert_eq!(&renamed.cql, &moved.cql(kind));
        prop_assert_eq!(&rename(&renamed, &renames(there, &parts.keyspace)).unwrap(), &statement);

        let target: Target = target.parse().unwrap();
        let once = adapt(&statement, &target, Choices::default()).unwrap();
        if let Some(adapted) = once.statement {
            let read = Statement::parse(&adapted.cql).unwrap();
            prop_assert_eq!(&read, &adapted);
            prop_assert_eq!((&read.kind, &read.keyspace, &read.name), (&kind, &expected.keyspace, &expected.name));
            prop_assert_eq!(&read.table, &expected.table);
            let twice = adapt(&adapted, &target, Choices::default()).unwrap();
            prop_assert_eq!(twice, Adapted { statement: Some(adapted), changes: vec![], unsupported: vec![] });
        } else {
            prop_assert!(!once.unsupported.is_empty());
        }
    }
}
