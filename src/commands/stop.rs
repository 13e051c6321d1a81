//! Ctrl-C and SIGTERM: the first asks a run to stop where it stands, the second ends it at once. What a run finishes before it
//! stops, and what it leaves, is its own affair.

use crate::error::{Context, Error, Result};
use crate::report;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How a run hears that it is to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<bool>,
    /// How many will end by themselves when they are asked.
    held: Arc<AtomicUsize>,
}

/// While this lives its maker ends by itself when it is asked to stop.
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Stop {
    /// Waits until the run is asked to stop.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        // Whoever could ask is gone with the run itself.
        if asked.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says that who is asked to stop will do so by itself.
    pub fn hold(&self) -> Hold {
        self.held.fetch_add(1, SeqCst);
        Hold(self.held.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Runs what `work` makes until it ends, or the user stops it: at once where nobody holds the stop.
///
/// # Errors
/// What the work returns, or an interruption.
pub async fn stoppable<T, Work: Future<Output = Result<T>>>(work: impl FnOnce(Stop) -> Work) -> Result<T> {
    let mut signals = Signals::listen()?;
    let (ask, asked) = watch::channel(false);
    let stop = Stop { asked, held: Arc::default() };
    let held = stop.held.clone();
    let mut work = std::pin::pin!(work(stop));
    tokio::select! {
        done = &mut work => return done,
        () = signals.next() => {}
    }
    if held.load(SeqCst) == 0 {
        return Err(Error::interrupted("interrupted"));
    }
    report::note("stopping when what is in flight has arrived; once more to stop at once");
    // Nobody to tell is nobody who works.
    let _ = ask.send(true);
    tokio::select! {
        done = &mut work => done,
        () = signals.next() => Err(Error::interrupted("interrupted")),
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).doing(|| "listen for signals");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
