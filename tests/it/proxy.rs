//! A port on 127.0.0.1 that leads to a node and knows the frames of the native protocol (v4, the only one that the tool's
//! driver speaks): it does as a failing node, or a failing network, would with single requests for data. The node is a real
//! one, and what it was asked to do it does, whatever the client hears of it.

use crate::harness::{Node, Ran, run};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// The node answers.
    Pass,
    /// The node does it, and the client is told something else.
    Told(Refusal),
    /// The node is not asked.
    Refused(Refusal),
    /// The node is not asked, and the client is told that it is done: so does a crash lose what was taken.
    Pretended,
    /// The node does it; the answer comes so much later.
    Late(Duration),
    /// The node does it; no answer comes.
    Lost,
    /// The node does it; instead of an answer the connection ends.
    Cut,
    /// The connection ends before the node is asked.
    CutBefore,
    /// The node does it; this byte of the answer's header is another one.
    Damaged(usize),
    /// The node does it; the answer is exchanged with that of the next such request of the connection.
    Swapped,
    /// The node does it; the answer is, if there is one, the last one to the same statement, where neither of them is small.
    Stale,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Fate::Pass => "pass",
            Fate::Told(_) => "told",
            Fate::Refused(_) => "refused",
            Fate::Pretended => "pretended",
            Fate::Late(_) => "late",
            Fate::Lost => "lost",
            Fate::Cut => "cut",
            Fate::CutBefore => "cut before",
            Fate::Damaged(_) => "damaged",
            Fate::Swapped => "swapped",
            Fate::Stale => "stale",
        }
    }
}

/// What a node may answer instead of a result, as native_protocol_v4.spec §9 has it.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    ServerError,
    Unavailable,
    Overloaded,
    Bootstrapping,
    WriteTimeout,
    ReadTimeout,
    ReadFailure,
    Tombstones,
    WriteFailure,
    Unprepared,
}

impl Refusal {
    fn body(self, asked: &Asked) -> Vec<u8> {
        const LOCAL_QUORUM: u16 = 6;
        let text = |text: &str| [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
        let counts = |counts: &[i32]| {
            let counts = counts.iter().flat_map(|count| count.to_be_bytes());
            LOCAL_QUORUM.to_be_bytes().into_iter().chain(counts).collect::<Vec<u8>>()
        };
        let (code, more): (u32, Vec<u8>) = match self {
            Refusal::ServerError => (0x0000, vec![]),
            Refusal::Unavailable => (0x1000, counts(&[2, 1])),
            Refusal::Overloaded => (0x1001, vec![]),
            Refusal::Bootstrapping => (0x1002, vec![]),
            Refusal::WriteTimeout => (0x1100, [counts(&[1, 2]), text(asked.write_type)].concat()),
            Refusal::ReadTimeout => (0x1200, [counts(&[1, 2]), vec![1]].concat()),
            Refusal::ReadFailure | Refusal::Tombstones => (0x1300, [counts(&[1, 2, 1]), vec![1]].concat()),
            Refusal::WriteFailure => (0x1500, [counts(&[1, 2, 1]), text(asked.write_type)].concat()),
            Refusal::Unprepared => {
                let length = u16::try_from(asked.id.len()).unwrap().to_be_bytes();
                (0x2500, [&length, &asked.id[..]].concat())
            }
        };
        let why = match self {
            // As 4.1.10 says it.
            Refusal::Tombstones => {
                "Operation failed - 1 failures: READ_TOO_MANY_TOMBSTONES from /127.0.0.1:7000"
            }
            _ => "as the proxy wills",
        };
        [code.to_be_bytes().to_vec(), text(why), more].concat()
    }
}

/// A request for data: a prepared statement, or a batch of them.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The statement, or the first of the batch.
    pub query: Arc<str>,
    /// How often such a request has been seen before, of whatever statement.
    pub number: usize,
    /// Requests for data that the node is busy with.
    pub in_flight: usize,
    /// What a server calls such a write.
    write_type: &'static str,
    /// The statement's.
    id: Vec<u8>,
}

impl Asked {
    pub fn is_read(&self) -> bool {
        self.query.starts_with("SELECT")
    }
}

