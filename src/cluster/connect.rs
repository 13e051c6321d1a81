//! Connecting: the flags that every command shares, the driver's session, and what the cluster says of itself.

use super::gate::Gate;
use super::retry::{ATTEMPTS, Patience};
use super::tls::{self, Tls, TlsArgs};
use crate::error::{Context, Error, Result};
use crate::manifest::{Datacenter, SourceCluster};
use crate::pace::Bounds;
use crate::report;
use crate::ring::Partitioner;
use async_trait::async_trait;
use clap::{Args, ValueEnum};
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::client::{Compression, PoolSize};
use scylla::cluster::Node;
use scylla::errors::TranslationError;
use scylla::policies::address_translator::{AddressTranslator, UntranslatedPeer};
use scylla::policies::load_balancing::{DefaultPolicy, LoadBalancingPolicy};
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::Consistency;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The driver's limit for one request about the catalogue, at least: changes of the schema may take long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections per shard of a ScyllaDB node, and per node of Cassandra, which multiplexes thousands of requests on one; two
/// keep both cores of a small client busy.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Pages asked for at a time. Of a server that is not busy one of 1 MiB takes some milliseconds.
const READS: Bounds = Bounds { least: 1, most: 64, first: 16, calm: Duration::from_millis(500) };

/// How to reach the cluster.
#[derive(Args, Clone)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// Contact points: names or addresses, several separated by commas or by repeating the flag [default: 127.0.0.1]
    #[arg(short = 'h', long, env = "CQLIFT_HOST", value_delimiter = ',')]
    pub host: Vec<String>,
    /// Port of the native protocol
    #[arg(short = 'P', long, env = "CQLIFT_PORT", default_value_t = 9042)]
    pub port: u16,
    /// User name; the password comes from --password-file, CQLIFT_PASSWORD or a prompt
    #[arg(short = 'u', long, env = "CQLIFT_USERNAME")]
    pub username: Option<String>,
    /// File whose first line is the password
    #[arg(long, env = "CQLIFT_PASSWORD_FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
    /// Datacenter whose nodes are asked [default: that of the contact point]
    #[arg(long, env = "CQLIFT_DC")]
    pub dc: Option<String>,
    /// Consistency level of reads and writes of data
    #[arg(long, env = "CQLIFT_CONSISTENCY", default_value = "LOCAL_QUORUM", value_parser = Level::from_str)]
    pub consistency: Level,
    /// Where to connect for a node that calls itself A, as A=B with A and B as IP or IP:PORT; may repeat
    #[arg(long, env = "CQLIFT_ADDRESS_MAP", value_delimiter = ',', value_name = "A=B", value_parser = MapEntry::from_str)]
    pub address_map: Vec<MapEntry>,
    /// Connect to the contact points only, whatever addresses the cluster tells of
    #[arg(long, env = "CQLIFT_ONLY_CONTACT_POINTS", conflicts_with = "address_map")]
    pub only_contact_points: bool,
    /// Compression of what goes over the network
    #[arg(long, env = "CQLIFT_COMPRESSION", value_enum, default_value_t = Wire::None)]
    pub compression: Wire,
    /// Attempts at each page and each write before the run gives up, with longer and longer waits between them
    #[arg(long, env = "CQLIFT_MAX_ATTEMPTS", value_name = "N", default_value_t = ATTEMPTS,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_attempts: u32,
    /// How long to wait for the answer to a request before it counts as failed
    #[arg(long, env = "CQLIFT_REQUEST_TIMEOUT", value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub request_timeout: u64,
    /// How connections are encrypted.
    #[command(flatten)]
    pub tls: TlsArgs,
}

const LOCAL: &str = "127.0.0.1";

impl ConnectArgs {
    /// The contact points, each with its port.
    fn contact_points(&self) -> Vec<String> {
        self.hosts().iter().map(|host| with_port(host, self.port)).collect()
    }

