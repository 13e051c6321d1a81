//! The vocabulary of the tests: servers, keyspaces of a test's own, the tool as a process, cells as the wire has them.
//!
//! Nothing here uses the tool's library: what it writes is judged by the driver's bytes.

use futures::StreamExt;
use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::TranslationError;
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use scylla::response::PagingState;
use scylla::response::query_result::QueryResult;
use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::unprepared::Statement;
use std::ffi::OsStr;
use std::fmt::Write;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The version that tests run on unless they ask for another.
pub const NEWEST: &str = "5.0";

/// The server that asks for a login, of the newest version.
pub const WITH_LOGIN: &str = "5.0-auth";

/// A ScyllaDB, which `scripts/test` cannot start and `CQLIFT_NODES` may name.
pub const SCYLLA: &str = "scylla";

/// The superuser of servers that ask for a login, and its password.
const SUPERUSER: (&str, &str) = ("cassandra", "cassandra");

/// What must hold wherever it can: a server that tells the times of all cells, and one that tells only those of simple ones.
pub const BOTH: [&str; 2] = [NEWEST, "4.1"];

/// A server to test against.
#[derive(Clone, Debug)]
pub struct Node {
    pub version: String,
    pub host: String,
    pub port: u16,
    /// User and password, for a server that asks for them: one whose version ends in `-auth`.
    pub login: Option<(String, String)>,
}

impl Node {
    /// The server of `version`; without one the test fails and says how to get it.
    pub fn get(version: &str) -> Node {
        Node::all().into_iter().find(|node| node.version == version).unwrap_or_else(|| {
            panic!(
                "this test needs a Cassandra {version} server: run `scripts/test`, which starts one, or set \
                 CQLIFT_NODES=\"{version}=HOST[:PORT] …\""
            )
        })
    }

    /// The servers named by `CQLIFT_NODES`.
    pub fn all() -> Vec<Node> {
        let nodes = std::env::var("CQLIFT_NODES").unwrap_or_default();
        nodes.split_whitespace().map(Node::parse).collect()
    }

    fn parse(text: &str) -> Node {
        let (version, address) = text
            .split_once('=')
            .unwrap_or_else(|| panic!("CQLIFT_NODES: {text:?} is not VERSION=HOST[:PORT]"));
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "9042"));
        Node {
            version: version.to_owned(),
            host: host.to_owned(),
            port: port.parse().unwrap_or_else(|_| panic!("CQLIFT_NODES: {text:?}: bad port")),
            login: version.ends_with("-auth").then(|| (SUPERUSER.0.to_owned(), SUPERUSER.1.to_owned())),
        }
    }

    /// The same server, logged in as somebody else.
    pub fn as_role(&self, name: &str, password: &str) -> Node {
        Node { login: Some((name.to_owned(), password.to_owned())), ..self.clone() }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether the server is behind port mapping, as the containers of `docker-compose.yml` are: it then tells of an
    /// address that cannot be reached at this port.
    fn is_mapped(&self) -> bool {
        self.port != 9042
    }

    /// Runs the tool against this server: `args`, then `-h HOST -P PORT` and the login.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let port = self.port.to_string();
        let mut all: Vec<_> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        all.extend(["-h", &self.host, "-P", &port].map(Into::into));
        if self.is_mapped() {
            all.push("--only-contact-points".into());
        }
        match &self.login {
            None => run(all),
            Some((user, password)) => {
                all.extend(["-u", user].map(Into::into));
                run_with(all, &[("CQLIFT_PASSWORD", password)])
            }
        }
    }
}

/// Every node is reached at one address.
struct Everywhere(SocketAddr);

#[async_trait::async_trait]
impl AddressTranslator for Everywhere {
    async fn translate_address(&self, _: &UntranslatedPeer) -> Result<SocketAddr, TranslationError> {
        Ok(self.0)
    }
}

/// The interpreter that has the packages of `tests/requirements.txt`.
pub fn python() -> String {
    std::env::var("CQLIFT_PYTHON").unwrap_or_else(|_| {
        panic!(
            "this test needs the Python of tests/requirements.txt: run `scripts/test`, which makes one, or set \
             CQLIFT_PYTHON=$(scripts/python)"
        )
    })
}