type Rule = Box<dyn Fn(&Asked) -> Fate + Send + Sync>;

/// The port.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    // Ends with the test.
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    target: String,
    /// Requests whose statement has this in it are for data.
    mark: String,
    /// Whether what is asked without being prepared is data too.
    queries: bool,
    rule: Rule,
    down: AtomicBool,
    connections: Mutex<Vec<Arc<Connection>>>,
    statements: Mutex<HashMap<Vec<u8>, Arc<str>>>,
    asked: AtomicUsize,
    in_flight: AtomicUsize,
    done: Mutex<BTreeMap<&'static str, usize>>,
    /// By statement, the last answer that could be given in the place of another, from its length on.
    before: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// The next request to prepare a statement with one of these in it is never answered.
    mute: Mutex<Vec<&'static str>>,
}

impl Proxy {
    /// A proxy in front of `node`. The rule is asked about every execution of a prepared statement that names `mark`.
    pub fn to(node: &Node, mark: &str, rule: impl Fn(&Asked) -> Fate + Send + Sync + 'static) -> Proxy {
        Proxy::start(node, (mark, false), Box::new(rule))
    }

    /// The same, whose rule is asked about statements that are not prepared too, as those for system tables.
    pub fn of_queries(
        node: &Node,
        mark: &str,
        rule: impl Fn(&Asked) -> Fate + Send + Sync + 'static,
    ) -> Proxy {
        Proxy::start(node, (mark, true), Box::new(rule))
    }

    fn start(node: &Node, (mark, queries): (&str, bool), rule: Rule) -> Proxy {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: node.address(),
            mark: mark.to_owned(),
            queries,
            rule,
            down: AtomicBool::new(false),
            connections: Mutex::default(),
            statements: Mutex::default(),
            asked: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            done: Mutex::default(),
            before: Mutex::default(),
            mute: Mutex::default(),
        });
        let listening = shared.clone();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !listening.down.load(SeqCst) {
                    tokio::spawn(serve(client, listening.clone()));
                }
            }
        });
        Proxy { address, shared, _runtime: runtime }
    }

    /// Runs the tool against the proxy.
    pub fn run(&self, args: &[&str]) -> Ran {
        let port = self.address.port().to_string();
        run([args, &["-h", "127.0.0.1", "-P", &port, "--only-contact-points"]].concat())
    }

    /// How often each fate has come to pass.
    pub fn done(&self) -> BTreeMap<&'static str, usize> {
        self.shared.done.lock().unwrap().clone()
    }

    /// How often something else than what was asked for has come to pass.
    pub fn faults(&self) -> usize {
        self.done().iter().filter(|(name, _)| **name != "pass").map(|(_, count)| count).sum()
    }

    /// Requests for data so far.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }

    /// The node says nothing to the next request to prepare a statement that has this in it.
    pub fn mute(&self, fragment: &'static str) {
        self.shared.mute.lock().unwrap().push(fragment);
    }

    /// Ends all connections; there are no new ones until `up`.
    pub fn down(&self) {
        self.shared.down.store(true, SeqCst);
        self.shared.connections.lock().unwrap().drain(..).for_each(|connection| connection.cut.notify_one());
    }

    /// Connections are taken again.
    pub fn up(&self) {
        self.shared.down.store(false, SeqCst);
    }
}

/// One connection of the client, with its own to the node.
#[derive(Default)]
struct Connection {
    cut: Notify,
    pending: Mutex<HashMap<[u8; 2], Pending>>,
}

/// What a stream waits for.
enum Pending {
    Prepared(Arc<str>),
    Data(Fate, Asked, InFlight),
}

/// Counts a request that the node is busy with.
struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, SeqCst);
    }
}

const HEADER: usize = 9;
/// Where the body's length stands in it.
const LENGTH: usize = 5;
/// Bytes of an answer that hardly holds rows.
const SMALL: usize = 1000;
const ERROR: u8 = 0x00;
const RESULT: u8 = 0x08;
const QUERY: u8 = 0x07;
const PREPARE: u8 = 0x09;
const EXECUTE: u8 = 0x0A;
const BATCH: u8 = 0x0D;
const ANSWER: u8 = 0x84;
/// The kind of a result without rows.
const VOID: [u8; 4] = [0, 0, 0, 1];
/// The error of a statement that a node does not know, or no longer.
const UNPREPARED: [u8; 4] = [0, 0, 0x25, 0];

