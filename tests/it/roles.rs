//! Roles in a dump and a load: asked for, they come back with their passwords and with what they may do; not asked for,
//! nothing of them is read or written. What a server lists and whom it lets in is the judge.

use crate::harness::{Db, NEWEST, Node, Ran, Scratch, TestKeyspace, WITH_LOGIN, json, quoted, run, run_with};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// Roles of this test alone: names that begin with that of its keyspace. Dropped at the end.
struct Roles<'a> {
    source: &'a TestKeyspace,
    names: Vec<String>,
}

impl<'a> Roles<'a> {
    /// The name of each role is the keyspace's with a `tag`; options as in CREATE ROLE.
    fn new(source: &'a TestKeyspace, roles: &[(&str, &str)]) -> Roles<'a> {
        let mut made = Roles { source, names: Vec::new() };
        for (tag, options) in roles {
            let name = made.name(tag);
            source.db.execute(&format!("CREATE ROLE {} WITH {options}", quoted(&name)));
            made.names.push(name);
        }
        made
    }

    fn name(&self, tag: &str) -> String {
        format!("{}{tag}", self.source.name)
    }

    fn quoted(&self, tag: &str) -> String {
        quoted(&self.name(tag))
    }

    fn grant(&self, what: &str, tag: &str) {
        self.source.db.execute(&format!("GRANT {what} TO {}", self.quoted(tag)));
    }

    fn drop_all(&self) {
        for name in &self.names {
            self.source.db.execute(&format!("DROP ROLE IF EXISTS {}", quoted(name)));
        }
    }

    /// What the server lists of each role: itself and what it was granted, with options; and its permissions. A keyspace
    /// called `other` is told as the source.
    fn listed(&self, other: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for name in &self.names {
            let role = quoted(name);
            let db = &self.source.db;
            for row in db.rows(&format!("LIST ROLES OF {role} NORECURSIVE")) {
                let cells =
                    row.iter().map(|cell| String::from_utf8_lossy(cell.as_deref().unwrap_or_default()));
                lines.push(format!("{name}: {:?}", cells.collect::<Vec<_>>()));
            }
            for row in db.texts(&format!("LIST ALL PERMISSIONS OF {role} NORECURSIVE")) {
                lines.push(format!("{name}: {}", row.join(" ").replace(other, &self.source.name)));
            }
        }
        lines.sort();
        lines
    }

    /// The hash of a role's password.
    fn hash(&self, tag: &str) -> String {
        let name = self.name(tag).replace('\'', "''");
        let query = format!("SELECT salted_hash FROM system_auth.roles WHERE role = '{name}'");
        self.source.db.texts(&query).concat().concat()
    }

    /// Dumps the keyspace with its roles. The dump then forgets the roles of other tests, which come and go.
    #[track_caller]
    fn dump(&self, dir: &str) {
        self.source.node.run(["dump", &self.source.name, "-o", dir, "--roles"]).success();
        let own = |name: &Value| name.as_str().unwrap().starts_with(&self.source.name);
        edit(dir, |roles| {
            roles["roles"].as_array_mut().unwrap().retain(|role| own(&role["name"]));
            roles["grants"].as_array_mut().unwrap().retain(|grant| own(&grant["role"]));
        });
    }

    /// Waits until the role may log in, and answers its session.
    fn log_in(&self, tag: &str, password: &str) -> Db {
        Db::connect(&self.source.node.as_role(&self.name(tag), password))
    }
}

impl Drop for Roles<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.source.db.try_execute(&format!("DROP ROLE IF EXISTS {}", quoted(name)));
        }
    }
}

/// Changes what a manifest says of roles, and makes its checksum fit.
fn edit(dir: &str, change: impl FnOnce(&mut Value)) {
    let path = format!("{dir}/manifest.json");
    let mut manifest = json(&path);
    manifest.as_object_mut().unwrap().remove("checksum");
    change(&mut manifest["roles"]);
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    let body = text.strip_suffix("\n}").unwrap();
    let text = format!("{body},\n  \"checksum\": \"xxh3-128:{:032x}\"\n}}\n", xxh3_128(body.as_bytes()));
    std::fs::write(path, text).unwrap();
}

/// A keyspace on the server with logins, with a table of one row.
fn keyspace(name: &str) -> TestKeyspace {
    let source = TestKeyspace::on(Node::get(WITH_LOGIN), name);
    source.db.execute("CREATE TABLE t (k int PRIMARY KEY, v text)");
    source.db.execute("INSERT INTO t (k, v) VALUES (1, 'x')");
    source
}