/// A session in one keyspace, on a runtime of its own: tests stay synchronous.
pub struct Db {
    // Dropped before the runtime that its connections run on.
    session: Session,
    runtime: Runtime,
}

/// The cells of one row as they came over the wire.
pub type Row = Vec<Option<Vec<u8>>>;

impl Db {
    /// Connects to `node`.
    pub fn connect(node: &Node) -> Db {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Of two datacenters both take part, so that what is written here is read by whoever is asked.
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::Quorum)
            .request_timeout(Some(Duration::from_secs(60)))
            .build();
        let mut builder = SessionBuilder::new();
        if node.is_mapped() {
            let address = node.address().parse().expect("a mapped node is named by its IP address");
            builder = builder.address_translator(Arc::new(Everywhere(address)));
        }
        if let Some((user, password)) = &node.login {
            builder = builder.user(user, password);
        }
        let builder = builder
            .known_node(node.address())
            .fetch_full_schema_metadata(false)
            .schema_agreement_interval(Duration::from_millis(20))
            .refresh_metadata_on_auto_schema_agreement(false)
            .pool_size(PoolSize::PerHost(NonZeroUsize::MIN))
            .default_execution_profile_handle(profile.into_handle());
        let session = runtime
            .block_on(builder.build())
            .unwrap_or_else(|error| panic!("{} (CQLIFT_NODES): {error}", node.address()));
        Db { session, runtime }
    }

    /// Runs async test code.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Makes `keyspace` the one that unqualified names mean.
    pub fn use_keyspace(&self, keyspace: &str) {
        self.block_on(self.session.use_keyspace(keyspace, true)).unwrap();
    }

    /// Runs a statement.
    pub fn execute(&self, cql: &str) {
        self.try_execute(cql).unwrap();
    }

    /// Runs a statement that the server may refuse.
    ///
    /// # Errors
    /// The server's message and the statement.
    pub fn try_execute(&self, cql: &str) -> Result<(), String> {
        self.block_on(self.session.query_unpaged(cql, ()))
            .map(drop)
            .map_err(|error| format!("{error}\n  {}", shorten(cql)))
    }

    /// Runs a statement with raw cells bound to its markers.
    ///
    /// # Errors
    /// The server's message and the statement.
    pub fn try_bind(&self, cql: &str, row: &RawRow) -> Result<(), String> {
        self.block_on(async {
            let prepared = self.session.prepare(cql).await.map_err(|e| e.to_string())?;
            self.session.execute_unpaged(&prepared, row).await.map_err(|e| e.to_string())
        })
        .map(drop)
        .map_err(|error| format!("{error}\n  {}", shorten(cql)))
    }

    /// Runs statements with raw cells bound to their markers as one unlogged batch.
    ///
    /// # Errors
    /// The server's message and the statements.
    pub fn try_batch(&self, statements: &[(&str, RawRow)]) -> Result<(), String> {
        self.block_on(async {
            let mut batch = Batch::new(BatchType::Unlogged);
            for (cql, _) in statements {
                batch.append_statement(self.session.prepare(*cql).await.map_err(|e| e.to_string())?);
            }
            let rows: Vec<&RawRow> = statements.iter().map(|(_, row)| row).collect();
            self.session.batch(&batch, rows).await.map_err(|e| e.to_string())
        })
        .map(drop)
        .map_err(|error| format!("{error}\n  {statements:?}"))
    }

    /// Runs many statements, some at a time, in no particular order.
    ///
    /// # Errors
    /// The first refusal.
    pub fn try_each(&self, statements: impl Iterator<Item = String>) -> Result<(), String> {
        const AT_ONCE: usize = 128;
        self.block_on(async {
            let mut running = futures::stream::iter(statements)
                .map(|cql| async move {
                    let done = self.session.query_unpaged(cql.as_str(), ()).await;
                    done.map(drop).map_err(|error| format!("{error}\n  {}", shorten(&cql)))
                })
                .buffer_unordered(AT_ONCE);
            while let Some(done) = running.next().await {
                done?;
            }
            Ok(())
        })
    }

    /// All rows of a query, in the server's order.
    pub fn rows(&self, cql: &str) -> Vec<Row> {
        self.block_on(async {
            let mut rows = Vec::new();
            let mut state = PagingState::start();
            let statement = Statement::new(cql).with_page_size(1000);
            loop {
                let (page, more) = self
                    .session
                    .query_single_page(statement.clone(), (), state)
                    .await
                    .unwrap_or_else(|error| panic!("{error}\n  {}", shorten(cql)));
                take_rows(page, &mut rows);
                match more.into_paging_control_flow() {
                    ControlFlow::Continue(next) => state = next,
                    ControlFlow::Break(()) => return rows,
                }
            }
        })
    }

    /// All rows of a query whose columns are text; null becomes the empty string.
    pub fn texts(&self, cql: &str) -> Vec<Vec<String>> {
        let text = |cell: Option<Vec<u8>>| String::from_utf8(cell.unwrap_or_default()).unwrap();
        self.rows(cql).into_iter().map(|row| row.into_iter().map(text).collect()).collect()
    }

    /// The names of the cluster's datacenters, in order; containers have one.
    pub fn datacenters(&self) -> Vec<String> {
        let state = self.session.get_cluster_state();
        let names = state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone());
        names.collect::<std::collections::BTreeSet<String>>().into_iter().collect()
    }

    /// The number of rows of a table.
    pub fn count(&self, table: &str) -> usize {
        let column = "SELECT column_name FROM system_schema.columns";
        let (keyspace, name) = table.split_once('.').unwrap();
        let key = self
            .texts(&format!("{column} WHERE keyspace_name = '{keyspace}' AND table_name = '{name}' LIMIT 1"));
        assert!(!key.is_empty(), "there is no table {table}");
        self.rows(&format!("SELECT \"{}\" FROM {keyspace}.\"{name}\"", key[0][0])).len()
    }

    /// The tables of a keyspace, without its views.
    pub fn tables(&self, keyspace: &str) -> Vec<String> {
        self.names("table_name", "tables", keyspace)
    }

    /// The names in one of the catalogue's tables.
    pub fn names(&self, column: &str, catalogue: &str, keyspace: &str) -> Vec<String> {
        let rows = self.texts(&format!(
            "SELECT {column} FROM system_schema.{catalogue} WHERE keyspace_name = '{keyspace}'"
        ));
        rows.into_iter().flatten().collect()
    }
}