/// A frame: header and body.
struct Frame(Vec<u8>);

impl Frame {
    /// The next one; `None` when the other side is gone.
    async fn read(from: &mut OwnedReadHalf) -> Option<Frame> {
        let mut frame = vec![0; HEADER];
        from.read_exact(&mut frame).await.ok()?;
        let length = u32::from_be_bytes(frame[5..9].try_into().unwrap());
        frame.resize(HEADER + usize::try_from(length).unwrap(), 0);
        from.read_exact(&mut frame[HEADER..]).await.ok()?;
        Some(Frame(frame))
    }

    fn error(stream: [u8; 2], body: &[u8]) -> Frame {
        Frame::answer(stream, ERROR, body)
    }

    fn answer(stream: [u8; 2], opcode: u8, body: &[u8]) -> Frame {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        Frame([&[ANSWER, 0], &stream[..], &[opcode], &length, body].concat())
    }

    fn stream(&self) -> [u8; 2] {
        [self.0[2], self.0[3]]
    }

    fn opcode(&self) -> u8 {
        self.0[4]
    }

    fn body(&self) -> &[u8] {
        &self.0[HEADER..]
    }

    /// The statement that a PREPARE is about.
    fn prepares(&self) -> Option<&str> {
        (self.opcode() == PREPARE).then(|| std::str::from_utf8(&self.body()[4..]).unwrap())
    }

    /// The statement that a QUERY asks.
    fn queries(&self) -> Option<&str> {
        let body = self.body();
        (self.opcode() == QUERY).then(|| {
            let length = usize::try_from(u32::from_be_bytes(body[..4].try_into().unwrap())).unwrap();
            std::str::from_utf8(&body[4..4 + length]).unwrap()
        })
    }

    /// The id that the answer to a PREPARE brings.
    fn prepared(&self) -> Option<&[u8]> {
        const KIND: [u8; 4] = [0, 0, 0, 4];
        (self.opcode() == RESULT && self.body().starts_with(&KIND)).then(|| short_bytes(&self.body()[4..]))
    }

    /// The id of a statement that is executed, or of the first one of a batch, and the type of the batch.
    fn executes(&self) -> Option<(&[u8], Option<u8>)> {
        let body = self.body();
        match self.opcode() {
            EXECUTE => Some((short_bytes(body), None)),
            // Type, how many, and of the first whether it is prepared.
            BATCH if body[1..3] != [0, 0] && body[3] == 1 => Some((short_bytes(&body[4..]), Some(body[0]))),
            _ => None,
        }
    }
}

fn short_bytes(body: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    &body[2..2 + length]
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(&shared.target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let connection = Arc::new(Connection::default());
    shared.connections.lock().unwrap().push(connection.clone());
    if shared.down.load(SeqCst) {
        return;
    }
    let (send, answers) = mpsc::unbounded_channel();
    // All in one task, so that the end of one is the end of both connections.
    tokio::select! {
        () = ask(from_client, to_server, &send, &connection, &shared) => {}
        () = answer(from_server, &send, &connection, &shared) => {}
        () = deliver(answers, to_client) => {}
        () = connection.cut.notified() => {}
    }
    connection.pending.lock().unwrap().clear();
}

async fn deliver(mut answers: mpsc::UnboundedReceiver<Frame>, mut to: OwnedWriteHalf) {
    while let Some(frame) = answers.recv().await {
        if to.write_all(&frame.0).await.is_err() {
            return;
        }
    }
}

async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    answers: &mpsc::UnboundedSender<Frame>,
    connection: &Connection,
    shared: &Arc<Shared>,
) {
    while let Some(frame) = Frame::read(&mut from).await {
        let stream = frame.stream();
        if let Some(query) = frame.prepares() {
            let mut mute = shared.mute.lock().unwrap();
            if let Some(at) = mute.iter().position(|fragment| query.contains(fragment)) {
                mute.remove(at);
                *shared.done.lock().unwrap().entry("mute").or_default() += 1;
                continue;
            }
            connection.pending.lock().unwrap().insert(stream, Pending::Prepared(query.into()));
        }
        if let Some(asked) = shared.data(&frame) {
            let fate = (shared.rule)(&asked);
            *shared.done.lock().unwrap().entry(fate.name()).or_default() += 1;
            match fate {
                Fate::CutBefore => return,
                Fate::Refused(refusal) => {
                    let _ = answers.send(Frame::error(stream, &refusal.body(&asked)));
                    continue;
                }
                Fate::Pretended => {
                    let _ = answers.send(Frame::answer(stream, RESULT, &VOID));
                    continue;
                }
                _ => {}
            }
            shared.in_flight.fetch_add(1, SeqCst);
            let pending = Pending::Data(fate, asked, InFlight(shared.clone()));
            connection.pending.lock().unwrap().insert(stream, pending);
        }
        if to.write_all(&frame.0).await.is_err() {
            return;
        }
    }
}