    /// The contact points as typed.
    fn hosts(&self) -> Vec<String> {
        if self.host.is_empty() { vec![LOCAL.to_owned()] } else { self.host.clone() }
    }
}

/// `--compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wire {
    /// LZ4: less to send, more to compute on both sides
    Lz4,
    /// None: best in one network
    None,
}

impl Wire {
    fn of_driver(self) -> Option<Compression> {
        match self {
            Wire::Lz4 => Some(Compression::Lz4),
            Wire::None => None,
        }
    }
}

/// A consistency level by its CQL name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(pub Consistency);

const LEVELS: &[(&str, Consistency)] = &[
    ("ONE", Consistency::One),
    ("TWO", Consistency::Two),
    ("THREE", Consistency::Three),
    ("QUORUM", Consistency::Quorum),
    ("ALL", Consistency::All),
    ("LOCAL_QUORUM", Consistency::LocalQuorum),
    ("LOCAL_ONE", Consistency::LocalOne),
];

impl Level {
    /// The name CQL gives it.
    pub fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self.0).map_or("?", |(name, _)| name)
    }

    /// Whether a read at this level may miss what a write at LOCAL_QUORUM left.
    pub fn is_weak(self) -> bool {
        matches!(self.0, Consistency::One | Consistency::Two | Consistency::LocalOne)
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Level, String> {
        let found = LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, level)| Level(*level)).ok_or_else(|| {
            let names: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

/// One `A=B` of `--address-map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    from: (IpAddr, Option<u16>),
    to: (IpAddr, Option<u16>),
}

impl FromStr for MapEntry {
    type Err = String;
    fn from_str(text: &str) -> Result<MapEntry, String> {
        let side = |text: &str| {
            let with_port = text.parse::<SocketAddr>().map(|a| (a.ip(), Some(a.port())));
            with_port.or_else(|_| text.parse::<IpAddr>().map(|ip| (ip, None)))
        };
        text.split_once('=')
            .and_then(|(from, to)| Some(MapEntry { from: side(from).ok()?, to: side(to).ok()? }))
            .ok_or_else(|| "expected A=B, both IP or IP:PORT, such as 172.17.0.2=127.0.0.1:9142".to_owned())
    }
}

impl fmt::Display for MapEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |(ip, port): (IpAddr, Option<u16>)| match port {
            Some(port) => SocketAddr::new(ip, port).to_string(),
            None => ip.to_string(),
        };
        write!(f, "{}={}", side(self.from), side(self.to))
    }
}

/// A connected cluster.
pub struct Cluster {
    /// The driver's session.
    pub session: Session,
    /// What the cluster says of itself.
    pub about: SourceCluster,
    /// Level of data reads and writes.
    pub consistency: Level,
    /// How statements on data are run, as against those on the catalogue.
    pub data: ExecutionProfileHandle,
    /// The datacenter whose nodes are asked, if there is one.
    pub dc: Option<String>,
    /// Which nodes such statements go to where keys say nothing.
    pub nodes: Arc<dyn LoadBalancingPolicy>,
    /// How often requests for data are tried.
    pub patience: Patience,
    /// How long an attempt at one lasts.
    pub request_timeout: Duration,
    /// What pages pass on their way: so many are asked for at a time as the cluster answers well.
    pub reads: Arc<Gate>,
    /// Whether a node went away while it was written to.
    pub(super) lost_a_node: AtomicBool,
    clock: Clock,
}