/// The driver walks the page; the tool has a walk of its own, so this judges that one too.
fn take_rows(page: QueryResult, rows: &mut Vec<Row>) {
    let Ok(page) = page.into_rows_result() else {
        return;
    };
    for row in page.rows::<ColumnIterator>().unwrap() {
        let cells = row.unwrap().map(|cell| cell.unwrap().slice.map(|s| s.as_slice().to_vec()));
        rows.push(cells.collect());
    }
}

/// A value to bind as raw bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum RawCell {
    Value(Vec<u8>),
    Null,
    Unset,
}

/// Raw cells for all markers of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRow(pub Vec<RawCell>);

impl SerializeRow for RawRow {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter,
    ) -> Result<(), SerializationError> {
        for cell in &self.0 {
            let target = writer.make_cell_writer();
            match cell {
                RawCell::Value(bytes) => drop(target.set_value(bytes).unwrap()),
                RawCell::Null => drop(target.set_null()),
                RawCell::Unset => drop(target.set_unset()),
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A keyspace of this test alone, and those it is loaded into; dropped at the end.
pub struct TestKeyspace {
    pub node: Node,
    pub name: String,
    pub db: Db,
    loaded: std::cell::RefCell<Vec<String>>,
}

impl TestKeyspace {
    /// An empty keyspace on the newest server, in use.
    pub fn new(name: &str) -> TestKeyspace {
        TestKeyspace::on(Node::get(NEWEST), name)
    }

    /// An empty keyspace on `node`, in use.
    pub fn on(node: Node, name: &str) -> TestKeyspace {
        // Two test runs against one server must not meet.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name: String = name.chars().take(20).collect();
        let name = format!("{name}_{:x}_{count}", std::process::id());
        let db = Db::connect(&node);
        // Where there are several datacenters, a simple strategy leaves rows out of reach of some.
        let replicas = |name: String| format!(", '{name}': 1");
        let replication = match db.datacenters() {
            names if names.len() > 1 => {
                let replicas: String = names.into_iter().map(replicas).collect();
                format!("{{'class': 'NetworkTopologyStrategy'{replicas}}}")
            }
            _ => SIMPLE.to_owned(),
        };
        db.execute(&format!("CREATE KEYSPACE {name} WITH replication = {replication}"));
        db.use_keyspace(&name);
        TestKeyspace { node, name, db, loaded: std::cell::RefCell::default() }
    }

    /// A keyspace with these statements run in it.
    pub fn with(name: &str, statements: &[&str]) -> TestKeyspace {
        TestKeyspace::with_on(Node::get(NEWEST), name, statements)
    }

    /// The same on `node`.
    pub fn with_on(node: Node, name: &str, statements: &[&str]) -> TestKeyspace {
        let keyspace = TestKeyspace::on(node, name);
        for statement in statements {
            keyspace.db.execute(statement);
        }
        keyspace
    }

    /// A name for a keyspace to load into, which does not exist yet.
    pub fn target(&self, tag: &str) -> String {
        let target = format!("{}_{tag}", self.name);
        self.loaded.borrow_mut().push(target.clone());
        target
    }

    /// `ks.table`.
    pub fn table(&self, table: &str) -> String {
        format!("{}.{table}", self.name)
    }

    /// Dumps this keyspace into `dir`.
    pub fn dump(&self, dir: &str, format: &str) -> Ran {
        self.node.run(["dump", &self.name, "-o", dir, "--format", format])
    }

    /// Loads `dir`, a dump of this keyspace, as `target`.
    pub fn load(&self, dir: &str, target: &str, more: &[&str]) -> Ran {
        let map = format!("{}={target}", self.name);
        let mut args = vec!["load", dir, "--map", &map];
        args.extend(more);
        self.node.run(args)
    }

    /// Dumps and loads under another name, which it answers.
    #[track_caller]
    pub fn reloaded(&self, format: &str) -> String {
        let scratch = Scratch::new();
        let (dir, target) = (scratch.path("dump"), self.target(format));
        self.dump(&dir, format).success();
        self.load(&dir, &target, &[]).success();
        target
    }

    /// Dumps like `dump`; answers the summary.
    #[track_caller]
    pub fn dump_json(&self, dir: &str, format: &str) -> serde_json::Value {
        self.node.run(["dump", &self.name, "-o", dir, "--format", format, "--json"]).success().json()
    }

    /// Loads like `load`; answers the summary.
    #[track_caller]
    pub fn load_json(&self, dir: &str, target: &str, more: &[&str]) -> serde_json::Value {
        self.load(dir, target, &[more, &["--json"]].concat()).success().json()
    }
}

/// The replication of the tests' keyspaces where there is one datacenter.
pub const SIMPLE: &str = "{'class': 'SimpleStrategy', 'replication_factor': 1}";

impl Drop for TestKeyspace {
    fn drop(&mut self) {
        for name in self.loaded.borrow().iter().chain([&self.name]) {
            // A test that fails should say why, not that it could not tidy up as well.
            let _ = self.db.try_execute(&format!("DROP KEYSPACE IF EXISTS {name}"));
        }
    }
}

/// The tool, run to its end; look at it with `success` or `fails`.
#[must_use = "check it with .success() or .fails(code)"]
pub struct Ran(Done);

/// What the tool left behind.
pub struct Done {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

/// Runs the tool with nothing of the caller's `CQLIFT_*` settings and no terminal.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    run_with(args, &[])
}

/// The same with environment variables.
pub fn run_with<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, variables: &[(&str, &str)]) -> Ran {
    let mut command = tool(env!("CARGO_BIN_EXE_cqlift"));
    command.args(args).envs(variables.iter().copied());
    Ran::of(command)
}

/// A command with nothing of the caller's `CQLIFT_*` settings and a state directory away from the user's.
pub fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    let state = Path::new(env!("CARGO_TARGET_TMPDIR")).join("state");
    command.stdin(Stdio::null()).env("XDG_STATE_HOME", state);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CQLIFT_") {
            command.env_remove(name);
        }
    }
    command
}

