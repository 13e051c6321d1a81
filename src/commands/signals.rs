//! Ctrl-C and SIGTERM: the first asks a run to end in good order, the second ends it at once.

use crate::error::{Context, Error, Result};
use crate::report;
use std::sync::{Mutex, PoisonError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What shells report of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Whether the run was asked to end.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

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
        *self.0.borrow()
    }

    /// Waits until it is asked for.
    pub async fn asked(&self) {
        if self.0.clone().wait_for(|asked| *asked).await.is_err() {
            // Nobody is left to ask.
            std::future::pending::<()>().await;
        }
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
    Ok(Stop(asked))
}

/// Runs `work` until it ends or the user interrupts it, by Ctrl-C or SIGTERM.
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