impl Cluster {
    /// Connects and asks the cluster who it is.
    ///
    /// # Errors
    /// `Error` names the contact points and the remedy.
    pub async fn connect(args: &ConnectArgs) -> Result<Cluster> {
        let tls = if args.tls.is_on() { Some(Tls::new(&args.tls, &args.hosts())?) } else { None };
        let password = password(args)?;
        let request_timeout = Duration::from_secs(args.request_timeout);
        // Each node answers for its own catalogue: neither the level nor the datacenter of data reads matters there.
        let catalogue = ExecutionProfile::builder()
            .consistency(Consistency::One)
            .request_timeout(Some(REQUEST_TIMEOUT.max(request_timeout)))
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .build();
        // The driver never tries again, so this is also how long an unanswered attempt lasts.
        let data =
            catalogue.to_builder().consistency(args.consistency.0).request_timeout(Some(request_timeout));
        // Full metadata fails as a whole on one type the driver cannot read; the schema is read by `describe` instead.
        let mut builder = SessionBuilder::new()
            .known_nodes(args.contact_points())
            .default_execution_profile_handle(catalogue.into_handle())
            .fetch_full_schema_metadata(false)
            .pool_size(PoolSize::PerShard(CONNECTIONS))
            // That port is told by the node, and not mapped as the other one is.
            .disallow_shard_aware_port(args.only_contact_points || !args.address_map.is_empty())
            .compression(args.compression.of_driver())
            .driver_config_reporting(false);
        if let (Some(user), Some(password)) = (&args.username, password) {
            builder = builder.user(user, password);
        }
        let mut translator = translator(args).await?;
        if let Some(tls) = &tls {
            builder = builder.tls_context(Some(tls.config.clone()));
            translator = Some(tls.translator(translator));
        }
        if let Some(translator) = translator {
            builder = builder.address_translator(translator);
        }
        let failed = |error: &str, answered| connect_error(args, tls.as_ref(), error, answered);
        let session = builder.build().await.map_err(|error| failed(&error.to_string(), false))?;
        let about = about(&session).await.map_err(|error| failed(&error.to_string(), true))?;
        for (node, refusal) in tls.iter().flat_map(Tls::refusals) {
            report::warn(&format!(
                "node {node} is left out, others do its work: its certificate {}\nhint: {}",
                refusal.what, refusal.hint
            ));
        }
        let dc = datacenter(args, &session, &about).await?;
        // Where tokens are not Murmur3's, the driver makes up one per node: by those, one node may get nearly all.
        let knows_ring = Partitioner::of_class(&about.partitioner) == Ok(Partitioner::Murmur3);
        let mut policy = DefaultPolicy::builder().token_aware(knows_ring);
        if let Some(dc) = &dc {
            policy = policy.prefer_datacenter(dc.clone());
        }
        let nodes = policy.build();
        let data = data.load_balancing_policy(nodes.clone()).build();
        let clock = Clock::measure(&session).await?;
        Ok(Cluster {
            session,
            about,
            consistency: args.consistency,
            data: data.into_handle(),
            dc,
            nodes,
            patience: Patience { attempts: args.max_attempts },
            request_timeout,
            reads: Gate::new(READS),
            lost_a_node: AtomicBool::new(false),
            clock,
        })
    }

    /// Whether a node went away while it was written to, as far as its writes tell: one that lost its power may have lost
    /// what it had acknowledged (Cassandra syncs its commit log every 10 s by default).
    pub fn has_lost_a_node(&self) -> bool {
        self.lost_a_node.load(Relaxed)
    }

    /// What the cluster's clock shows, µs since 1970, as measured when the connection was made; this machine's own clock
    /// does not come in.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// The same as a moment.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(self.now()).unwrap_or(0))
    }

    /// The cluster's clock, µs since 1970: the coordinator's, as write times it would give are its.
    ///
    /// # Errors
    /// `Error` if it cannot be asked.
    pub async fn clock(&self) -> Result<i64> {
        // Its end, not its beginning: what was written within this millisecond is older.
        let rows = self.read::<(i64,)>(TIME).await.map_err(|e| e.context("ask the cluster for its time"))?;
        let (millis,) = *rows.first().ok_or_else(|| Error::failed("the cluster does not tell its time"))?;
        Ok(millis.saturating_add(1).saturating_mul(1000))
    }

    /// What makes the cluster's tokens, by which it is scanned.
    ///
    /// # Errors
    /// `Error` names a partitioner of other tokens.
    pub fn partitioner(&self) -> Result<Partitioner> {
        Partitioner::of_class(&self.about.partitioner).doing(|| "scan the cluster by its tokens")
    }

    /// The release of the server, as far as it says.
    pub fn version(&self) -> &str {
        &self.about.version
    }
}

