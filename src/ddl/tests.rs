use super::rewrite::{post_data_name, rename, replication};
use super::*;
use proptest::prelude::*;

const SIMPLE: &str = r#"CREATE TABLE "KdMix".simple (
    id int PRIMARY KEY,
    v text
) WITH additional_write_policy = '99p'
    AND allow_auto_snapshot = true
    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}
    AND cdc = false
    AND comment = ''
    AND compaction = {'class': 'org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy', 'max_threshold': '32', 'min_threshold': '4'}
    AND extensions = {}
    AND read_repair = 'BLOCKING'
    AND speculative_retry = '99p';"#;

const COMPACT: &str = r#"/*
Warning: Table "KdMix".cs_dense omitted because it has constructs not compatible with CQL (was created via legacy API).
Approximate structure, for reference:
(this should not be used to reproduce this schema)

CREATE TABLE "KdMix".cs_dense ( k text, c1 int, v text, PRIMARY KEY (k, c1)) WITH COMPACT STORAGE
    AND CLUSTERING ORDER BY (c1 ASC);
*/"#;

const KEYSPACE: &str = "CREATE KEYSPACE lab WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'}  AND durable_writes = true;";

// A keyspace that is also a column, a type, an option's key and value, a comment; traps in every quoted place.
const LAB: &str = r#"CREATE TABLE lab."on" ( -- CREATE TABLE lab.t (
    lab frozen<lab.lab>,
    /* lab.t; */ "lab.t" map<int, frozen<"LAB"."My Type">>,
    v text MASKED WITH lab.hide('lab.t', 0.5),
    s text MASKED WITH system.mask_default(),
    c 'org.apache.cassandra.db.marshal.DynamicCompositeType(a=>org.apache.cassandra.db.marshal.BytesType)',
    PRIMARY KEY (lab, "lab.t")
) WITH CLUSTERING ORDER BY ("lab.t" ASC)
    AND comment = 'it''s a "comment"; CREATE TABLE lab.t (lab.lab'
    AND compression = {'lab': 'lab.on'};"#;

const VIEW: &str = r#"CREATE MATERIALIZED VIEW lab.mv AS
    SELECT a, "from", lab
    FROM lab.base
    WHERE a IS NOT NULL AND "from" IS NOT NULL AND lab >= 0
    PRIMARY KEY (a, "from")
 WITH CLUSTERING ORDER BY ("from" DESC)
    AND comment = 'FROM lab.base';"#;

const FUNCTION: &str = "CREATE FUNCTION lab.fadd(a frozen<lab.pair>, \"b;\" int)
    RETURNS NULL ON NULL INPUT
    RETURNS lab.pair
    LANGUAGE java
    AS $$return lab.pair; /* ' \" -- */ $$;";

const AGGREGATE: &str = "CREATE AGGREGATE lab.agg(int, frozen<lab.pair>)
    SFUNC lab
    STYPE lab.pair
    FINALFUNC fin
    INITCOND {lab: 1, s: 'lab.x'};";

fn parse(cql: &str) -> Statement {
    Statement::parse(cql).unwrap_or_else(|e| panic!("{e}: {cql}"))
}

fn renames(keyspaces: &[(&str, &str)], tables: &[(&str, &str, &str, &str)]) -> Renames {
    Renames {
        keyspaces: keyspaces.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect(),
        tables: tables
            .iter()
            .map(|(a, b, c, d)| ((a.to_string(), b.to_string()), (c.to_string(), d.to_string())))
            .collect(),
    }
}