impl Ran {
    /// Runs a command that is, or ends in, the tool.
    pub fn of(mut command: Command) -> Ran {
        let arguments = command.get_args();
        let shown =
            arguments.fold("cqlift".to_owned(), |line, arg| format!("{line} {}", arg.to_string_lossy()));
        let output = command.output().unwrap();
        Ran(Done {
            command: shown,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        })
    }

    /// It ended with code 0.
    #[track_caller]
    pub fn success(self) -> Done {
        self.ends(0)
    }

    /// It ended with `code`, and said so like a tool, not like a crash.
    #[track_caller]
    pub fn fails(self, code: i32) -> Done {
        let done = self.ends(code);
        assert!(!done.stderr.contains("panicked at"), "a crash:\n{}", done.told());
        done
    }

    /// The end, whatever it was.
    pub fn done(self) -> Done {
        self.0
    }

    #[track_caller]
    fn ends(self, code: i32) -> Done {
        assert_eq!(self.0.code, Some(code), "exit code; expected {code}\n{}", self.0.told());
        self.0
    }
}

impl Done {
    /// The error names all of this, in any case of letters.
    #[track_caller]
    pub fn stderr_has(self, fragments: &[&str]) -> Done {
        let stderr = self.stderr.to_lowercase();
        for fragment in fragments {
            let found = stderr.contains(&fragment.to_lowercase());
            assert!(found, "stderr does not name {fragment:?}\n{}", self.told());
        }
        self
    }