/// Asks for the coordinator's time, ms since 1970.
const TIME: &str = "SELECT toUnixTimestamp(now()) FROM system.local";

/// The coordinator's time, ms since 1970, if it answers at once.
async fn ask_time(session: &Session) -> Result<i64> {
    let doing = || "ask the cluster for its time";
    let answer = session.query_unpaged(TIME, ()).await.doing(doing)?;
    let (millis,) = answer.into_rows_result().doing(doing)?.single_row::<(i64,)>().doing(doing)?;
    Ok(millis)
}

/// The cluster's clock as this process knows it.
#[derive(Clone, Copy)]
struct Clock {
    /// When it was asked.
    at: Instant,
    /// What it showed then, µs since 1970.
    showed: i64,
}

impl Clock {
    /// Asks a few times: the shortest answer tells it best.
    async fn measure(session: &Session) -> Result<Clock> {
        const TIMES: u32 = 5;
        let mut best: Option<(Duration, Clock)> = None;
        for _ in 0..TIMES {
            let asked = Instant::now();
            let millis = ask_time(session).await?;
            let took = asked.elapsed();
            if best.is_none_or(|(shortest, _)| took < shortest) {
                // Milliseconds are cut: in the mean half of one is missing.
                let showed = millis.saturating_mul(1000).saturating_add(500);
                best = Some((took, Clock { at: asked + took / 2, showed }));
            }
        }
        best.map(|(_, clock)| clock).ok_or_else(|| Error::failed("the cluster's clock was not asked"))
    }

    fn now(&self) -> i64 {
        let since = i64::try_from(self.at.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.showed.saturating_add(since)
    }
}

/// `host`, with the port unless it brings its own.
fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) if host.contains(':') => host.to_owned(),
        Err(_) => format!("{host}:{port}"),
    }
}

fn password(args: &ConnectArgs) -> Result<Option<String>> {
    let Some(user) = &args.username else {
        return Ok(None);
    };
    if let Some(path) = &args.password_file {
        tls::warn_if_open(path);
        let text =
            std::fs::read_to_string(path).doing(|| format!("read the password from {}", path.display()))?;
        return Ok(Some(text.lines().next().unwrap_or_default().to_owned()));
    }
    if let Ok(password) = std::env::var("CQLIFT_PASSWORD") {
        return Ok(Some(password));
    }
    let prompted = rpassword::prompt_password(format!("Password of {user}: "));
    prompted
        .map(Some)
        .doing(|| "ask for the password")
        .map_err(|e| e.hint("without a terminal, give it in CQLIFT_PASSWORD or --password-file"))
}

/// Why there is no connection; `answered` if a contact point did answer, so that it is told addresses that do not.
fn connect_error(args: &ConnectArgs, tls: Option<&Tls>, error: &str, answered: bool) -> Error {
    let hosts = args.contact_points().join(", ");
    // The driver tells these two by its own API's words; every server says the second alike for a wrong user and a
    // wrong password (measured 3.11-5.0).
    let login = match error {
        _ if error.contains("Authentication is required") => {
            Some("the server asks for a user and a password")
        }
        _ if error.contains("bad credentials") => Some("the server refused the user or the password"),
        _ => None,
    };
    if let Some(login) = login {
        return Error::failed(format!("cannot connect to {hosts}: {login}")).hint(
            "give the user with -u and its password with --password-file, CQLIFT_PASSWORD or at the prompt",
        );
    }
    if let Some(told) = tls::told(tls, error) {
        return Error::failed(format!("cannot connect to {hosts}: {}", told.what)).hint(told.hint);
    }
    let failed = Error::failed(format!("cannot connect to {hosts}: {error}"));
    if failed.is_out_of_files() {
        return failed;
    }
    if !args.address_map.is_empty() {
        let map: Vec<String> = args.address_map.iter().map(MapEntry::to_string).collect();
        return failed
            .hint(format!("nodes are looked for by --address-map {}: is each B reachable?", map.join(",")));
    }
    if answered && !args.only_contact_points {
        return failed.hint(
            "the contact point answered, but not the address the cluster tells for itself; behind port mapping, tunnels \
             and containers use --only-contact-points, or --address-map",
        );
    }
    failed.hint("check -h and -P, that the node is up and that its native transport listens there")
}

