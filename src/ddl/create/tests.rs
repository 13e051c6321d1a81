use super::*;
use crate::ddl::{Kind, Statement};
use proptest::prelude::*;
use serde_json::json;

fn row(value: Value) -> Row {
    let Value::Object(row) = value else { panic!("{value}") };
    row
}

fn rows(values: Vec<Value>) -> Vec<Row> {
    values.into_iter().map(row).collect()
}

fn keyspace_row(name: &str) -> Row {
    row(json!({
        "keyspace_name": name, "durable_writes": true,
        "replication": {"class": "org.apache.cassandra.locator.SimpleStrategy", "replication_factor": "1"},
    }))
}

fn column(table: &str, name: &str, cql: &str, kind: &str, position: i64) -> Value {
    json!({"keyspace_name": "ks", "table_name": table, "column_name": name, "clustering_order": "none",
           "kind": kind, "position": position, "type": cql})
}

fn table_row(name: &str) -> Value {
    json!({"keyspace_name": "ks", "table_name": name, "id": "0", "flags": ["compound"], "comment": "it's"})
}

/// The catalogue of a ScyllaDB before 5.2, which prints no statements: an index and the view that it is kept in, an index
/// within a partition, a column whose name needs quotes, a log of changes, an aggregate with a function to reduce by. By
/// its source (`db/schema_tables.cc`, `index/target_parser.cc`) and <https://docs.scylladb.com/manual/branch-5.1/cql/cdc.html>;
/// not run by us.
#[test]
fn what_only_scylladb_keeps_in_its_catalogue() {
    let index = |name: &str, target: &str| {
        json!({"keyspace_name": "ks", "table_name": "t", "index_name": name, "kind": "COMPOSITES",
               "options": {"target": target}})
    };
    let view = |name: &str| {
        json!({"keyspace_name": "ks", "view_name": name, "base_table_name": "t", "base_table_id": "0",
               "include_all_columns": true, "where_clause": "v IS NOT NULL", "default_time_to_live": 0,
               "gc_grace_seconds": 60})
    };
    let of_table = |name: &str, cdc: Value, partitioner: Value| {
        json!({"keyspace_name": "ks", "table_name": name, "version": "0", "cdc": cdc, "partitioner": partitioner,
               "in_memory": name == "t"})
    };
    let key = |table: &str| column(table, "p", "int", "partition_key", 0);
    let all = Rows {
        keyspace: keyspace_row("ks"),
        tables: rows(vec![table_row("t"), table_row("t_scylla_cdc_log")]),
        columns: rows(vec![
            key("t"),
            column("t", "v", "text", "regular", -1),
            column("t", "Va L", "text", "regular", -1),
            column("t", "m", "map<text, int>", "regular", -1),
            key("t_scylla_cdc_log"),
            column("by_v", "v", "text", "partition_key", 0),
            column("t_v_index", "v", "text", "partition_key", 0),
            column("other_index", "v", "text", "partition_key", 0),
        ]),
        indexes: rows(vec![
            index("t_v", "v"),
            index("t_val", "Va L"),
            index("t_keys", "keys(m)"),
            index("t_local", r#"{"pk":["p"],"ck":["Va L"]}"#),
        ]),
        views: rows(vec![view("by_v"), view("t_v_index"), view("other_index")]),
        aggregates: rows(vec![json!({
            "keyspace_name": "ks", "aggregate_name": "avg2", "argument_types": ["int"], "state_func": "add",
            "state_type": "frozen<tuple<int, int>>", "final_func": "divide", "initcond": "(0, 0)",
        })]),
        scylla: Some(Scylla {
            tables: rows(vec![
                of_table("t", json!({"enabled": "true", "ttl": "86400"}), Value::Null),
                of_table("t_scylla_cdc_log", Value::Null, json!("com.scylladb.dht.CDCPartitioner")),
            ]),
            aggregates: rows(vec![json!({
                "keyspace_name": "ks", "aggregate_name": "avg2", "argument_types": ["int"],
                "reduce_func": "sum_up", "state_type": "frozen<tuple<int, int>>",
            })]),
        }),
        ..Rows::default()
    };
    let made = create(&all).unwrap();
    assert_eq!(made.unknown, [("t".to_owned(), "in_memory = true".to_owned())]);
    insta::assert_snapshot!(made.statements.join("\n\n"));
    made.statements.iter().for_each(|cql| drop(Statement::parse(cql).unwrap()));
    // Elsewhere such a view is what somebody made.
    let made = create(&Rows { scylla: None, ..all }).unwrap();
    assert!(made.statements.iter().any(|cql| cql.contains("VIEW ks.t_v_index")));
}

/// A name that may need quotes, or hold what ends a statement elsewhere.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9_]{0,6}", "[A-Za-z \"';$-]{1,6}"]
}

fn cql_type() -> impl Strategy<Value = String> {
    let leaf =
        prop_oneof![Just("int".to_owned()), Just("text".to_owned()), Just("frozen<\"T t\">".to_owned())];
    leaf.prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| format!("frozen<list<{of}>>")),
            (inner.clone(), inner).prop_map(|(key, value)| format!("map<{key}, {value}>")),
        ]
    })
}

proptest! {
    /// Whatever stands in a catalogue, each row makes one statement that says what it was.
    #[test]
    fn each_row_makes_one_statement_of_its_own(
        keyspace in name(), table in name(), columns in prop::collection::btree_map(name(), cql_type(), 1..5),
        comment in "[a-z'\";$ -]{0,12}", body in "[a-z'\"$;/* -]{0,16}",
    ) {
        let (names, types): (Vec<&String>, Vec<&String>) = columns.iter().unzip();
        let column = |(at, (name, cql)): (usize, (&String, &String))| json!({
            "table_name": table, "column_name": name, "clustering_order": "none", "type": cql,
            "kind": if at == 0 { "partition_key" } else { "regular" }, "position": 0,
        });
        let all = Rows {
            keyspace: keyspace_row(&keyspace),
            types: rows(vec![json!({"type_name": table, "field_names": names, "field_types": types})]),
            functions: rows(vec![json!({
                "function_name": table, "argument_names": names, "argument_types": types, "return_type": "int",
                "called_on_null_input": true, "language": "java", "body": body,
            })]),
            tables: rows(vec![json!({
                "keyspace_name": keyspace, "table_name": table, "flags": ["compound"], "comment": comment,
            })]),
            columns: rows(columns.iter().enumerate().map(column).collect()),
            ..Rows::default()
        };
        let made = create(&all).unwrap();
        let read: Vec<Statement> = made.statements.iter().map(|cql| Statement::parse(cql).unwrap()).collect();
        let kinds: Vec<Kind> = read.iter().map(|s| s.kind).collect();
        prop_assert_eq!(kinds, [Kind::Keyspace, Kind::Type, Kind::Function, Kind::Table]);
        for (statement, cql) in read.iter().zip(&made.statements) {
            prop_assert_eq!(&statement.cql, cql);
            prop_assert_eq!(&statement.keyspace, &keyspace);
            prop_assert!(statement.kind == Kind::Keyspace || statement.name == table);
        }
        let told = crate::ddl::options::Parts::of(&read[3]).unwrap();
        let expected = format!("'{}'", comment.replace('\'', "''"));
        prop_assert_eq!(&told.option("comment").unwrap().value, &expected);
    }
}
