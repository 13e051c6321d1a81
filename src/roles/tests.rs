//! Tests of roles: what servers call resources, what statements say, and that no name gets out of its quotes.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn role(name: &str, member_of: &[&str]) -> Role {
    let member_of = member_of.iter().map(|of| (*of).to_owned()).collect();
    Role { name: name.to_owned(), member_of, ..Role::default() }
}

/// What servers keep, as read from `system_auth.role_permissions` of Cassandra 3.11 to 5.0, and how GRANT says it.
#[test]
fn resources_are_read_as_servers_keep_them_and_said_as_grant_takes_them() {
    for (kept, said) in [
        ("data", "ALL KEYSPACES"),
        ("data/ks", "KEYSPACE ks"),
        ("data/ks/*", "ALL TABLES IN KEYSPACE ks"),
        ("data/Ks/my_Table", "TABLE \"Ks\".\"my_Table\""),
        ("functions", "ALL FUNCTIONS"),
        ("functions/ks", "ALL FUNCTIONS IN KEYSPACE ks"),
        ("functions/ks/f[]", "FUNCTION ks.f()"),
        ("functions/ks/F x[org.apache.cassandra.db.marshal.Int32Type]", "FUNCTION ks.\"F x\"(int)"),
        (
            "functions/ks/f[org.apache.cassandra.db.marshal.Int32Type^org.apache.cassandra.db.marshal.FrozenType(\
             org.apache.cassandra.db.marshal.MapType(org.apache.cassandra.db.marshal.UTF8Type,\
             org.apache.cassandra.db.marshal.Int32Type))]",
            "FUNCTION ks.f(int, frozen<map<text, int>>)",
        ),
        ("roles", "ALL ROLES"),
        ("roles/a/b \"c\"", "ROLE \"a/b \"\"c\"\"\""),
        ("mbean", "ALL MBEANS"),
        ("mbean/org.x:type=\"it's\"/a,*", "MBEAN 'org.x:type=\"it''s\"/a,*'"),
    ] {
        let resource = Resource::of_server(kept).unwrap_or_else(|| panic!("{kept} is not read"));
        assert_eq!(resource.cql().as_deref(), Some(said), "{kept}");
        let json = serde_json::to_string(&resource).unwrap();
        assert_eq!(serde_json::from_str::<Resource>(&json).unwrap(), resource, "{json}");
    }
    for kept in ["", "Data", "data2/ks", "functions/ks/f", "functions/ks/f[NopeType]", "service_levels"] {
        assert_eq!(Resource::of_server(kept), None, "{kept}");
    }
}

#[test]
fn a_role_is_made_as_it_was() {
    let full = Role {
        name: "O'Neil \"x\"".into(),
        login: true,
        superuser: true,
        member_of: vec!["reader".into()],
        password_hash: Some(Hash::new("$2a$10$it's".into())),
        datacenters: vec!["dc1".into(), "d'2".into()],
        cidr_groups: vec!["office".into()],
    };
    let limits = "ACCESS TO DATACENTERS {'dc1', 'd''2'} AND ACCESS FROM CIDRS {'office'}";
    let head = "CREATE ROLE \"O'Neil \"\"x\"\"\" WITH";
    let step = Step::Create(full);
    for (hashes, secret, shown) in [
        (Hashes::Hashed, "HASHED PASSWORD = '$2a$10$it''s' AND ", "HASHED PASSWORD = '…' AND "),
        (Hashes::Salted, "SALTED HASH = '$2a$10$it''s' AND ", "SALTED HASH = '…' AND "),
        (Hashes::Untaken, "", ""),
    ] {
        let rest = format!("LOGIN = true AND SUPERUSER = true AND {limits}");
        assert_eq!(step.cql(hashes), format!("{head} {secret}{rest}"));
        assert_eq!(step.shown(hashes), format!("{head} {shown}{rest}"));
    }
    let plain = Step::Create(role("select", &[]));
    let expected = "CREATE ROLE \"select\" WITH LOGIN = false AND SUPERUSER = false";
    assert_eq!([plain.cql(Hashes::Hashed), plain.shown(Hashes::Hashed)], [expected, expected]);
}

#[test]
fn hashes_show_themselves_to_nobody() {
    let secret = "$2a$10$secret";
    let with = Role { password_hash: Some(Hash::new(secret.into())), ..role("a", &[]) };
    let mut roles = Roles { roles: vec![with.clone()], grants: Vec::new() };
    for shown in [format!("{roles:?}"), format!("{:?}", Step::Create(with.clone()))] {
        assert!(shown.contains('…') && !shown.contains("secret"), "{shown}");
    }
    let hash = with.password_hash.unwrap();
    assert_eq!(hash.hide_in("at '$2a$10$secret' AND"), "at '…' AND");
    assert!(serde_json::to_string(&roles).unwrap().contains(secret), "but the manifest holds it");
    roles.hide_hashes();
    assert_eq!(serde_json::to_value(&roles).unwrap()["roles"][0]["password_hash"], "…");
}