#[test]
fn each_kind_is_recognised_with_its_names() {
    use Kind::*;
    let index =
        r#"CREATE CUSTOM INDEX "Ix" ON "KdMix"."on" (values(l)) USING 'sai' WITH OPTIONS = {'a;': 'b'};"#;
    for (cql, kind, keyspace, name, table) in [
        (SIMPLE, Table, "KdMix", "simple", None),
        (KEYSPACE, Keyspace, "lab", "lab", None),
        (LAB, Table, "lab", "on", None),
        (VIEW, View, "lab", "mv", Some("base")),
        (FUNCTION, Function, "lab", "fadd", None),
        (AGGREGATE, Aggregate, "lab", "agg", None),
        (index, Index, "KdMix", "Ix", Some("on")),
        ("create type if not exists Ks.\"My \"\"T\" (\"Fi eld\" int)", Type, "ks", "My \"T", None),
        ("CREATE INDEX ON ks.t (keys(b))", Index, "ks", "", Some("t")),
        ("CREATE INDEX ks.i ON t (b)", Index, "ks", "i", Some("t")),
        ("CREATE INDEX \"on\" ON ks.\"on\" (b)", Index, "ks", "on", Some("on")),
        ("CREATE TABLE ks.table (key int)", Table, "ks", "table", None),
        ("CREATE KEYSPACE \"a.b\"", Keyspace, "a.b", "a.b", None),
    ] {
        let s = parse(cql);
        assert_eq!(
            (s.kind, s.keyspace.as_str(), s.name.as_str(), s.table.as_deref()),
            (kind, keyspace, name, table),
            "{cql}"
        );
        assert_eq!(s.cql, cql);
        let around = format!("\n-- before;\n{cql} /* after; */ ;; -- end");
        let again = parse(&around);
        assert_eq!((again.name, again.kind), (s.name, s.kind), "{cql}");
    }
}

#[test]
fn what_is_not_one_create_statement_is_named() {
    let error = |cql: &str| Statement::parse(cql).unwrap_err();
    assert_eq!(error(COMPACT), DdlError::OnlyComment);
    assert_eq!(error(" -- x"), DdlError::OnlyComment);
    assert_eq!(error(" ; "), DdlError::Empty);
    for (cql, part) in [
        ("DROP TABLE a.b", "DROP TABLE is not"),
        ("GRANT SELECT ON a.b TO c", "GRANT SELECT is not"),
        ("ALTER TABLE a.b ADD c int", "ALTER TABLE is not"),
        ("CREATE ROLE x", "CREATE ROLE is not"),
        ("CREATE TRIGGER x ON a.b USING 'c'", "CREATE TRIGGER is not"),
        ("CREATE OR REPLACE TABLE a.b (c int)", "CREATE OR is not"),
        ("CREATE OR REPLACE FUNCTION a.b () RETURNS int", "CREATE OR is not"),
        ("'x'", "'x' is not"),
        (
            "CREATE TABLE a.b (c int); ALTER TABLE a.b DROP c USING TIMESTAMP 1;",
            "after the first one comes ALTER TABLE",
        ),
        ("CREATE TABLE b (c int)", "ks.b"),
        ("CREATE INDEX i ON b (c)", "ks.i"),
        ("CREATE TABLE a.b LIKE c.d", "expected ( at byte 17, found \"LIKE\""),
        ("CREATE TABLE a.\"\" (c int)", "expected the name"),
        ("CREATE TABLE a.b (c int", "bracket at byte 17"),
        ("CREATE TABLE a.b (c int))", "bracket at byte 24"),
        ("CREATE TABLE a.b (c map<int, 'x)", "string that begins at byte 29"),
        ("CREATE MATERIALIZED VIEW a.v AS SELECT b", "expected FROM"),
        ("CREATE INDEX a.i ON b.t (c)", "its table in \"b\""),
        ("CREATE KEYSPACE a WITH replication = 3", "the replication map"),
        ("CREATE KEYSPACE a.b WITH x = 1", "expected WITH"),
        ("CREATE TABLE", "expected the name at byte 12, found the end"),
    ] {
        let message = error(cql).to_string();
        assert!(message.contains(part), "{cql}: {message}");
    }
}

#[test]
fn kinds_and_sections_keep_their_names() {
    // As DESCRIBE has them in its column `type` (Cassandra 4.0 to 5.0), and as manifests do.
    let names = ["keyspace", "type", "function", "aggregate", "table", "index", "materialized_view"];
    assert_eq!(Kind::ALL.map(Kind::name), names);
    assert_eq!([Section::PreData, Section::PostData].map(Section::name), ["pre-data", "post-data"]);
    assert_eq!(Kind::View.section(), Section::PostData);
    assert_eq!(Kind::Table.section(), Section::PreData);
}

