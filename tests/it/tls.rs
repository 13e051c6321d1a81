//! TLS with client certificates, against nodes with `scripts/cassandra --tls`: whom the tool believes, whom it does not,
//! and what it says then. Their plain port tells what the encrypted one did.

use crate::harness::{Done, NEWEST, Node, Scratch, TestKeyspace, WITH_LOGIN, tool};
use crate::network::Forwarder;
use crate::roundtrip::assert_same;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stands in every value, so that it can be looked for on the wire.
const MARK: &str = "in plain sight";

const SOME: &[&str] = &[
    "CREATE TABLE t (k int PRIMARY KEY, v text)",
    "INSERT INTO t (k, v) VALUES (1, 'in plain sight 1')",
    "INSERT INTO t (k, v) VALUES (2, 'in plain sight 2')",
];

/// The port for TLS of a server that has one besides.
fn encrypted(version: &str) -> Node {
    Node { port: 9142, ..Node::get(version) }
}

/// The folder with the certificates of a server.
pub fn certificates(version: &str) -> PathBuf {
    let directories = std::env::var("CQLIFT_DIRS").unwrap_or_default();
    let found = directories.split_whitespace().find_map(|one| one.strip_prefix(version)?.strip_prefix('='));
    let found = found.unwrap_or_else(|| {
        panic!(
            "this test needs the certificates of a Cassandra {version}: run `scripts/test`, or start one with \
             `scripts/cassandra start … DIR --tls` and set CQLIFT_DIRS=\"{version}=DIR …\""
        )
    });
    Path::new(found).join("tls")
}

/// The flags by which a client is let in: `--tls-ca`, `--tls-cert` and `--tls-key`.
pub fn flags(version: &str) -> Vec<String> {
    let folder = certificates(version);
    let files = [("--tls-ca", "ca.pem"), ("--tls-cert", "client.pem"), ("--tls-key", "client.key")];
    let flags = files.map(|(flag, name)| [flag.to_owned(), folder.join(name).to_str().unwrap().to_owned()]);
    flags.concat()
}

/// Prints a keyspace's schema over TLS, by its address unless `more` says something else, without what a login needs.
fn schema(node: &Node, more: &[&str]) -> Done {
    let port = node.port.to_string();
    let mut args = vec!["schema", "system_traces", "-h", &node.host, "-P", &port];
    args.extend(more);
    let mut environment = Vec::new();
    if let Some((user, password)) = &node.login {
        args.extend(["-u", user]);
        environment.push(("CQLIFT_PASSWORD", password.as_str()));
    }
    crate::harness::run_with(args, &environment).done()
}

#[track_caller]
fn let_in(done: Done) {
    assert!(done.code == Some(0) && done.stdout.contains("CREATE TABLE"), "{}", done.told());
    assert!(!done.stderr.contains("warning"), "{}", done.told());
}

#[track_caller]
fn refused(done: Done, named: &[&str]) {
    assert!(done.code == Some(1) && done.stdout.is_empty(), "{}", done.told());
    assert!(!done.stderr.contains("Failed to perform"), "the driver's words: {}", done.told());
    done.stderr_has(named).stderr_has(&["cannot connect to", "hint: "]);
}