/// What is granted takes a node some seconds to obey.
#[track_caller]
fn within_a_minute<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come to be");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn roles_come_back_with_passwords_memberships_and_permissions() {
    let source = keyspace("roles");
    for statement in [
        "CREATE TYPE pair (a int, b text)",
        "CREATE TABLE \"OddName\" (k int PRIMARY KEY, v int)",
        "CREATE MATERIALIZED VIEW by_v AS SELECT * FROM t WHERE v IS NOT NULL AND k IS NOT NULL PRIMARY KEY (v, k)",
        "CREATE FUNCTION f (a int, b list<text>, c pair) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return a;'",
        "CREATE FUNCTION \"F\" () CALLED ON NULL INPUT RETURNS int LANGUAGE java AS 'return 1;'",
    ] {
        source.db.execute(statement);
    }
    // Cassandra 5.0 stumbles over a `'` in the name of a role, and makes it nevertheless.
    let (boss, app, reader) = ("_of \"Boss\"; --", "_app", "_re/ad er é");
    let roles = Roles::new(
        &source,
        &[
            (boss, "PASSWORD = 'it''s \"me\"' AND LOGIN = true AND SUPERUSER = true"),
            (app, "PASSWORD = 'old' AND LOGIN = true"),
            (reader, "LOGIN = false"),
            ("_Idle", "LOGIN = true"),
        ],
    );
    let ks = &source.name;
    // The application's role is a reader both itself and by way of another, whose name stands before both.
    roles.grant(&roles.quoted(reader), app);
    roles.grant(&roles.quoted("_Idle"), app);
    roles.grant(&roles.quoted(reader), "_Idle");
    for (what, tag) in [
        (format!("SELECT ON KEYSPACE {ks}"), reader),
        (format!("ALTER ON ALL TABLES IN KEYSPACE {ks}"), reader),
        (format!("MODIFY ON TABLE {ks}.t"), app),
        (format!("UNMASK ON TABLE {ks}.\"OddName\""), app),
        (format!("MODIFY ON TABLE {ks}.by_v"), app),
        (format!("EXECUTE ON ALL FUNCTIONS IN KEYSPACE {ks}"), reader),
        (format!("EXECUTE ON FUNCTION {ks}.f(int, list<text>, pair)"), app),
        (format!("ALL PERMISSIONS ON FUNCTION {ks}.\"F\"()"), app),
        (format!("ALTER ON ROLE {}", roles.quoted(boss)), app),
        ("CREATE ON ALL ROLES".to_owned(), app),
    ] {
        roles.grant(&what, tag);
    }
    let before = roles.listed(ks);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    let secret = roles.hash(boss);
    assert!(secret.starts_with("$2"), "the server keeps a hash: {secret:?}");
    let schema = std::fs::read_to_string(Path::new(&dir).join("schema.cql")).unwrap();
    assert!(!schema.contains(&secret));
    roles.drop_all();

    let shown = |ran: Ran| {
        let done = ran.success();
        assert!(!done.told().contains(&secret), "a hash is shown: {}", done.told());
        done
    };
    let map = format!("{ks}={target}");
    let dry = shown(source.node.run(["load", &dir, "--map", &map, "--roles", "--dry-run"]));
    dry.stdout_has(&[
        "HASHED PASSWORD = '…' AND LOGIN = true AND SUPERUSER = true",
        "GRANT CREATE ON ALL ROLES TO",
    ]);
    shown(run(["inspect", &dir])).stdout_has(&["4 roles (2 with a password), 3 memberships and"]);
    shown(run(["inspect", &dir, "--json"])).stdout_has(&["\"password_hash\": \"…\""]);
    assert!(roles.hash(app).is_empty(), "the role was made");
    let done = shown(source.node.run(["load", &dir, "--map", &map, "--roles", "--json", "-vv"]));
    let told = &done.json()["roles"];
    assert_eq!((&told["created"], &told["memberships"]), (&4.into(), &3.into()), "{}", done.told());
    assert_eq!(told["kept"], serde_json::json!([]));
    assert_eq!(told["without_password"], serde_json::json!([roles.name("_Idle")]));

    assert_eq!(roles.listed(&target), before);
    let session = roles.log_in(app, "old");
    within_a_minute("the right to read", || {
        session.try_execute(&format!("SELECT * FROM {target}.t")).is_ok().then_some(())
    });
    session.execute(&format!("INSERT INTO {target}.t (k, v) VALUES (2, 'y')"));
    assert!(session.try_execute(&format!("DROP TABLE {target}.t")).is_err());
    roles.log_in(boss, "it's \"me\"").execute("LIST ROLES");
}