#[test]
fn a_keyspace_is_renamed_where_it_is_a_keyspace_only() {
    let r = renames(&[("lab", "Neu"), ("LAB", "other")], &[]);
    let to = |cql: &str| rename(&parse(cql), &r).unwrap().cql;
    assert_eq!(to(KEYSPACE), KEYSPACE.replace("KEYSPACE lab", "KEYSPACE \"Neu\""));
    assert_eq!(
        to(LAB),
        LAB.replace("TABLE lab.\"on\"", "TABLE \"Neu\".\"on\"")
            .replace("<lab.lab>", "<\"Neu\".lab>")
            .replace("\"LAB\".", "other.")
            .replace("lab.hide", "\"Neu\".hide")
    );
    assert_eq!(
        to(VIEW),
        VIEW.replace("VIEW lab", "VIEW \"Neu\"").replace("\n    FROM lab", "\n    FROM \"Neu\"")
    );
    assert_eq!(
        to(FUNCTION),
        FUNCTION
            .replace("FUNCTION lab.", "FUNCTION \"Neu\".")
            .replace("<lab.pair", "<\"Neu\".pair")
            .replace("RETURNS lab.", "RETURNS \"Neu\".")
    );
    assert_eq!(
        to(AGGREGATE),
        AGGREGATE
            .replace("AGGREGATE lab.", "AGGREGATE \"Neu\".")
            .replace("<lab.pair", "<\"Neu\".pair")
            .replace("STYPE lab.", "STYPE \"Neu\".")
    );
    assert_eq!(to(SIMPLE), SIMPLE);
}

#[test]
fn tables_take_their_indexes_and_views_along() {
    let r = renames(
        &[("moved", "dest")],
        &[("ks", "t", "ks", "t2"), ("ks", "u", "far", "u2"), ("ks", "named_view", "ks", "my_view")],
    );
    for (from, to) in [
        ("CREATE TABLE ks.t (a frozen<ks.x>)", "CREATE TABLE ks.t2 (a frozen<ks.x>)"),
        ("CREATE TABLE ks.u (a frozen<ks.x>)", "CREATE TABLE far.u2 (a frozen<far.x>)"),
        ("CREATE TABLE ks.v (t int)", "CREATE TABLE ks.v (t int)"),
        ("CREATE INDEX t_t_idx ON ks.t (t)", "CREATE INDEX t2_t_idx ON ks.t2 (t)"),
        ("CREATE INDEX mine ON ks.t (t)", "CREATE INDEX mine_t2 ON ks.t2 (t)"),
        ("CREATE INDEX ON ks.t (t)", "CREATE INDEX ON ks.t2 (t)"),
        ("CREATE INDEX mine ON ks.u (t)", "CREATE INDEX mine ON far.u2 (t)"),
        ("CREATE INDEX moved.i ON t (a)", "CREATE INDEX dest.i ON dest.t (a)"),
        ("CREATE INDEX ks.i ON x (a)", "CREATE INDEX ks.i ON ks.x (a)"),
        (
            "CREATE MATERIALIZED VIEW ks.v AS SELECT t FROM ks.t WHERE t = ks.f(1) PRIMARY KEY (t)",
            "CREATE MATERIALIZED VIEW ks.v_t2 AS SELECT t FROM ks.t2 WHERE t = ks.f(1) PRIMARY KEY (t)",
        ),
        (
            "CREATE MATERIALIZED VIEW ks.named_view AS SELECT * FROM t PRIMARY KEY (t)",
            "CREATE MATERIALIZED VIEW ks.my_view AS SELECT * FROM ks.t2 PRIMARY KEY (t)",
        ),
        (
            "CREATE MATERIALIZED VIEW moved.v AS SELECT t FROM moved.t WHERE t = moved.f(1) PRIMARY KEY (t)",
            "CREATE MATERIALIZED VIEW dest.v AS SELECT t FROM dest.t WHERE t = dest.f(1) PRIMARY KEY (t)",
        ),
    ] {
        let renamed = rename(&parse(from), &r).unwrap();
        assert_eq!(renamed.cql, to);
    }
    let apart = renames(&[], &[("ks", "v", "far", "v")]);
    let view = parse("CREATE MATERIALIZED VIEW ks.v AS SELECT t FROM ks.t PRIMARY KEY (t)");
    assert!(matches!(rename(&view, &apart), Err(DdlError::Apart { .. })));
}

