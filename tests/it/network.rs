//! Clusters behind port mapping: the node says one address, the client reaches it at another.

use crate::harness::{Node, Scratch, TestKeyspace};
use crate::roundtrip::assert_same;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// A port on 127.0.0.1 that leads to a node, as a tunnel or a container's port mapping does.
pub struct Forwarder {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    /// Bytes of data that may still pass, both ways together; then nothing more does.
    budget: Arc<AtomicUsize>,
    // Ends with the test.
    _runtime: tokio::runtime::Runtime,
}

impl Forwarder {
    pub fn to(node: &Node) -> Forwarder {
        Forwarder::stalling(node, b"", usize::MAX)
    }

    /// One that goes silent, connections open, once `bytes` of data have passed. Data is what has `mark` in it: how much the
    /// catalogue weighs depends on the tests that run beside this one.
    pub fn stalling(node: &Node, mark: &'static [u8], bytes: usize) -> Forwarder {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let budget = Arc::new(AtomicUsize::new(bytes));
        let (target, count, left) = (node.address(), connections.clone(), budget.clone());
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(forward(client, target.clone(), mark, left.clone()));
            }
        });
        Forwarder { address, connections, budget, _runtime: runtime }
    }

    /// One that counts the bytes of data, and lets all pass.
    pub fn counting(node: &Node, mark: &'static [u8]) -> Forwarder {
        Forwarder::stalling(node, mark, usize::MAX)
    }

    /// Bytes of data so far of one that counts.
    pub fn marked(&self) -> usize {
        usize::MAX - self.budget.load(Ordering::Relaxed)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether it has gone silent.
    pub fn is_silent(&self) -> bool {
        self.budget.load(Ordering::Relaxed) == 0
    }
}

async fn forward(client: TcpStream, target: String, mark: &'static [u8], budget: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = tokio::spawn(pump(from_client, to_server, mark, budget.clone()));
    pump(from_server, to_client, mark, budget).await;
    asked.abort();
}

/// Passes bytes on until an end goes away, which is how connections end, or the budget is used up.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mark: &[u8], budget: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !mark.is_empty() && buffer[..count].windows(mark.len()).any(|bytes| bytes == mark) {
            let take = |left: usize| Some(left.saturating_sub(count));
            let _ = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        }
        if budget.load(Ordering::Relaxed) == 0 {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

const SOME: &[&str] = &[
    "CREATE TABLE t (k int PRIMARY KEY, v text)",
    "INSERT INTO t (k, v) VALUES (1, 'a')",
    "INSERT INTO t (k, v) VALUES (2, 'b')",
];

/// Dumps and loads through the forwarder with `flags`.
fn there_and_back(name: &str, flags: impl Fn(&Node, SocketAddr) -> Vec<String>) {
    let source = TestKeyspace::with(name, SOME);
    let forwarder = Forwarder::to(&source.node);
    let scratch = Scratch::new();
    let target = source.target("loaded");
    let (dir, map) = (scratch.path("dump"), format!("{}={target}", source.name));
    let port = forwarder.address.port().to_string();
    for command in [vec!["dump", &source.name, "-o", &dir], vec!["load", &dir, "--map", &map]] {
        let before = forwarder.connections();
        let mut args: Vec<String> = command.into_iter().map(str::to_owned).collect();
        args.extend(["-h", "127.0.0.1", "-P", &port].map(str::to_owned));
        args.extend(flags(&source.node, forwarder.address));
        crate::harness::run(&args).success();
        assert!(forwarder.connections() > before, "{args:?} did not go through the forwarder");
    }
    assert_eq!(assert_same(&source.db, &source.name, &target), 2);
}

#[test]
fn an_address_map_leads_through_a_forwarder() {
    there_and_back("address_map", |node, forwarder| {
        vec!["--address-map".into(), format!("{}={forwarder}", node.address())]
    });
}

#[test]
fn only_contact_points_stays_at_the_forwarder() {
    there_and_back("only_contact", |_, _| vec!["--only-contact-points".into()]);
}

/// With a map that leads nowhere nothing may be reached by the address that the node told.
#[test]
fn an_address_map_is_obeyed() {
    let source = TestKeyspace::with("mapped_away", SOME);
    let scratch = Scratch::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let map = format!("{}={closed}", source.node.address());
    source
        .node
        .run(["dump", &source.name, "-o", &scratch.path("dump"), "--address-map", &map])
        .fails(1)
        .stderr_has(&[&closed.to_string()]);
}

/// Behind a forwarder without a word about it: the contact point answers, the address it tells for itself does not.
#[test]
fn a_mapped_port_without_flags_is_recognised() {
    let source = TestKeyspace::with("unmapped", SOME);
    let forwarder = Forwarder::to(&source.node);
    let port = forwarder.address.port().to_string();
    let args = ["schema", &source.name, "-h", "127.0.0.1", "-P", &port];
    crate::harness::run(args).fails(1).stderr_has(&["--only-contact-points", "--address-map"]);
}

#[test]
fn a_closed_port_is_not_taken_for_a_mapped_one() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = closed.port().to_string();
    let done = crate::harness::run(["schema", "-h", "127.0.0.1", "-P", &port]).fails(1);
    assert!(!done.stderr.contains("--only-contact-points"), "{}", done.told());
    done.stderr_has(&[&closed.to_string(), "-P"]);
}

#[test]
fn an_address_map_that_is_none_is_a_usage_error() {
    let node = Node::get(crate::harness::NEWEST);
    for map in ["nonsense", "127.0.0.1:9042", "a=b=c", "127.0.0.1:9042=", "127.0.0.1:x=127.0.0.1:1"] {
        let scratch = Scratch::new();
        node.run(["dump", "ks", "-o", &scratch.path("d"), "--address-map", map])
            .fails(2)
            .stderr_has(&["--address-map"]);
    }
}