#[test]
fn roles_that_exist_are_kept_and_may_do_what_the_dump_grants() {
    let source = keyspace("kept_roles");
    let roles = Roles::new(
        &source,
        &[
            ("_old", "PASSWORD = 'old' AND LOGIN = true"),
            ("_group", "LOGIN = false"),
            ("_new", "LOGIN = false"),
        ],
    );
    roles.grant(&roles.quoted("_group"), "_old");
    roles.grant(&format!("SELECT ON TABLE {}", source.table("t")), "_old");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    source.db.execute(&format!("ALTER ROLE {} WITH PASSWORD = 'new'", roles.quoted("_old")));
    source.db.execute(&format!("DROP ROLE {}", roles.quoted("_new")));
    let hash = roles.hash("_old");
    let done = source.load(&dir, &target, &["--roles", "--json"]).success();
    let kept = serde_json::json!([roles.name("_group"), roles.name("_old")]);
    assert_eq!(done.json()["roles"]["kept"], kept, "{}", done.told());
    assert_eq!(done.json()["roles"]["created"], 1);
    done.stderr_has(&["are kept as they are", &roles.name("_old")]);
    assert_eq!(roles.hash("_old"), hash, "the role was changed");
    let lists = |keyspace: &str| {
        roles.listed(keyspace).iter().filter(|line| line.contains(&format!("{}.t>", source.name))).count()
    };
    assert_eq!(lists(&target), 2, "the table and its copy: {:?}", roles.listed(&target));
    let before = roles.listed("");
    source.load(&dir, &target, &["--roles", "--schema-only"]).success();
    assert_eq!(roles.listed(""), before, "loaded twice");
}

#[test]
fn roles_are_neither_dumped_nor_loaded_unless_asked_for() {
    let source = keyspace("no_roles");
    let roles = Roles::new(&source, &[("_gone", "PASSWORD = 'x' AND LOGIN = true")]);
    let scratch = Scratch::new();
    let (without, with) = (scratch.path("without"), scratch.path("with"));
    let done = source.dump(&without, "csv").success();
    assert!(!done.stderr.contains("role"), "{}", done.told());
    let manifest = json(format!("{without}/manifest.json"));
    assert!(manifest.get("roles").is_none() && !manifest.to_string().contains("_gone"), "{manifest}");
    source
        .load(&without, &source.target("a"), &["--roles"])
        .fails(2)
        .stderr_has(&["no roles", "dump --roles"]);
    roles.dump(&with);
    roles.drop_all();
    source.load(&with, &source.target("b"), &[]).success().stderr_has(&[
        "1 role",
        "not asked for",
        "--roles",
    ]);
    assert!(roles.hash("_gone").is_empty(), "the role was made");
    let args = ["load", &with, "--roles", "--data-only"];
    source.node.run(args).fails(2).stderr_has(&["--data-only"]);
}

#[test]
fn a_manifest_cannot_say_more_than_roles_and_grants() {
    let source = keyspace("evil_roles");
    let mut roles = Roles::new(&source, &[("_victim", "LOGIN = false")]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    let evil = roles.name("\"; DROP ROLE x; --");
    let victim = roles.name("_victim");
    edit(&dir, |roles| {
        roles["roles"].as_array_mut().unwrap().push(serde_json::json!(
            {"name": evil, "login": false, "superuser": false, "member_of": [victim]}
        ));
        let grant = |on: Value, permission: &str| serde_json::json!({"role": evil, "on": on, "permissions": [permission]});
        let table =
            |table: &str| serde_json::json!({"kind": "table", "keyspace": source.name, "table": table});
        let function = serde_json::json!(
            {"kind": "function", "keyspace": source.name, "name": "f", "arguments": ["int) TO cassandra; --"]}
        );
        roles["grants"] = serde_json::json!([
            grant(table("t"), "SELECT"),
            grant(table("t"), "SELECT ON KEYSPACE system_auth TO cassandra; --"),
            grant(function, "EXECUTE"),
            grant(serde_json::json!({"kind": "keyspace", "keyspace": "system_auth"}), "MODIFY"),
            grant(serde_json::json!({"kind": "all_keyspaces"}), "MODIFY"),
            grant(serde_json::json!({"kind": "moon"}), "MODIFY"),
        ]);
    });
    roles.names.push(evil.clone());
    // A selector leaves out what belongs to the whole cluster.
    let selected = [source.name.as_str(), "--roles", "--json"];
    let done = source.load(&dir, &target, &selected).success();
    let told = &done.json()["roles"];
    assert_eq!(told["left_out"].as_array().unwrap().len(), 3, "{}", done.told());
    let query = format!("LIST ALL PERMISSIONS OF {} NORECURSIVE", quoted(&evil));
    let listed = source.db.texts(&query);
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0][2..], [format!("<table {target}.t>"), "SELECT".to_owned()]);
    assert!(done.stderr.contains("SELECT ON KEYSPACE system_auth"), "{}", done.told());
    source.load(&dir, &target, &[&source.name, "--roles", "--schema-only", "--strict"]).fails(3);
}