#[test]
fn names_of_indexes_change_only_with_the_table_inside_its_keyspace() {
    assert_eq!(post_data_name("t_a", ("k", "t"), ("k", "u")), "u_a");
    assert_eq!(post_data_name("ta", ("k", "t"), ("k", "u")), "ta_u");
    assert_eq!(post_data_name("t_a", ("k", "t"), ("l", "u")), "t_a");
    assert_eq!(post_data_name("t_a", ("k", "t"), ("k", "t")), "t_a");
}

#[test]
fn only_the_replication_map_is_replaced() {
    let to =
        |cql: &str, text: &str| replication(&parse(cql), &Replication::parse(text).unwrap()).unwrap().cql;
    assert_eq!(
        to(KEYSPACE, "3"),
        "CREATE KEYSPACE lab WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '3'}  AND durable_writes = true;"
    );
    assert_eq!(
        to(
            "CREATE KEYSPACE a WITH tablets = {'replication': '{'} AND REPLICATION={'class' : 'x'}",
            "dc1=3, Dc'2 = 0"
        ),
        "CREATE KEYSPACE a WITH tablets = {'replication': '{'} AND REPLICATION={'class': 'NetworkTopologyStrategy', 'dc1': '3', 'Dc''2': '0'}"
    );
    let literal = "{'class': 'N', 'dc1': ['r1', 'r2'], 'dc2': 2}";
    assert_eq!(to("CREATE KEYSPACE a;", literal), format!("CREATE KEYSPACE a WITH replication = {literal};"));
    assert_eq!(
        to("CREATE KEYSPACE a WITH durable_writes = false", literal),
        format!("CREATE KEYSPACE a WITH replication = {literal} AND durable_writes = false")
    );
    assert_eq!(to(SIMPLE, "1"), SIMPLE);
}

