//! Ctrl-C and SIGTERM: the first asks a run to end in good order, the second ends it at once. What a run finishes before it
//! ends, and what it leaves, is its own affair.

use crate::error::{Context, Error, Result};
use crate::report;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What shells report of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether the run was asked to end.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: watch::Receiver<bool>,
    /// How many will end by themselves when they are asked.
    held: Arc<AtomicUsize>,
}

/// While this lives its maker ends by itself when it is asked to.
#[derive(Debug)]
pub struct Hold(Arc<AtomicUsize>);

impl Stop {
    /// From now on signals ask this process to end, where before they would have ended it.
    ///
    /// # Errors
    /// `Error` if the system does not let it listen to them.
    pub fn on_signals() -> Result<Stop> {
        static LISTENING: Mutex<Option<Stop>> = Mutex::new(None);
        let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = &*listening {
            return Ok(stop.clone());
        }
        let stop = listen()?;
        *listening = Some(stop.clone());
        Ok(stop)
    }

    /// Whether it has been asked for.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until it is asked for.
    pub async fn asked(&self) {
        if self.asked.clone().wait_for(|asked| *asked).await.is_err() {
            // Nobody is left to ask.
            std::future::pending::<()>().await;
        }
    }

    /// Says that who is asked to end will do so by itself.
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

/// On a thread and a runtime of their own: the second signal must be heard while the first runtime ends, which waits for
/// what its threads write.
fn listen() -> Result<Stop> {
    let doing = || "listen for signals";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().doing(doing)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).doing(doing)?, signal(SignalKind::terminate()).doing(doing)?)
    };
    let (ask, asked) = watch::channel(false);
    let listen = move || {
        runtime.block_on(async {
            for is_first in [true, false] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if is_first {
                    ask.send_replace(true);
                }
            }
        });
        report::note("error: interrupted twice; ended at once");
        std::process::exit(INTERRUPTED);
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).doing(doing)?;
    Ok(Stop { asked, held: Arc::default() })
}

/// Runs what `work` makes until it ends, or the user stops it: at once where nobody holds the stop.
///
/// # Errors
/// What the work returns, or an interruption.
pub async fn stoppable<T, Work: Future<Output = Result<T>>>(work: impl FnOnce(Stop) -> Work) -> Result<T> {
    let stop = Stop::on_signals()?;
    let mut work = std::pin::pin!(work(stop.clone()));
    tokio::select! {
        done = &mut work => return done,
        () = stop.asked() => {}
    }
    if stop.held.load(SeqCst) == 0 {
        return Err(Error::interrupted("interrupted"));
    }
    report::note("stopping when what is in flight has arrived; once more to stop at once");
    work.await
}

/// Runs `work` until it ends or the user interrupts it.
///
/// # Errors
/// What `work` returns, or an interruption that says `left`.
pub async fn interruptible<T>(work: impl Future<Output = Result<T>>, left: &str) -> Result<T> {
    let stop = Stop::on_signals()?;
    tokio::select! {
        result = work => result,
        () = stop.asked() => Err(Error::interrupted(format!("interrupted; {left}"))),
    }
}