/// The tables are written by hand, since a server without such an authorizer ignores limits.
#[test]
fn limits_of_logins_are_kept_or_the_role_is_not_made() {
    let source = keyspace("limited_roles");
    let roles = Roles::new(&source, &[("_app", "LOGIN = true"), ("_free", "LOGIN = true")]);
    roles.grant(&format!("SELECT ON TABLE {}", source.table("t")), "_app");
    let [app, free] = ["_app", "_free"].map(|tag| roles.name(tag));
    for statement in [
        format!("network_permissions (role, dcs) VALUES ('roles/{app}', {{'datacenter1'}})"),
        format!("network_permissions (role, dcs) VALUES ('roles/{free}', {{}})"),
        format!("cidr_permissions (role, cidr_groups) VALUES ('{app}', {{'{app} group'}})"),
    ] {
        source.db.execute(&format!("INSERT INTO system_auth.{statement}"));
    }
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    roles.drop_all();
    let limits = format!("ACCESS TO DATACENTERS {{'datacenter1'}} AND ACCESS FROM CIDRS {{'{app} group'}};");
    source.load(&dir, &target, &["--roles", "--dry-run"]).success().stdout_has(&[
        &format!("CREATE ROLE {app} WITH LOGIN = true AND SUPERUSER = false AND {limits}"),
        &format!("CREATE ROLE {free} WITH LOGIN = true AND SUPERUSER = false;"),
    ]);
    // There is no such group: better no role than one without its limits.
    source.load(&dir, &target, &["--roles"]).fails(1).stderr_has(&[
        "Invalid CIDR group",
        "was not made",
        &app,
    ]);
    assert!(source.db.try_execute(&format!("LIST ROLES OF {app}")).is_err(), "the role was made");
    source.db.execute(&format!("LIST ROLES OF {free}"));
    for table in ["network_permissions WHERE role = 'roles/", "cidr_permissions WHERE role = '"] {
        for role in [&app, &free] {
            source.db.execute(&format!("DELETE FROM system_auth.{table}{role}'"));
        }
    }
}

