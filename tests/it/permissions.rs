//! What a role may read: what it lacks is named before a dump begins, and masked values are never taken for true ones.

use crate::harness::{Db, Done, Node, Scratch, TestKeyspace, WITH_LOGIN, files, json, parts, quoted};
use crate::roundtrip::assert_same;
use std::path::Path;
use std::time::{Duration, Instant};

/// A role of this test alone; dropped at the end.
struct Role<'a> {
    keyspace: &'a TestKeyspace,
    name: String,
    node: Node,
}

impl Role<'_> {
    /// A role that may log in and nothing else.
    fn new<'a>(keyspace: &'a TestKeyspace, tag: &str) -> Role<'a> {
        let name = format!("{}{tag}", keyspace.name);
        let role = quoted(&name);
        keyspace.db.execute(&format!("CREATE ROLE {role} WITH PASSWORD = 'open' AND LOGIN = true"));
        let node = keyspace.node.as_role(&name, "open");
        Role { keyspace, name, node }
    }

    /// One that may read the whole keyspace, masked.
    fn reader<'a>(keyspace: &'a TestKeyspace, tag: &str) -> Role<'a> {
        let role = Role::new(keyspace, tag);
        role.grant("SELECT", "KEYSPACE", &keyspace.name);
        role
    }

    fn grant(&self, permission: &str, kind: &str, what: &str) {
        let role = quoted(&self.name);
        self.keyspace.db.execute(&format!("GRANT {permission} ON {kind} {what} TO {role}"));
    }

    fn grant_role(&self, granted: &Role) {
        let [granted, role] = [&granted.name, &self.name].map(|name| quoted(name));
        self.keyspace.db.execute(&format!("GRANT {granted} TO {role}"));
    }

    /// Fails to dump the keyspace, dry or not, without a trace of it.
    #[track_caller]
    fn dump_fails(&self, dir: &str, flags: &[&str]) -> Done {
        let args = [&["dump", &self.keyspace.name, "-o", dir][..], flags].concat();
        let dry = self.node.run([&args[..], &["--dry-run"]].concat()).fails(1);
        let wet = self.node.run(args).fails(1);
        assert_eq!(dry.stderr, wet.stderr);
        assert!(!Path::new(dir).exists(), "{}", wet.told());
        wet
    }

    /// Dumps the keyspace, once the server obeys its grants.
    #[track_caller]
    fn dump(&self, dir: &str, format: &str) -> Done {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let args = ["dump", &self.keyspace.name, "-o", dir, "--format", format];
            let done = self.node.run(args).done();
            if done.code == Some(0) {
                return done;
            }
            assert!(!Path::new(dir).exists() && Instant::now() < deadline, "{}", done.told());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let _ = self.keyspace.db.try_execute(&format!("DROP ROLE IF EXISTS {}", quoted(&self.name)));
    }
}

/// A keyspace on the server with logins, with these statements run in it by the superuser.
fn keyspace(name: &str, statements: &[&str]) -> TestKeyspace {
    let keyspace = TestKeyspace::on(Node::get(WITH_LOGIN), name);
    for statement in statements {
        keyspace.db.execute(statement);
    }
    keyspace
}

const MASKED: &[&str] = &[
    "CREATE TABLE cards (k int PRIMARY KEY, holder text, number text MASKED WITH system.mask_inner(0, 4), pin int MASKED WITH \
     DEFAULT)",
    "CREATE TABLE plain (k int PRIMARY KEY, v text)",
    "INSERT INTO cards (k, holder, number, pin) VALUES (1, 'Ada', '4929-1234-5678', 2718)",
    "INSERT INTO plain (k, v) VALUES (1, 'in the open')",
];

/// A CSV dump has the values behind the masks of [`MASKED`] and says so.
#[track_caller]
fn has_true_values(keyspace: &TestKeyspace, dir: &str, done: &Done) {
    let file = &parts(dir, &keyspace.name, "cards", "csv")[0];
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("1,Ada,4929-1234-5678,2718,"), "{text}");
    assert!(!done.stderr.contains("mask"), "{}", done.told());
    let manifest = json(format!("{dir}/manifest.json"));
    assert!(!manifest["not_preserved"].to_string().contains("mask"), "{manifest}");
}