#[test]
fn grants_are_said_one_by_one_and_what_is_not_known_is_told() {
    let grant = |on: Resource, permissions: &[&str]| Grant {
        role: "App".into(),
        on,
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
    };
    let function = |argument: &str| Resource::Function {
        keyspace: "ks".into(),
        name: "f".into(),
        arguments: vec![argument.to_owned()],
    };
    let roles = Roles {
        roles: vec![role("App", &["reader"]), role("reader", &[])],
        grants: vec![
            grant(Resource::Keyspace { keyspace: "ks".into() }, &["SELECT", "SELECT; DROP ROLE x", "MODIFY"]),
            grant(Resource::Unknown, &["ALTER"]),
            grant(function("frozen<\"My Type\">"), &["EXECUTE"]),
            grant(function("int) TO x; --"), &["EXECUTE"]),
            grant(function("list<'a''b'>"), &["EXECUTE"]),
        ],
    };
    let (steps, unsaid) = roles.steps();
    let said: Vec<String> = steps.iter().map(|step| step.cql(Hashes::Hashed)).collect();
    let made = |name| format!("CREATE ROLE {name} WITH LOGIN = false AND SUPERUSER = false");
    assert_eq!(
        said,
        [
            made("\"App\"").as_str(),
            made("reader").as_str(),
            "GRANT reader TO \"App\"",
            "GRANT SELECT ON KEYSPACE ks TO \"App\"",
            "GRANT MODIFY ON KEYSPACE ks TO \"App\"",
            "GRANT EXECUTE ON FUNCTION ks.f(frozen<\"My Type\">) TO \"App\"",
        ]
    );
    assert_eq!(unsaid.len(), 4, "{unsaid:?}");
    assert!(unsaid[0].contains("\"SELECT; DROP ROLE x\"") && unsaid[1].contains("Unknown"), "{unsaid:?}");
    let counts = roles.counts();
    assert_eq!((counts.roles, counts.memberships, counts.permissions), (2, 1, 7));
}

/// Texts of a manifest stay inside their quotes, whatever they are.
#[test]
fn names_of_a_stranger_are_names() {
    let evil = Role {
        name: "x\" WITH SUPERUSER = true; --".into(),
        password_hash: Some(Hash::new("' AND SUPERUSER = true; --".into())),
        datacenters: vec!["dc'}; DROP ROLE a; --".into()],
        ..Role::default()
    };
    let created = "CREATE ROLE \"x\"\" WITH SUPERUSER = true; --\" WITH HASHED PASSWORD = ''' AND SUPERUSER = true; --' AND \
                   LOGIN = false AND SUPERUSER = false AND ACCESS TO DATACENTERS {'dc''}; DROP ROLE a; --'}";
    assert_eq!(Step::Create(evil).cql(Hashes::Hashed), created);
    let table = Resource::Table { keyspace: "a\".b".into(), table: "c; DROP TABLE d".into() };
    assert_eq!(table.cql().unwrap(), "TABLE \"a\"\".b\".\"c; DROP TABLE d\"");
    let mbean = Resource::Mbean { name: "*' TO evil; --".into() };
    assert_eq!(mbean.cql().unwrap(), "MBEAN '*'' TO evil; --'");
    let member = Step::Member { role: "a b".into(), of: "cassandra\" TO c; --".into() };
    assert_eq!(member.cql(Hashes::Hashed), "GRANT \"cassandra\"\" TO c; --\" TO \"a b\"");
}

#[test]
fn a_later_kind_of_resource_is_read_as_unknown() {
    let grant = r#"{"role": "a", "on": {"kind": "planet", "name": "x"}, "permissions": ["ALTER"]}"#;
    assert_eq!(serde_json::from_str::<Grant>(grant).unwrap().on, Resource::Unknown);
}

#[test]
fn members_come_before_what_they_are_members_of() {
    let roles = [role("top", &[]), role("mid", &["top"]), role("low", &["mid", "top", "elsewhere"])];
    let names: Vec<&str> = members_first(&roles).iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["low", "mid", "top"]);
    let circle = [role("a", &["b"]), role("b", &["a"]), role("c", &["a", "c"]), role("d", &["c"])];
    let mut names: Vec<&str> = members_first(&circle).iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names[0], "d");
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c", "d"]);
}

#[test]
fn resources_follow_their_keyspaces_and_tables() {
    let mut renames = Renames::default();
    renames.keyspaces.insert("ks".into(), "ks2".into());
    renames.tables.insert(("ks".into(), "t".into()), ("other".into(), "T2".into()));
    let base = |keyspace: &str, name: &str| (keyspace == "ks" && name == "v").then(|| "t".to_owned());
    for (kept, said) in [
        ("data", "ALL KEYSPACES"),
        ("data/ks", "KEYSPACE ks2"),
        ("data/ks/*", "ALL TABLES IN KEYSPACE ks2"),
        ("data/ks/t", "TABLE other.\"T2\""),
        ("data/ks/u", "TABLE ks2.u"),
        ("data/ks/v", "TABLE other.v"),
        ("data/ks3/t", "TABLE ks3.t"),
        ("functions/ks", "ALL FUNCTIONS IN KEYSPACE ks2"),
        ("functions/ks/f[]", "FUNCTION ks2.f()"),
        ("roles/ks", "ROLE ks"),
    ] {
        let renamed = Resource::of_server(kept).unwrap().renamed(&renames, base);
        assert_eq!(renamed.cql().as_deref(), Some(said), "{kept}");
    }
}

