//! Requests that reach the server and whose answers are lost: nothing may be missing after a load, and nothing twice.

use crate::harness::{Scratch, TestKeyspace, run};
use crate::roundtrip::assert_same;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Bytes of requests between two losses: less than each table takes.
const EVERY: usize = 50_000;
/// How often answers are lost, altogether.
const LOSSES: usize = 4;
/// How long requests go on while answers do not.
const SILENCE: Duration = Duration::from_millis(150);

/// A port that leads to a node and now and then lets no answer through, and then cuts every connection.
struct Lossy {
    address: SocketAddr,
    losses: Arc<AtomicUsize>,
    // Ends with the test.
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    asked: AtomicUsize,
    silent: AtomicBool,
    connections: Mutex<Vec<AbortHandle>>,
}

impl Lossy {
    fn to(target: String) -> Lossy {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, losses) = (Arc::new(State::default()), Arc::new(AtomicUsize::new(0)));
        runtime.spawn(lose(state.clone(), losses.clone()));
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = tokio::spawn(forward(client, target.clone(), state.clone()));
                state.connections.lock().unwrap().push(connection.abort_handle());
            }
        });
        Lossy { address, losses, _runtime: runtime }
    }
}

async fn lose(state: Arc<State>, losses: Arc<AtomicUsize>) {
    for loss in 1..=LOSSES {
        while state.asked.load(SeqCst) < loss * EVERY {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        state.silent.store(true, SeqCst);
        tokio::time::sleep(SILENCE).await;
        state.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
        state.silent.store(false, SeqCst);
        losses.store(loss, SeqCst);
    }
}

async fn forward(client: TcpStream, target: String, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Both ways in one task, so that cutting it closes all.
    tokio::select! {
        () = ask(from_client, to_server, &state) => {}
        () = answer(from_server, to_client, &state) => {}
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        state.asked.fetch_add(count, SeqCst);
    }
}

async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !state.silent.load(SeqCst) && to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
}

#[test]
fn what_was_written_without_an_answer_is_not_written_twice() {
    let source = TestKeyspace::with(
        "lost_answers",
        &[
            "CREATE TABLE lists (k int, c int, v text, l list<int>, PRIMARY KEY (k, c))",
            "CREATE TABLE counts (k int, c int, n counter, PRIMARY KEY (k, c))",
        ],
    );
    let text = "x".repeat(100);
    let rows = (0..900)
        .map(|n| format!("INSERT INTO lists (k, c, v, l) VALUES ({}, {n}, '{text}', [{n}, {n}, 7])", n % 90));
    let counts =
        (0..1500).map(|n| format!("UPDATE counts SET n = n + {n} WHERE k = {} AND c = {n}", n % 150));
    source.db.try_each(rows.chain(counts)).unwrap();
    let scratch = Scratch::new();
    let (dir, target) = (scratch.path("dump"), source.target("loaded"));
    source.dump(&dir, "parquet").success();
    let lossy = Lossy::to(source.node.address());
    let (map, port) = (format!("{}={target}", source.name), lossy.address.port().to_string());
    let at = ["-h", "127.0.0.1", "-P", &port, "--only-contact-points"];
    run([&["load", &dir, "--map", &map][..], &at].concat()).success();
    assert_eq!(lossy.losses.load(SeqCst), LOSSES, "the load asked too little for answers to be lost");
    assert_eq!(assert_same(&source.db, &source.name, &target), 2400);
}
