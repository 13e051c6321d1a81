//! Passwords and keys: where they come from, and that they go nowhere but to the server.

use crate::harness::{Db, Node, Scratch, TestKeyspace, WITH_LOGIN, files, run, run_with, tool};
use crate::tls::{certificates, flags};

/// A role with a password that stands nowhere else; gone at the end.
struct Role {
    admin: Db,
    name: String,
    password: String,
}

impl Role {
    fn new(tag: &str) -> Role {
        let admin = Db::connect(&Node::get(WITH_LOGIN));
        let name = format!("{tag}_{:x}", std::process::id());
        let password = format!("Zq7 'pass' {tag} {:x}", std::process::id());
        let text = password.replace('\'', "''");
        admin.execute(&format!(
            "CREATE ROLE {name} WITH PASSWORD = '{text}' AND LOGIN = true AND SUPERUSER = true"
        ));
        Role { admin, name, password }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.admin.try_execute(&format!("DROP ROLE IF EXISTS {}", self.name));
    }
}

/// Forms in which a secret might be found: as it is, in base64's neighbourhood, and as Rust and JSON print bytes.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let numbers = |separator: &str| {
        let numbers: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        numbers.join(separator).into_bytes()
    };
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![
        secret.into(),
        secret.replace('\'', "\\'").into(),
        numbers(", "),
        numbers(","),
        hex.to_uppercase().into(),
        hex.into(),
    ]
}

#[track_caller]
fn hides(place: &str, content: &[u8], secrets: &[String]) {
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        let found = memchr::memmem::find(content, &form).is_some();
        assert!(!found, "{place} has a secret, as {}", String::from_utf8_lossy(&form));
    }
}

#[test]
fn passwords_and_keys_are_in_no_log_and_no_file() {
    let role = Role::new("hidden");
    let source = TestKeyspace::with_on(
        Node::get(WITH_LOGIN),
        "hidden",
        &["CREATE TABLE t (k int PRIMARY KEY, v text)", "INSERT INTO t (k, v) VALUES (1, 'a')"],
    );
    let scratch = Scratch::new();
    let key = std::fs::read_to_string(certificates(WITH_LOGIN).join("client.key")).unwrap();
    let mut secrets: Vec<String> =
        key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect();
    assert!(secrets.len() > 10, "what is the key?");
    secrets.push(role.password.clone());
    let (dir, state, target) = (scratch.path("dump"), scratch.path("state"), source.target("loaded"));
    let map = format!("{}={target}", source.name);
    let wrong = scratch.path("wrong");
    for (args, port, code) in [
        (&["dump", &source.name, "-o", &dir, "--json"][..], "9142", 0),
        (&["load", &dir, "--map", &map, "--json"], "9142", 0),
        (&["verify", &dir, "--map", &map], "9142", 0),
        (&["dump", &source.name, "-o", &wrong, "--consistency", "THREE", "--max-attempts", "2"], "9142", 1),
        (&["dump", &source.name, "-o", &wrong], "9042", 1),
    ] {
        let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
        command.args(args).args(["-vv", "-h", &source.node.host, "-P", port, "-u", &role.name]);
        command.args(flags(WITH_LOGIN)).args(["--tls-name", "localhost"]);
        command
            .env("CQLIFT_PASSWORD", &role.password)
            .env("CQLIFT_LOG", "trace")
            .env("XDG_STATE_HOME", &state);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(
            told.contains("DEBUG") && (code == 1 || told.contains("TRACE")),
            "the log is not all there: {told}"
        );
        hides("stdout", &output.stdout, &secrets);
        hides("stderr", &output.stderr, &secrets);
    }
    let mut seen = 0;
    for folder in [&dir, &wrong, &state] {
        for file in files(folder) {
            hides(&file, &std::fs::read(format!("{folder}/{file}")).unwrap(), &secrets);
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen} files were looked at");
    // The judge: it finds what is there.
    let found = std::panic::catch_unwind(|| {
        hides("a log", format!("x{:?}y", role.password.as_bytes()).as_bytes(), &secrets)
    });
    assert!(found.is_err());
}

#[test]
fn a_password_is_no_argument() {
    for args in [["schema", "--password", "x"], ["schema", "--password=x", "-q"], ["schema", "-p", "x"]] {
        run(args).fails(2).stderr_has(&["unexpected argument"]);
    }
}

#[test]
fn a_password_comes_from_a_file_the_environment_or_a_prompt() {
    let role = Role::new("asked");
    let (node, scratch) = (Node::get(WITH_LOGIN), Scratch::new());
    let args = ["schema", "system_traces", "-h", &node.host, "-u", &role.name];
    let good = role.password.as_str();
    let with_file = |content: &str, variable: &str| {
        let file = scratch.write("password", content);
        run_with([&args[..], &["--password-file", &file]].concat(), &[("CQLIFT_PASSWORD", variable)])
    };
    // The first line, however it ends; the flag is nearer than the variable.
    for content in [format!("{good}\n"), good.to_owned(), format!("{good}\r\n"), format!("{good}\nmore\n")] {
        with_file(&content, "wrong").success();
    }
    run_with(args, &[("CQLIFT_PASSWORD", good)]).success();
    for refused in [
        with_file("", good),
        with_file(&format!(" {good}\n"), good),
        run_with(args, &[("CQLIFT_PASSWORD", "wrong")]),
        run_with(args, &[("CQLIFT_PASSWORD", "")]),
    ] {
        let done = refused.fails(1).stderr_has(&["cannot connect to", "refused the user or the password"]);
        assert!(!done.stderr.contains(good), "{}", done.told());
    }
    let (code, shown) = prompted(&args, good);
    assert!(code == Some(0) && shown.contains(&format!("Password of {}: ", role.name)), "{shown}");
    assert!(shown.contains("CREATE TABLE") && !shown.contains(good), "{shown}");
    let (code, shown) = prompted(&args, "wrong");
    assert!(code == Some(1) && shown.contains("refused the user or the password"), "{shown}");
}

/// Runs the tool at a terminal where somebody types a line when asked for the password; all that the terminal shows.
fn prompted(args: &[&str], typed: &str) -> (Option<i32>, String) {
    const TERMINAL: &str = r#"
import os, pty, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b""
asked = False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    shown += more
    if not asked and b"Password of" in shown:
        asked = True
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            pass
        os.write(terminal, sys.argv[1].encode() + b"\n")
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let mut command = tool("python3");
    let output =
        command.args(["-c", TERMINAL, typed, env!("CARGO_BIN_EXE_cqlift")]).args(args).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
