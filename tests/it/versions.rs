//! Several nodes, and tables that are there already on a server of another version. The 4.1 server that `scripts/test`
//! starts has two nodes, each with the rows that the other has not.

use crate::harness::{NEWEST, Node, Scratch, TestKeyspace, json};
use crate::roundtrip::assert_same;
use crate::script::Script;

const TABLE: &str =
    "CREATE TABLE t (k int, c text, v list<int>, PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c DESC)";

#[test]
fn data_goes_into_an_older_server_where_the_table_is_there() {
    let (source, old) =
        (TestKeyspace::on(Node::get(NEWEST), "to_old"), TestKeyspace::on(Node::get("3.11"), "from_new"));
    for keyspace in [&source, &old] {
        keyspace.db.execute(TABLE);
    }
    for (k, c) in [(1, "a"), (1, "b"), (2, "")] {
        source.db.execute(&format!("INSERT INTO t (k, c, v) VALUES ({k}, '{c}', [{k}, 2])"));
    }
    let scratch = Scratch::new();
    let (dir, map) = (scratch.path("dump"), format!("{}={}", source.name, old.name));
    source.dump(&dir, "parquet").success();
    old.node.run(["load", &dir, "--data-only", "--map", &map]).success();
    let select = "SELECT k, c, v FROM t";
    assert_eq!(old.db.rows(select), source.db.rows(select));
    assert_eq!(old.db.rows(select).len(), 3);
}

#[test]
fn the_rows_of_all_nodes_come_back() {
    let source = TestKeyspace::on(Node::get("4.1"), "two_nodes");
    for schema in ["all_types", "statics"] {
        Script::named(schema).run(&source.db, &source.node.version).unwrap();
    }
    source.db.execute("CREATE TABLE many (k int PRIMARY KEY, v text)");
    let insert = |k: i32| format!("INSERT INTO many (k, v) VALUES ({k}, 'row {k}')");
    source.db.try_each((0..2000).map(insert)).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let nodes = json(format!("{dir}/manifest.json"))["cluster"]["datacenters"][0]["nodes"].clone();
    assert_eq!(nodes, 1 + source.db.rows("SELECT peer FROM system.peers").len());
    source.load(&dir, &target, &[]).success();
    assert!(assert_same(&source.db, &source.name, &target) > 2000);
}