async fn about(session: &Session) -> Result<SourceCluster> {
    let local = session
        .query_unpaged("SELECT cluster_name, release_version, partitioner FROM system.local", ())
        .await
        .doing(|| "read system.local")?
        .into_rows_result()
        .doing(|| "read system.local")?;
    let (name, version, partitioner) =
        local.single_row::<(String, String, String)>().doing(|| "read system.local")?;
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for node in session.get_cluster_state().get_nodes_info() {
        *nodes.entry(node.datacenter.clone().unwrap_or_default()).or_default() += 1;
    }
    let datacenters = nodes.into_iter().map(|(name, nodes)| Datacenter { name, nodes }).collect();
    Ok(SourceCluster { name, version, partitioner, datacenters })
}

/// The datacenter whose nodes are asked, if there are several: what is written at a level of one datacenter is read at that
/// level only there.
async fn datacenter(args: &ConnectArgs, session: &Session, about: &SourceCluster) -> Result<Option<String>> {
    let names: Vec<&str> = about.datacenters.iter().map(|d| d.name.as_str()).collect();
    if let Some(dc) = &args.dc {
        return match names.contains(&dc.as_str()) {
            true => Ok(Some(dc.clone())),
            false => Err(Error::usage(format!("the cluster has no datacenter {dc:?}"))
                .hint(format!("--dc is one of {}", names.join(", ")))),
        };
    }
    if names.len() < 2 {
        return Ok(None);
    }
    let cluster = session.get_cluster_state();
    for name in args.contact_points() {
        let points: Vec<SocketAddr> =
            tokio::net::lookup_host(&name).await.map(Iterator::collect).unwrap_or_default();
        let is_it = |node: &&Arc<Node>| points.iter().any(|point| point.ip() == node.address.ip());
        if let Some(node) = cluster.get_nodes_info().iter().find(is_it) {
            return Ok(node.datacenter.clone());
        }
    }
    // Behind mapped ports a contact point is known by another address: the node that answers tells.
    let doing = || "ask for the datacenter";
    let answer = session.query_unpaged("SELECT data_center FROM system.local", ()).await.doing(doing)?;
    let (dc,) = answer.into_rows_result().doing(doing)?.single_row::<(Option<String>,)>().doing(doing)?;
    Ok(dc)
}

async fn translator(args: &ConnectArgs) -> Result<Option<Arc<dyn AddressTranslator>>> {
    if args.only_contact_points {
        let mut points = Vec::new();
        for name in args.contact_points() {
            let found = tokio::net::lookup_host(&name).await;
            let found = found
                .map_err(|e| connect_error(args, None, &format!("cannot resolve {name}: {e}"), false))?;
            points.extend(found);
        }
        return Ok(Some(Arc::new(OnlyContactPoints { points })));
    }
    if args.address_map.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(AddressMap { entries: args.address_map.clone(), port: args.port })))
}

/// `--address-map`. The driver assumes the contact point's port for every node, so the port of A tells nodes apart
/// only where several share an address.
struct AddressMap {
    entries: Vec<MapEntry>,
    port: u16,
}