#[test]
fn tables_that_a_role_may_not_read_are_named_before_anything_is_written() {
    let source = keyspace(
        "no_select",
        &[
            "CREATE TABLE open (k int PRIMARY KEY, v text)",
            "CREATE TABLE shut (a int, b int, v text, PRIMARY KEY ((a, b)))",
            "CREATE TABLE \"shutToo\" (k int PRIMARY KEY)",
            "INSERT INTO open (k, v) VALUES (1, 'x')",
        ],
    );
    let role = Role::new(&source, "_reader");
    role.grant("SELECT", "TABLE", &source.table("open"));
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let (shut, too) = (source.table("shut"), source.table("\"shutToo\""));
    let grant = format!("GRANT SELECT ON TABLE {shut} TO {}", role.name);
    let done = role.dump_fails(&dir, &[]);
    assert!(!done.stderr.contains(&source.table("open")), "{}", done.told());
    done.stderr_has(&[&role.name, "SELECT", &shut, &too, &grant, &format!("--exclude {shut}")]);
    // One is left: the hint fits it as it stands.
    role.dump_fails(&dir, &["--exclude", &shut]).stderr_has(&[&format!("--exclude {too}")]);
    let excluded = ["dump", &source.name, "-o", &dir, "--exclude", &shut, "--exclude", &too];
    role.node.run(excluded).success();
    role.grant("SELECT", "KEYSPACE", &source.name);
    role.dump(&scratch.path("all"), "parquet");
}

#[test]
fn masked_columns_are_named_to_a_role_that_may_not_unmask_them() {
    let source = keyspace("no_unmask", MASKED);
    let role = Role::reader(&source, "_reader");
    let scratch = Scratch::new();
    let (dir, cards) = (scratch.path("dump"), source.table("cards"));
    let [number, pin] = ["number", "pin"].map(|column| format!("{cards}.{column}"));
    let grant = format!("GRANT UNMASK ON TABLE {cards} TO {}", role.name);
    let exclude = format!("--exclude {cards}");
    let done = role.dump_fails(&dir, &[]);
    assert!(!done.stderr.contains(&format!("{cards}.holder")), "{}", done.told());
    done.stderr_has(&[&role.name, "UNMASK", &number, &pin, &grant, &exclude]);
    role.node.run(["dump", &source.name, "-o", &scratch.path("plain"), "--exclude", &cards]).success();
    // To filter by what is behind a mask is not to see it.
    role.grant("SELECT_MASKED", "TABLE", &cards);
    role.dump_fails(&dir, &[]).stderr_has(&[&number, &pin]);
}

/// The server lists a grant before it obeys it; what is dumped in between must not be masked either.
#[test]
fn a_role_that_may_unmask_dumps_the_true_values() {
    let source = keyspace("unmask", MASKED);
    let role = Role::reader(&source, "_reader");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    role.dump_fails(&dir, &[]);
    role.grant("UNMASK", "TABLE", &source.table("cards"));
    let done = role.dump(&dir, "csv");
    has_true_values(&source, &dir, &done);
    source.load(&dir, &target, &[]).success();
    assert_eq!(assert_same(&source.db, &source.name, &target), 2);
}

#[test]
fn a_role_may_unmask_by_the_keyspace_and_by_roles_it_was_granted() {
    let source = keyspace("inherited", MASKED);
    let parent = Role::new(&source, " \"Parent\"");
    let child = Role::new(&source, "_child");
    let heir = Role::reader(&source, " of \"Odd\" Name");
    parent.grant("UNMASK", "KEYSPACE", &source.name);
    child.grant_role(&parent);
    heir.grant_role(&child);
    let scratch = Scratch::new();
    let dir = scratch.path("heir");
    let done = heir.dump(&dir, "csv");
    has_true_values(&source, &dir, &done);
}

