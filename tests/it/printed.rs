//! What servers print and cannot run themselves: functions whose bodies end too soon, and masks of tables WITH COMPACT
//! STORAGE, which they print as a comment. Both come back whole.

use crate::harness::{Db, NEWEST, Node, Row, Scratch, TestKeyspace};

/// As the catalogue has them.
fn sorted(db: &Db, what: &str, keyspace: &str) -> Vec<Row> {
    let mut rows = db.rows(&what.replace("{}", keyspace));
    rows.sort();
    rows
}

const FUNCTIONS: &str = "SELECT function_name, argument_names, argument_types, body, language, return_type, called_on_null_input \
                         FROM system_schema.functions WHERE keyspace_name = '{}'";

#[test]
fn functions_come_back_whatever_is_in_them() {
    for version in [NEWEST, "4.1"] {
        let function = |name: &str, arguments: &str, body: &str| {
            let body = body.replace('\'', "''");
            format!(
                "CREATE FUNCTION {name} ({arguments}) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS '{body}'"
            )
        };
        let statements = [
            function("quotes", "a text", "return \"$$\";"),
            function("quotes", "a int", "return \"'\";"),
            function("\"Last One\"", "a text", "return a; // $"),
            function("middle", "a text", "return a; /* $$; */ // $$ -- "),
            "CREATE TABLE t (k int PRIMARY KEY)".to_owned(),
            "INSERT INTO t (k) VALUES (1)".to_owned(),
        ];
        let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
        let source = TestKeyspace::with_on(Node::get(version), "bodies", &statements);
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), source.target("again"));
        source.dump(&dir, "parquet").success();
        source.load(&dir, &target, &[]).success();
        let before = sorted(&source.db, FUNCTIONS, &source.name);
        assert_eq!(before.len(), 4, "{version}");
        assert_eq!(sorted(&source.db, FUNCTIONS, &target), before, "{version}");
        // One table of the keyspace goes without them.
        let (one, alone) = (scratch.path("one"), source.target("alone"));
        source.node.run(["dump", &format!("{}.t", source.name), "-o", &one]).success();
        source.load(&one, &alone, &[]).success();
        assert_eq!(source.db.count(&format!("{alone}.t")), 1);
    }
}

const MASKS: &str = "SELECT table_name, column_name, function_name, function_argument_types, function_argument_values, \
                     function_argument_nulls FROM system_schema.column_masks WHERE keyspace_name = '{}'";

#[test]
fn masks_of_compact_tables_come_back() {
    let source = TestKeyspace::with(
        "compact_masks",
        &[
            "CREATE FUNCTION hide (what text, cover text) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'return cover;'",
            "CREATE TABLE dense (k int, c int MASKED WITH mask_null(), v text MASKED WITH hide('a, b)'), PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
            "CREATE TABLE sparse (\"K k\" text MASKED WITH mask_inner(1, null, '#') PRIMARY KEY, v text, w blob MASKED WITH mask_replace(0x00), x frozen<list<int>> MASKED WITH mask_replace([1, 2])) WITH COMPACT STORAGE AND comment = 'MASKED */ here'",
            "INSERT INTO dense (k, c, v) VALUES (1, 2, 'seen')",
        ],
    );
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("again"));
    let dumped = source.dump(&dir, "parquet").success();
    assert!(!dumped.stderr.contains("not understood"), "{}", dumped.stderr);
    source.load(&dir, &target, &[]).success();
    let before = sorted(&source.db, MASKS, &source.name);
    assert_eq!(before.len(), 5);
    assert_eq!(sorted(&source.db, MASKS, &target), before);
    assert_eq!(source.db.count(&format!("{target}.dense")), 1);
}