#[test]
fn a_run_is_about_its_own_resources() {
    let about = |cluster, kept| {
        let some = |keyspace: &str, name: &str| keyspace == "some" && name == "t";
        let function = |keyspace: &str, name: &str| keyspace == "some" && name == "f";
        let scope = Scope { cluster, keyspace: &|k| k == "ks", table: &some, function: &function };
        Resource::of_server(kept).unwrap().is_in(&scope)
    };
    for wide in ["data", "functions", "mbean", "mbean/x:y=z"] {
        assert!(about(true, wide) && !about(false, wide), "{wide}");
    }
    assert!(about(false, "roles") && about(false, "roles/a"));
    for (kept, expected) in [
        ("data/ks", true),
        ("data/ks/*", true),
        ("functions/ks", true),
        ("functions/ks/f[]", false),
        ("data/some", false),
        ("data/some/t", true),
        ("data/some/u", false),
        ("functions/some/f[]", true),
        ("functions/some/g[]", false),
    ] {
        assert_eq!(about(true, kept), expected, "{kept}");
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_]{1,8}", "[ -~é]{1,8}"]
}

/// The names in double quotes, and all that stands outside of quotes of either kind.
fn outside_quotes(cql: &str) -> (Vec<String>, String) {
    let (mut names, mut outside, mut chars) = (Vec::new(), String::new(), cql.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '"' && c != '\'' {
            outside.push(c);
            continue;
        }
        let mut quoted = String::new();
        loop {
            match chars.next().expect("every quote ends") {
                end if end == c && chars.peek() != Some(&c) => break,
                end if end == c => quoted.extend(chars.next()),
                other => quoted.push(other),
            }
        }
        names.push(quoted);
    }
    (names, outside)
}

proptest! {
    /// What a server would keep of a resource is read as that resource.
    #[test]
    fn every_resource_survives_its_name(keyspace in "[a-zA-Z0-9_]{1,8}", other in "[a-zA-Z0-9_]{1,8}", any in name(),
        arguments in vec(prop::sample::select(&[("int", "Int32Type"), ("frozen<list<text>>",
            "FrozenType(org.apache.cassandra.db.marshal.ListType(org.apache.cassandra.db.marshal.UTF8Type))")][..]), 0..4)) {
        let classes: Vec<String> =
            arguments.iter().map(|(_, class)| format!("org.apache.cassandra.db.marshal.{class}")).collect();
        let types = arguments.iter().map(|(cql, _)| (*cql).to_owned()).collect();
        let (ks, t) = (keyspace.clone(), other.clone());
        for (kept, expected) in [
            (format!("data/{ks}"), Resource::Keyspace { keyspace: ks.clone() }),
            (format!("data/{ks}/{t}"), Resource::Table { keyspace: ks.clone(), table: t.clone() }),
            (format!("functions/{ks}/{t}[{}]", classes.join("^")),
                Resource::Function { keyspace: ks, name: t, arguments: types }),
            (format!("roles/{any}"), Resource::Role { role: any.clone() }),
            (format!("mbean/{any}"), Resource::Mbean { name: any }),
        ] {
            prop_assert_eq!(Resource::of_server(&kept), Some(expected), "{}", kept);
        }
    }

    /// Whatever a manifest says, its words stay inside quotes.
    #[test]
    fn no_name_gets_out_of_its_quotes(name in name(), hash in name(), argument in name(), dc in name()) {
        let role = Role {
            name: name.clone(),
            password_hash: Some(Hash::new(hash.clone())),
            datacenters: vec![dc.clone()],
            ..Role::default()
        };
        let cql = Step::Create(role).cql(Hashes::Hashed);
        let (quoted, outside) = outside_quotes(&cql);
        let words = "CREATE ROLE  WITH HASHED PASSWORD =  AND LOGIN = false AND SUPERUSER = false AND ACCESS TO DATACENTERS {}";
        let plain = outside.replacen(&format!("ROLE {name} WITH"), "ROLE  WITH", 1);
        prop_assert_eq!(plain, words);
        prop_assert!(quoted.ends_with(&[hash, dc]));
        let on = Resource::Function { keyspace: name.clone(), name, arguments: vec![argument] };
        if let Some(on) = on.cql() {
            let (_, outside) = outside_quotes(&on);
            prop_assert!(outside.chars().all(|c| c.is_ascii_lowercase() || "FUNCTION .()<>,_".contains(c)
                || c.is_ascii_digit()), "{}", outside);
        }
    }
}