#[test]
fn superusers_unmask() {
    let source = keyspace("superuser", MASKED);
    let scratch = Scratch::new();
    let dir = scratch.path("itself");
    let done = source.dump(&dir, "csv").success();
    has_true_values(&source, &dir, &done);
    let (root, heir) = (Role::new(&source, "_root"), Role::new(&source, "_heir"));
    source.db.execute(&format!("ALTER ROLE {} WITH SUPERUSER = true", quoted(&root.name)));
    heir.grant_role(&root);
    for (role, name) in [(&root, "root"), (&heir, "heir")] {
        let dir = scratch.path(name);
        let done = role.dump(&dir, "csv");
        has_true_values(&source, &dir, &done);
    }
}

/// Each kind of column takes another query to find out; one of the table is enough for all.
#[test]
fn every_kind_of_masked_column_is_guarded() {
    let source = keyspace("mask_kinds", &["CREATE TYPE pair (a int, b int)"]);
    let kinds = [
        ("simple.v", "k int PRIMARY KEY, v duration MASKED WITH system.mask_null()"),
        ("one_key.k", "k text MASKED WITH DEFAULT PRIMARY KEY, v int"),
        ("keys.b", "a text, b text MASKED WITH DEFAULT, v int, PRIMARY KEY ((a, b))"),
        ("later_key.d", "k int, c int, d int MASKED WITH DEFAULT, PRIMARY KEY (k, c, d)"),
        ("statics.v", "k int, c int, v int STATIC MASKED WITH DEFAULT, PRIMARY KEY (k, c)"),
        ("lists.v", "k int PRIMARY KEY, v list<int> MASKED WITH system.mask_null()"),
        ("sets.v", "k int PRIMARY KEY, v set<int> MASKED WITH system.mask_null()"),
        ("maps.v", "k int PRIMARY KEY, v map<int, int> MASKED WITH system.mask_null()"),
        ("pairs.v", "k int PRIMARY KEY, v pair MASKED WITH system.mask_null()"),
        ("frozens.v", "k int PRIMARY KEY, v frozen<pair> MASKED WITH system.mask_null()"),
        ("vectors.v", "k int PRIMARY KEY, v vector<float, 3> MASKED WITH system.mask_null()"),
        ("counters.v", "k int PRIMARY KEY, v counter MASKED WITH system.mask_null()"),
    ];
    for (column, columns) in kinds {
        let table = column.split('.').next().unwrap();
        source.db.execute(&format!("CREATE TABLE {table} ({columns})"));
    }
    let role = Role::reader(&source, "_reader");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let done = role.dump_fails(&dir, &[]);
    for (column, _) in kinds {
        let column = source.table(column);
        assert!(done.stderr.contains(&column), "{column} is not named\n{}", done.told());
    }
    role.grant("UNMASK", "KEYSPACE", &source.name);
    role.dump(&dir, "parquet");
    assert!(files(&dir).contains(&"manifest.json".to_owned()));
}