#[test]
fn a_role_whose_hash_the_target_refuses_is_made_without_a_password() {
    let source = keyspace("foreign_hash");
    let roles = Roles::new(&source, &[("_app", "PASSWORD = 'old' AND LOGIN = true")]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    roles.drop_all();
    // As ScyllaDB makes them.
    edit(&dir, |roles| roles["roles"][0]["password_hash"] = "$6$salt$0th3r".into());
    let done = source.load(&dir, &target, &["--roles", "--json"]).success();
    assert_eq!(done.json()["roles"]["without_password"], serde_json::json!([roles.name("_app")]));
    assert!(!done.told().contains("0th3r"), "{}", done.told());
    done.stderr_has(&["refused its hash", "jBcrypt", &roles.name("_app")]);
    assert!(roles.hash("_app").is_empty());
    source.db.execute(&format!("LIST ROLES OF {}", roles.quoted("_app")));
}

#[test]
fn a_role_that_may_not_read_roles_is_told_what_it_lacks() {
    let source = keyspace("unread_roles");
    let roles = Roles::new(&source, &[("_dumper", "PASSWORD = 'open' AND LOGIN = true")]);
    roles.grant(&format!("SELECT ON KEYSPACE {}", source.name), "_dumper");
    let dumper = source.node.as_role(&roles.name("_dumper"), "open");
    let scratch = Scratch::new();
    let dir = scratch.path("dump");
    let args = ["dump", &source.name, "-o", &dir, "--roles"];
    within_a_minute("the right to read the keyspace", || {
        let done = dumper.run(args).done();
        assert_ne!(done.code, Some(0), "{}", done.told());
        done.stderr.contains("may not read the cluster's roles").then_some(done)
    })
    .stderr_has(&[
        &roles.name("_dumper"),
        "GRANT SELECT ON TABLE system_auth.roles TO",
        "nothing was written",
    ]);
    assert!(!Path::new(&dir).exists());
    for table in ["roles", "role_permissions", "network_permissions", "cidr_permissions"] {
        roles.grant(&format!("SELECT ON TABLE system_auth.{table}"), "_dumper");
    }
    within_a_minute("the right to read the roles", || {
        (dumper.run(args).done().code == Some(0)).then_some(())
    });
    let manifest = json(format!("{dir}/manifest.json"));
    let named =
        manifest["roles"]["roles"].as_array().unwrap().iter().any(|r| r["name"] == roles.name("_dumper"));
    assert!(named, "{manifest}");
    assert!(
        manifest["not_preserved"].to_string().contains("identity_to_role"),
        "what was not readable is named"
    );
}

#[test]
fn what_the_loader_may_not_grant_is_told_after_the_data_is_loaded() {
    let source = keyspace("weak_loader");
    let roles = Roles::new(
        &source,
        &[
            ("_loader", "PASSWORD = 'open' AND LOGIN = true"),
            ("_boss", "SUPERUSER = true"),
            ("_app", "LOGIN = false"),
        ],
    );
    roles.grant("ALL PERMISSIONS ON ALL KEYSPACES", "_loader");
    roles.grant("CREATE ON ALL ROLES", "_loader");
    roles.grant(&roles.quoted("_boss"), "_app");
    roles.grant(&format!("SELECT ON TABLE {}", source.table("t")), "_app");
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    for tag in ["_boss", "_app"] {
        source.db.execute(&format!("DROP ROLE {}", roles.quoted(tag)));
    }
    let loader = source.node.as_role(&roles.name("_loader"), "open");
    let map = format!("{}={target}", source.name);
    let args = ["load", &dir, "--map", &map, "--roles", "--if-exists", "truncate"];
    let done = within_a_minute("the rights of the loader", || {
        let done = loader.run(args).done();
        done.stderr.contains("about roles failed").then_some(done)
    });
    assert_eq!(done.code, Some(1), "{}", done.told());
    let create = format!(
        "CREATE ROLE {} WITH LOGIN = false AND SUPERUSER = true",
        roles.quoted("_boss").replace('"', "")
    );
    done.stderr_has(&[&create, "superuser", "was not made", "the data is loaded whole"]);
    assert_eq!(source.db.count(&format!("{target}.t")), 1);
    let listed = source.db.texts(&format!("LIST ALL PERMISSIONS OF {} NORECURSIVE", roles.quoted("_app")));
    assert!(listed.iter().any(|row| row[2] == format!("<table {target}.t>")), "{listed:?}");
}

#[test]
fn a_server_without_logins_takes_no_roles() {
    let source = keyspace("logins_only");
    let roles = Roles::new(&source, &[("_app", "LOGIN = false")]);
    let scratch = Scratch::new();
    let (dir, other) = (scratch.path("dump"), scratch.path("other"));
    roles.dump(&dir);
    let open = Node::get(NEWEST);
    let target = TestKeyspace::on(open.clone(), "logins_target");
    let map = format!("{}={}_x", source.name, target.name);
    let args = ["load", &dir, "--map", &map, "--roles"];
    open.run(args).fails(1).stderr_has(&["asks for no login", "nothing was written"]);
    assert!(target.db.tables(&format!("{}_x", target.name)).is_empty());
    target.db.execute("CREATE TABLE t (k int PRIMARY KEY)");
    let done = open.run(["dump", &target.name, "-o", &other, "--roles", "--json"]).success();
    assert!(done.json()["roles"]["roles"].is_u64(), "{}", done.told());
    done.stderr_has(&["asks for no login"]);
}

/// What the driver logs at its most talkative has the statements in it.
#[test]
fn no_hash_is_logged() {
    let source = keyspace("logged_roles");
    let roles = Roles::new(&source, &[("_app", "PASSWORD = 'old' AND LOGIN = true")]);
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    roles.dump(&dir);
    let secret = roles.hash("_app");
    roles.drop_all();
    let (map, port) = (format!("{}={target}", source.name), source.node.port.to_string());
    let mut args = vec!["load", &dir, "--map", &map, "--roles", "-u", "cassandra"];
    args.extend(["-h", &source.node.host, "-P", &port]);
    let done = run_with(args, &[("CQLIFT_PASSWORD", "cassandra"), ("CQLIFT_LOG", "trace")]).success();
    assert!(done.stderr.contains("CREATE TABLE"), "statements are logged, else this shows nothing");
    assert!(
        !done.stderr.contains(&secret) && !done.stderr.contains("HASHED PASSWORD = '$"),
        "a hash is logged"
    );
    assert_eq!(roles.hash("_app"), secret);
}