/// Every rewrite that is not for a server, each below what it was.
#[test]
fn rewrites_of_names_and_replication() {
    let r = renames(&[("lab", "Neu")], &[("KdMix", "simple", "there", "other")]);
    let mut shown = String::new();
    for cql in
        [SIMPLE, KEYSPACE, LAB, VIEW, FUNCTION, AGGREGATE, "CREATE INDEX simple_v ON \"KdMix\".simple (v);"]
    {
        shown.push_str(&format!("{cql}\n== renamed\n{}\n\n", rename(&parse(cql), &r).unwrap().cql));
    }
    let here = ["dc1", "x"];
    for map in [
        "{'class': 'SimpleStrategy', 'replication_factor': '1'}",
        "{'class': 'NetworkTopologyStrategy', 'dc1': '3', 'dc2': '1'}",
        "{'class': 'NetworkTopologyStrategy', 'replication_factor': '3', 'dc1': '2'}",
        "{'class': 'NetworkTopologyStrategy', 'a': ['r1', 'r2']}",
        "{'class': 'LocalStrategy'}",
    ] {
        let statement =
            parse(&format!("CREATE KEYSPACE k WITH replication = {map} AND durable_writes = false;"));
        shown.push_str(&format!("{}\n", statement.cql));
        for asked in
            ["2", "dc1=3,x=1", "same", "k:{'class': 'SimpleStrategy', 'replication_factor': 3}", "other:1"]
        {
            let overrides = Overrides::parse(&[asked.to_owned()]).unwrap();
            let to = overrides.of("k", &statement, &here).unwrap();
            let written = to.map(|to| replication(&statement, &to).unwrap().cql);
            shown.push_str(&format!(
                "== --replication {asked}\n{}\n",
                written.unwrap_or_else(|| "as it is".to_owned())
            ));
        }
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_bad_replication_shows_the_three_forms() {
    for text in [
        "",
        "x",
        "0",
        "-1",
        "3.5",
        "dc1=",
        "=3",
        "dc1=3,",
        "dc1=3,dc1=2",
        "dc1=0",
        "class=3",
        "{}",
        "{'class': 'x'",
        "{'class': 'x'} AND y = 1",
        "{class: 'x'}",
        "{'a': 1}",
        "{'class': 'x',}",
        "{'class': 'x', 'a': []}",
        "{'class': 'x', 'class': 'y'}",
        "{'class': 'x' /* */}",
        "99999999999",
        "{'class': 'x}",
    ] {
        let message = Replication::parse(text).unwrap_err().to_string();
        for form in ["3 (Simple", "dc1=3,dc2=2", "{'class': 'SimpleStrategy'"] {
            assert!(message.contains(form), "{text}: {message}");
        }
    }
}

#[test]
fn statements_are_put_in_replay_order() {
    let given = [
        "CREATE MATERIALIZED VIEW k.v AS SELECT a FROM k.t PRIMARY KEY (a)",
        "CREATE INDEX i ON k.t (a)",
        "CREATE TABLE k.z (a int)",
        "CREATE TABLE k.t (a int)",
        "CREATE TYPE k.outer (last int, x frozen<map<int, frozen<\"In ner\">>>, y frozen<tuple<int, k.mid>>)",
        "CREATE AGGREGATE k.g(int) SFUNC f STYPE int",
        "CREATE TYPE k.mid (a list<frozen<last>>)",
        "CREATE FUNCTION k.f(a int) RETURNS int LANGUAGE java AS ''",
        "CREATE TYPE l.mid (outer int)",
        "CREATE TYPE k.\"In ner\" (a int)",
        "CREATE TYPE k.last (outer int, mid int)",
        "CREATE KEYSPACE l",
        "CREATE KEYSPACE k",
    ];
    let names: Vec<String> = order(given.iter().map(|s| parse(s)).collect())
        .into_iter()
        .map(|s| format!("{}.{}", s.keyspace, s.name))
        .collect();
    assert_eq!(
        names,
        [
            "l.l", "k.k", "k.In ner", "k.last", "k.mid", "k.outer", "l.mid", "k.f", "k.g", "k.z", "k.t",
            "k.i", "k.v"
        ]
    );
}

#[test]
fn a_circle_of_types_keeps_every_type() {
    let types: Vec<Statement> =
        (0..5000).map(|i| parse(&format!("CREATE TYPE k.t{i} (a t{}, b t{i})", (i + 1) % 5000))).collect();
    let mut names: Vec<String> = order(types).into_iter().map(|t| t.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5000);
}

proptest! {
    #[test]
    fn a_renamed_statement_is_the_one_written_with_the_new_names(
        ks in "[a-zA-Z\"; ]{1,5}", table in "[a-z'\"$]{1,5}", ks2 in "[a-zA-Z.]{1,5}", table2 in "[a-z-]{1,5}",
        comment in "[a-z';$\"/*-]{0,12}",
    ) {
        use crate::types::cql::Ident;
        let write = |ks: &str, table: &str| format!(
            "CREATE TABLE {}.{} (\"{}\" int, k frozen<{}.x>, PRIMARY KEY (k)) WITH comment = '{}'",
            Ident(ks), Ident(table), ks2, Ident(ks), comment.replace('\'', "''"),
        );
        let before = parse(&write(&ks, &table));
        let r = renames(&[], &[(&ks, &table, &ks2, &table2)]);
        let after = rename(&before, &r).unwrap();
        prop_assert_eq!(&after.cql, &write(&ks2, &table2));
        prop_assert_eq!((&after.keyspace, &after.name), (&ks2, &table2));
        prop_assert_eq!(rename(&before, &Renames::default()).unwrap(), before);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(CREATE |TABLE |VIEW |INDEX |KEYSPACE |MATERIALIZED |ON |AS SELECT |FROM |WITH |replication|=|[a-z(){}<>.,;'\"$ ]){0,25}") {
        if let Ok(statement) = Statement::parse(&text) {
            let r = renames(&[(&statement.keyspace, "x")], &[]);
            let _ = rename(&statement, &r);
            let _ = replication(&statement, &Replication::parse("1").unwrap());
            prop_assert_eq!(&parse(&statement.cql), &statement);
            order(vec![statement]);
        }
    }
}