#[test]
fn what_a_role_lacks_for_a_load_is_named_before_anything_is_written() {
    let table = "CREATE TABLE t (k int PRIMARY KEY, v text)";
    let source = keyspace("loading", &[table, "INSERT INTO t (k, v) VALUES (1, 'x')"]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("made"));
    source.dump(&dir, "csv").success();
    let role = Role::new(&source, "loader");
    let map = format!("{}={target}", source.name);
    let load = |flags: &[&str]| role.node.run([&["load", &dir, "--map", &map], flags].concat()).done();
    for flags in [&[][..], &["--dry-run"]] {
        let refused = load(flags);
        assert_eq!(refused.code, Some(1), "{}", refused.told());
        refused.stderr_has(&[
            &role.name,
            "lacks the permission CREATE ON ALL KEYSPACES",
            "nothing was written",
        ]);
    }
    assert_eq!(source.db.names("keyspace_name", "keyspaces", &target), [""; 0]);
    role.grant("CREATE", "ALL", "KEYSPACES");
    let deadline = Instant::now() + Duration::from_secs(60);
    while load(&[]).code != Some(0) {
        assert!(Instant::now() < deadline, "{}", load(&[]).told());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Who made it may do anything with it; another role may look and not write.
    let other = Role::reader(&source, "reader");
    let own = ["load", &dir, "--data-only", "--if-exists", "append"];
    let refused = loop {
        let refused = other.node.run(own).fails(1);
        if refused.stderr.contains("MODIFY") {
            break refused;
        }
        assert!(Instant::now() < deadline, "{}", refused.told());
        std::thread::sleep(Duration::from_millis(100));
    };
    refused.stderr_has(&[&format!("MODIFY ON {}.t", source.name), "nothing was written"]);
    // One may write and not look: whether the table holds rows cannot be told.
    let blind = Role::new(&source, "blind");
    blind.grant("MODIFY", "KEYSPACE", &source.name);
    for flags in [&[][..], &["--dry-run"]] {
        let refused = blind.node.run([&own[..], flags].concat()).fails(1);
        refused.stderr_has(&[&format!("SELECT ON {}.t", source.name), "GRANT", "nothing was written"]);
    }
}

/// A guardrail of the server with logins keeps ordinary roles from making compact tables (see `scripts/test`). What a
/// load takes for possible is what the server then does.
#[test]
fn guardrails_bind_ordinary_roles_alone() {
    let compact = "CREATE TABLE dense (k int, c int, v text, PRIMARY KEY (k, c)) WITH COMPACT STORAGE";
    let row = "INSERT INTO dense (k, c, v) VALUES (1, 2, 'x')";
    let source = TestKeyspace::with("guarded", &[compact, row]);
    let target = keyspace("guarded", &[]);
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    source.dump(&dir, "parquet").success();
    let role = Role::new(&target, "ordinary");
    role.grant("CREATE", "ALL", "KEYSPACES");
    role.grant("ALL", "KEYSPACE", &target.name);
    let refused = Db::connect(&role.node).try_execute(&format!(
        "CREATE TABLE {} (k int, c int, v text, PRIMARY KEY (k, c)) WITH COMPACT STORAGE",
        target.table("refused")
    ));
    let refused = refused.expect_err("the guardrail is on");
    assert!(refused.contains("compact"), "{refused}");
    let load = |to: &str, flags: &[&str]| {
        let map = format!("{}={to}", source.name);
        role.node.run([&["load", &dir, "--map", &map], flags].concat()).done()
    };
    // What the role may not see is found out by being refused.
    let refused = load(&target.target("unseen"), &[]);
    assert_eq!(refused.code, Some(1), "{}", refused.told());
    refused.stderr_has(&[
        "GRANT SELECT ON system_views.settings",
        "dense may be refused",
        "no data was loaded",
    ]);
    role.grant("SELECT", "TABLE", "system_views.settings");
    let made = target.target("made");
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let refused = load(&made, &["--dry-run"]);
        if !refused.stdout.contains("GRANT SELECT") {
            break load(&made, &[]);
        }
        assert!(Instant::now() < deadline, "{}", refused.told());
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(refused.code, Some(1), "{}", refused.told());
    refused.stderr_has(&["COMPACT STORAGE", "nothing was written"]);
    assert_eq!(target.db.names("keyspace_name", "keyspaces", &made), [""; 0]);
    let done = load(&made, &["--drop-compact-storage"]);
    assert_eq!(done.code, Some(0), "{}", done.told());
    assert_eq!(target.db.count(&format!("{made}.dense")), 1);
    // A superuser makes it as it was.
    let whole = target.target("whole");
    target.node.run(["load", &dir, "--map", &format!("{}={whole}", source.name)]).success();
    let flags = format!("SELECT flags FROM system_schema.tables WHERE keyspace_name = '{whole}'");
    let flags = target.db.rows(&flags).remove(0).remove(0).unwrap();
    assert!(!String::from_utf8_lossy(&flags).contains("compound"), "it is compact");
}