fn borrowed(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

/// Through a forwarder, so that the host is one that has a name everywhere, which is in the certificate of the node.
#[test]
fn a_dump_travels_over_tls_with_a_login() {
    let source = TestKeyspace::with_on(Node::get(WITH_LOGIN), "over_tls", SOME);
    let (node, scratch) = (encrypted(WITH_LOGIN), Scratch::new());
    let forwarder = Forwarder::counting(&node, MARK.as_bytes());
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    let map = format!("{}={target}", source.name);
    let port = forwarder.address.port().to_string();
    let way = ["-h", "localhost", "-P", &port, "--only-contact-points"];
    let (password, flags) = (scratch.write("password", "cassandra\n"), flags(WITH_LOGIN));
    let login = ["-u", "cassandra", "--password-file", &password];
    for args in [
        &["dump", &source.name, "-o", &dir][..],
        &["load", &dir, "--map", &map],
        &["verify", &dir, "--map", &map],
        &["verify", &dir],
    ] {
        let asks = !(args[0] == "verify" && args.len() == 2);
        let flags = borrowed(&flags);
        let more = if asks { [&way[..], &login, &flags].concat() } else { Vec::new() };
        crate::harness::run([args, &more].concat()).success();
    }
    assert_eq!(assert_same(&source.db, &source.name, &target), 2);
    assert_eq!(forwarder.marked(), 0, "values went over the network unencrypted");
    // The judge of that: without encryption they are seen.
    let plain = Forwarder::counting(&source.node, MARK.as_bytes());
    let port = plain.address.port().to_string();
    let way = ["-h", "127.0.0.1", "-P", &port, "--only-contact-points"];
    crate::harness::run([&["dump", &source.name, "-o", &scratch.path("plain")][..], &way, &login].concat())
        .success();
    assert!(plain.marked() > 0);
}

#[test]
fn a_node_is_believed_by_a_name_that_was_given_only() {
    let (node, all) = (encrypted(WITH_LOGIN), flags(WITH_LOGIN));
    let believed = |more: &[&str]| schema(&node, &[&borrowed(&all)[..], more].concat());
    let_in(believed(&["--tls-name", "node1.cqlift.test"]));
    let_in(believed(&["--tls-name", "other.cqlift.test,localhost"]));
    let_in(believed(&["--tls-skip-hostname"]));
    // By its address, which its certificate does not carry.
    refused(believed(&[]), &[&format!("certificate of {}", node.host), "node1.cqlift.test", "--tls-name"]);
    for other in ["node2.cqlift.test", "cqlift.test", &node.host] {
        refused(believed(&["--tls-name", other]), &["node1.cqlift.test, localhost", "--tls-name"]);
    }
    let none = believed(&["--tls-name", "no name"]);
    assert!(none.code == Some(2) && none.stderr.contains("\"no name\""), "{}", none.told());
}

#[test]
fn the_authorities_of_this_machine_are_believed_unless_others_are_named() {
    let (node, folder) = (encrypted(WITH_LOGIN), certificates(WITH_LOGIN));
    let of_client = flags(WITH_LOGIN)[2..].to_vec();
    let name = ["--tls-name", "localhost"];
    // Any that signs certificates, but not this node's.
    let other = folder.join("client.pem").to_str().unwrap().to_owned();
    let more = [&borrowed(&of_client)[..], &name, &["--tls-ca", &other]].concat();
    refused(schema(&node, &more), &["certificate of", "authority", "--tls-ca"]);
    // Where the authorities are is told by a variable that OpenSSL knows too.
    let run = |file: &Path| {
        let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
        command.args(["schema", "system_traces", "-u", "cassandra", "-h", &node.host, "-P", "9142", "--tls"]);
        command.args(&of_client).args(name).env("CQLIFT_PASSWORD", "cassandra");
        command.env("SSL_CERT_FILE", file).env_remove("SSL_CERT_DIR");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&folder.join("ca.pem")), (Some(0), String::new()));
    let (code, told) = run(&folder.join("client.pem"));
    assert!(code == Some(1) && told.contains("authority") && told.contains("--tls-ca"), "{told}");
    let (code, told) = run(&folder.join("client.key"));
    assert!(code == Some(1) && told.contains("this machine has no certificates of authorities"), "{told}");
}

#[test]
fn a_certificate_counts_while_it_is_valid() {
    let (node, flags) = (encrypted(WITH_LOGIN), flags(WITH_LOGIN));
    for (by, named) in [("+91 days", "has expired, on 20"), ("-2 days", "is valid only from 20")] {
        // The client's clock alone; certificates are made for 90 days.
        let mut command = tool("faketime");
        command.args(["-f", by, env!("CARGO_BIN_EXE_cqlift"), "schema", "system_traces", "-u", "cassandra"]);
        command.args(["-h", &node.host, "-P", "9142", "--tls-name", "localhost"]).args(&flags);
        let output = command.env("CQLIFT_PASSWORD", "cassandra").output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && told.contains(named), "{by}: {told}");
        assert!(told.contains("certificate of") && told.contains("clock"), "{by}: {told}");
    }
}