impl AddressMap {
    fn find(&self, node: SocketAddr) -> SocketAddr {
        let same_ip = || self.entries.iter().filter(|e| e.from.0 == node.ip());
        let exact = same_ip().find(|e| e.from.1 == Some(node.port()));
        match exact.or_else(|| same_ip().next()) {
            Some(entry) => SocketAddr::new(entry.to.0, entry.to.1.unwrap_or(self.port)),
            None => node,
        }
    }
}

#[async_trait]
impl AddressTranslator for AddressMap {
    async fn translate_address(&self, peer: &UntranslatedPeer) -> Result<SocketAddr, TranslationError> {
        Ok(self.find(peer.untranslated_address()))
    }
}

/// `--only-contact-points`: a node that is one of them is reached as such, every other through one of them.
struct OnlyContactPoints {
    points: Vec<SocketAddr>,
}

#[async_trait]
impl AddressTranslator for OnlyContactPoints {
    async fn translate_address(&self, peer: &UntranslatedPeer) -> Result<SocketAddr, TranslationError> {
        let node = peer.untranslated_address();
        let same = self.points.iter().find(|p| p.ip() == node.ip());
        same.or(self.points.first()).copied().ok_or(TranslationError::NoRuleForAddress(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_map_matches_by_address_and_by_port_where_it_must() {
        let map = |entries: &[&str]| AddressMap {
            entries: entries.iter().map(|e| e.parse().unwrap()).collect(),
            port: 9042,
        };
        let find = |m: &AddressMap, node: &str| m.find(node.parse().unwrap()).to_string();
        let one = map(&["172.17.0.2=127.0.0.1:9142", "10.0.0.3:9042=10.9.9.3"]);
        assert_eq!(find(&one, "172.17.0.2:9042"), "127.0.0.1:9142");
        assert_eq!(find(&one, "10.0.0.3:19042"), "10.9.9.3:9042");
        assert_eq!(find(&one, "10.0.0.4:9042"), "10.0.0.4:9042");
        let ports = map(&["10.0.0.1:1=127.0.0.1:11", "10.0.0.1:2=127.0.0.1:12", "[::1]:5=127.0.0.1:13"]);
        assert_eq!(find(&ports, "10.0.0.1:2"), "127.0.0.1:12");
        assert_eq!(find(&ports, "[::1]:9"), "127.0.0.1:13");
        assert!("a=b".parse::<MapEntry>().unwrap_err().contains("A=B"));
    }

    #[test]
    fn hosts_may_bring_their_own_port() {
        assert_eq!(with_port("db1", 9042), "db1:9042");
        assert_eq!(with_port("db1:9142", 9042), "db1:9142");
        assert_eq!(with_port("::1", 9042), "[::1]:9042");
    }

    #[test]
    fn a_refused_login_is_told_in_the_users_words() {
        #[derive(clap::Parser)]
        #[command(disable_help_flag = true)]
        struct Flags {
            #[command(flatten)]
            connect: ConnectArgs,
        }
        let flags: Flags = clap::Parser::parse_from(["test", "-h", "db1"]);
        // What the driver said of a 5.0.6 node with PasswordAuthenticator, without a user and with a wrong password.
        for (said, told) in [
            (
                "Request: AUTH_RESPONSE, reason: Authentication is required. You can use SessionBuilder::user(\"user\", \"pass\")",
                "cannot connect to db1:9042: the server asks for a user and a password\nhint: give the user with -u",
            ),
            (
                "Request: AUTH_RESPONSE, reason: Database returned an error: Authentication failed - bad credentials, Error \
                 message: Provided username cassandra and/or password are incorrect",
                "cannot connect to db1:9042: the server refused the user or the password\nhint: give the user with -u",
            ),
        ] {
            let error = connect_error(&flags.connect, None, said, false).to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn levels_are_named_as_cql_names_them() {
        assert_eq!("local_quorum".parse::<Level>().unwrap().name(), "LOCAL_QUORUM");
        assert!("ANY".parse::<Level>().unwrap_err().contains("LOCAL_QUORUM"));
    }
}