    /// Standard output has all of this.
    #[track_caller]
    pub fn stdout_has(self, fragments: &[&str]) -> Done {
        for fragment in fragments {
            let found = self.stdout.contains(fragment);
            assert!(found, "stdout lacks {fragment:?}\n{}", self.told());
        }
        self
    }

    /// Standard output, which is one JSON text.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is no JSON: {e}\n{}", self.told()))
    }

    /// The command and all it said.
    pub fn told(&self) -> String {
        let Done { command, stdout, stderr, code } = self;
        format!("$ {command}\n[exit {code:?}]\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A directory of the test's own.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    /// An empty directory, removed at the end.
    pub fn new() -> Scratch {
        Scratch(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    /// The path of `name` in it, which need not exist.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file; answers its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// All files under `dir`, sorted, as paths from there.
pub fn files(dir: &str) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(dir), Path::new(dir), &mut found);
    found.sort();
    found
}

/// The files of one table in a dump that end in `.ending`, by name.
pub fn parts(dir: &str, keyspace: &str, table: &str, ending: &str) -> Vec<PathBuf> {
    let folder = format!("{dir}/data/{keyspace}/{table}");
    let wanted = |name: &String| name.ends_with(&format!(".{ending}"));
    files(&folder).into_iter().filter(wanted).map(|n| Path::new(&folder).join(n)).collect()
}

/// A JSON file.
pub fn json(path: impl AsRef<Path>) -> serde_json::Value {
    let path = path.as_ref();
    let text = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Bytes as `0x…`, null as `null`; long ones are cut.
pub fn hex(cell: Option<&[u8]>) -> String {
    const SHOWN: usize = 80;
    let Some(bytes) = cell else {
        return "null".to_owned();
    };
    let mut text = bytes.iter().take(SHOWN).fold("0x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    if bytes.len() > SHOWN {
        write!(text, "… ({} bytes)", bytes.len()).unwrap();
    }
    text
}

/// An identifier as CQL always takes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn shorten(cql: &str) -> String {
    cql.chars().take(300).collect()
}