impl Shared {
    /// What a frame asks for, if it is data.
    fn data(&self, frame: &Frame) -> Option<Asked> {
        let queried = frame.queries().filter(|_| self.queries);
        let (query, id, batch) = match queried {
            Some(query) => (query.into(), &[][..], None),
            None => {
                let (id, batch) = frame.executes()?;
                (self.statements.lock().unwrap().get(id)?.clone(), id, batch)
            }
        };
        if !query.contains(&self.mark) {
            return None;
        }
        // A write of counters is the only one without a time of its own that adds.
        let write_type = match batch {
            Some(2) => "COUNTER",
            Some(1) => "UNLOGGED_BATCH",
            Some(_) => "BATCH",
            None if query.contains(" + ?") && !query.contains("USING") => "COUNTER",
            None => "SIMPLE",
        };
        let number = self.asked.fetch_add(1, SeqCst);
        let in_flight = self.in_flight.load(SeqCst);
        Some(Asked { query, number, in_flight, write_type, id: id.to_vec() })
    }
}

async fn answer(
    mut from: OwnedReadHalf,
    answers: &mpsc::UnboundedSender<Frame>,
    connection: &Connection,
    shared: &Arc<Shared>,
) {
    let mut held: Option<Frame> = None;
    while let Some(mut frame) = Frame::read(&mut from).await {
        let stream = frame.stream();
        let pending = connection.pending.lock().unwrap().remove(&stream);
        if frame.opcode() == ERROR && frame.body().starts_with(&UNPREPARED) {
            *shared.done.lock().unwrap().entry("forgotten").or_default() += 1;
        }
        match pending {
            Some(Pending::Prepared(query)) => {
                if let Some(id) = frame.prepared() {
                    shared.statements.lock().unwrap().insert(id.to_vec(), query);
                }
            }
            Some(Pending::Data(fate, asked, busy)) => match fate {
                Fate::Told(refusal) => frame = Frame::error(stream, &refusal.body(&asked)),
                Fate::Damaged(byte) => frame.0[byte] ^= 0x5a,
                Fate::Swapped => match held.take() {
                    None => {
                        held = Some(frame);
                        continue;
                    }
                    Some(mut other) => {
                        frame.0[2..4].copy_from_slice(&other.stream());
                        other.0[2..4].copy_from_slice(&stream);
                        let _ = answers.send(other);
                    }
                },
                Fate::Stale if frame.body().len() < SMALL => {}
                Fate::Stale => {
                    let own = frame.0.split_off(LENGTH);
                    let before = shared.before.lock().unwrap().insert(asked.id, own.clone());
                    frame.0.extend(before.unwrap_or(own));
                }
                Fate::Lost => continue,
                Fate::Cut => return,
                Fate::Late(late) => {
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(late).await;
                        drop(busy);
                        let _ = answers.send(frame);
                    });
                    continue;
                }
                Fate::Pass | Fate::Refused(_) | Fate::Pretended | Fate::CutBefore => {}
            },
            None => {}
        }
        let _ = answers.send(frame);
    }
}