#[test]
fn a_client_without_a_certificate_is_told_to_bring_one() {
    let (node, flags) = (encrypted(WITH_LOGIN), flags(WITH_LOGIN));
    let more = [&borrowed(&flags[..2])[..], &["--tls-name", "localhost"]].concat();
    refused(schema(&node, &more), &["asks clients for a certificate", "--tls-cert", "--tls-key"]);
    // One that is for servers is not believed of a client.
    let folder = certificates(WITH_LOGIN);
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("node1.pem"), file("node1.key"));
    let more = [&more[..], &["--tls-cert", &certificate, "--tls-key", &key]].concat();
    refused(schema(&node, &more), &["ended the connection", "certificate", "--tls-cert", "log"]);
}

#[test]
fn plain_and_encrypted_ports_are_told_apart() {
    let flags = flags(WITH_LOGIN);
    let more = [&borrowed(&flags)[..], &["--tls-name", "localhost"]].concat();
    refused(schema(&Node::get(WITH_LOGIN), &more), &["not with TLS", "--tls"]);
    refused(schema(&encrypted(WITH_LOGIN), &[]), &["closed the connection", "--tls", "--tls-ca"]);
}

#[test]
fn a_wrong_password_is_told_over_tls_too() {
    let node = encrypted(WITH_LOGIN).as_role("cassandra", "wrong");
    let flags = flags(WITH_LOGIN);
    let more = [&borrowed(&flags)[..], &["--tls-name", "localhost"]].concat();
    refused(schema(&node, &more), &["refused the user or the password"]);
}

/// Nodes that nobody has typed: by the address that the cluster tells, or by one of the names that were typed.
#[test]
fn nodes_that_the_cluster_tells_of_are_believed_by_their_address() {
    let (node, flags) = (encrypted("4.1"), flags("4.1"));
    // Its nodes are at addresses that follow one another.
    let first: std::net::Ipv4Addr = node.host.parse().unwrap();
    let second = std::net::Ipv4Addr::from(u32::from(first) + 1).to_string();
    let forwarder = Forwarder::to(&node);
    let port = forwarder.address.port().to_string();
    let map = format!("{}=127.0.0.1:{port},{second}={second}:9142", node.host);
    let by_name = ["-h", "localhost", "-P", &port, "--address-map", &map];
    let run = |way: &[&str]| {
        crate::harness::run([&["schema", "system_traces"][..], way, &borrowed(&flags)].concat()).done()
    };
    // The first by its name, the second by its address.
    let_in(run(&by_name));
    let addresses = ["-h", &node.host, "-P", "9142"];
    let_in(run(&[&addresses[..], &["--tls-name", "node1.cqlift.test,node2.cqlift.test"]].concat()));
    // A name was given, and it is the first one's alone: the second is left out, and that is told.
    let done = run(&[&addresses[..], &["--tls-name", "node1.cqlift.test"]].concat());
    assert_eq!(done.code, Some(0), "{}", done.told());
    done.stderr_has(&["warning", &format!("node {second} is left out"), "node2.cqlift.test", "--tls-name"]);
    // The other way about: only the second carries its address, and was typed by it.
    let done = run(&["-h", &second, "-P", "9142"]);
    assert_eq!(done.code, Some(0), "{}", done.told());
    done.stderr_has(&["warning", &format!("node {} is left out", node.host), "node1.cqlift.test"]);
}

/// Runs `openssl` in a folder.
fn openssl(folder: &Scratch, arguments: &str) {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_come_in_three_forms_and_none_is_shown() {
    let (node, folder, scratch) = (encrypted(WITH_LOGIN), certificates(WITH_LOGIN), Scratch::new());
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (ca, client, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    openssl(&scratch, &format!("rsa -traditional -in {key} -out pkcs1"));
    openssl(&scratch, "ecparam -name prime256v1 -genkey -noout -out sec1");
    openssl(&scratch, "req -new -key sec1 -subj /CN=ec -out ec.csr");
    openssl(
        &scratch,
        &format!(
            "x509 -req -in ec.csr -CA {ca} -CAkey {} -CAserial serial -CAcreateserial -days 1 -out ec.pem",
            file("ca.key")
        ),
    );
    let ec = scratch.path("ec.pem");
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    let both = scratch.write("both", text(&client) + &text(&key));
    for (certificate, key, begins) in [
        (&client, &key, "-----BEGIN PRIVATE KEY"),
        (&client, &scratch.path("pkcs1"), "-----BEGIN RSA PRIVATE KEY"),
        (&ec, &scratch.path("sec1"), "-----BEGIN EC PRIVATE KEY"),
    ] {
        assert!(text(key).starts_with(begins), "{key} is of another form");
        let key = scratch.write("key", text(key));
        private(&key);
        let more = ["--tls-ca", &ca, "--tls-cert", certificate, "--tls-key", &key, "--tls-name", "localhost"];
        let_in(schema(&node, &more));
    }
    private(&both);
    let_in(schema(&node, &["--tls-ca", &ca, "--tls-cert", &both, "--tls-name", "localhost"]));

    openssl(&scratch, &format!("pkcs8 -topk8 -v2 aes256 -passout pass:x -in {key} -out encrypted"));
    openssl(&scratch, &format!("rsa -traditional -aes256 -passout pass:x -in {key} -out encrypted1"));
    let damaged = scratch.write("damaged", text(&key).replace("MII", "M!I"));
    for (given, named) in [
        (scratch.path("encrypted"), "is encrypted"),
        (scratch.path("encrypted1"), "is encrypted"),
        (scratch.path("missing"), "No such file"),
        (client.clone(), "no private key"),
        (damaged, "is damaged"),
        (scratch.path("sec1"), "does not fit the certificate"),
    ] {
        let more = ["--tls-ca", &ca, "--tls-cert", &client, "--tls-key", &given, "--tls-name", "localhost"];
        let done = schema(&node, &more);
        assert_eq!(done.code, Some(1), "{}", done.told());
        let done = done.stderr_has(&[&given, named]);
        assert!(
            !done.stderr.contains("M!I") && !done.stderr.contains(&text(&key)[40..80]),
            "{}",
            done.told()
        );
    }
    // Certificates that are none.
    for flag in ["--tls-ca", "--tls-cert"] {
        let missing = scratch.path("missing");
        for (given, named) in [(&missing, "No such file"), (&key, "no certificate")] {
            let done = schema(&node, &["--tls-key", &key, "--tls-cert", &client, flag, given]);
            let done =
                if flag == "--tls-cert" { schema(&node, &["--tls-key", &key, flag, given]) } else { done };
            assert_eq!(done.code, Some(1), "{}", done.told());
            done.stderr_has(&[given, named]);
        }
    }
}

fn private(path: &str) {
    set_mode(path, 0o600);
}

fn set_mode(path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let (node, scratch, all) = (encrypted(WITH_LOGIN), Scratch::new(), flags(WITH_LOGIN));
    let key = scratch.write("key", std::fs::read(&all[5]).unwrap());
    let password = scratch.write("password", "cassandra\n");
    let run = || {
        let args = ["schema", "system_traces", "-h", &node.host, "-P", "9142", "-u", "cassandra"];
        let more = ["--tls-name", "localhost", "--tls-key", &key, "--password-file", &password];
        crate::harness::run([&args[..], &borrowed(&all[..4]), &more].concat()).success()
    };
    for (mode, warned) in [(0o644, true), (0o640, false), (0o600, false)] {
        set_mode(&key, mode);
        set_mode(&password, mode);
        let told = run().stderr;
        assert_eq!(told.contains(&format!("chmod 600 {key}")), warned, "{mode:o}: {told}");
        assert_eq!(told.contains(&format!("chmod 600 {password}")), warned, "{mode:o}: {told}");
    }
}

#[test]
fn flags_of_tls_that_do_not_go_together_are_usage_errors() {
    for (flags, named) in [
        (&["--tls-key", "k"][..], "--tls-cert"),
        (&["--tls-skip-hostname"], "--tls-ca"),
        (&["--tls-ca", "f", "--tls-skip-hostname", "--tls-name", "n"], "--tls-name"),
    ] {
        crate::harness::run([&["schema"][..], flags].concat()).fails(2).stderr_has(&[named]);
    }
    // From the environment as well.
    let node = Node::get(NEWEST);
    let args = ["schema", "-h", &node.host];
    crate::harness::run_with(args, &[("CQLIFT_TLS_CA", "/no/such/ca.pem")])
        .fails(1)
        .stderr_has(&["/no/such/ca.pem"]);
}
