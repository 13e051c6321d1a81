//! Progress of a long run: counters that workers raise, and the line that shows them: a live one on a terminal, one
//! every ten seconds elsewhere, none with `--quiet`. Always on stderr.

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const TERMINAL_TICK: Duration = Duration::from_millis(200);
const PLAIN_TICK: Duration = Duration::from_secs(10);

/// What has been done so far.
#[derive(Default)]
pub struct Counters {
    /// Rows read or written.
    pub rows: AtomicU64,
    /// Bytes of their values.
    pub bytes: AtomicU64,
    /// Tables, parts or files finished, whatever the run counts.
    pub units: AtomicU64,
}

/// Shows counters until it is dropped.
pub struct Progress {
    /// To be raised by the workers.
    pub counters: Arc<Counters>,
    ticker: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins showing: `verb` as in "dumping", `units` as in ("ranges", 128).
    pub fn start(quiet: bool, verb: &'static str, units: (&'static str, u64)) -> Progress {
        let counters = Arc::new(Counters::default());
        let begun = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        let bar = (!quiet && terminal).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::default_spinner());
            bar
        });
        let ticker = (!quiet).then(|| {
            let (counters, bar) = (counters.clone(), bar.clone());
            let mut ticks = tokio::time::interval(if terminal { TERMINAL_TICK } else { PLAIN_TICK });
            tokio::spawn(async move {
                ticks.tick().await;
                loop {
                    ticks.tick().await;
                    let line = line(&counters, begun, verb, units);
                    match &bar {
                        Some(bar) => {
                            bar.set_message(line);
                            bar.tick();
                        }
                        None => crate::report::note(&line),
                    }
                }
            })
        });
        Progress { counters, ticker, bar }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.abort();
        }
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn line(counters: &Counters, begun: Instant, verb: &str, (unit, total): (&str, u64)) -> String {
    let (rows, bytes) = (counters.rows.load(Relaxed), counters.bytes.load(Relaxed));
    let seconds = begun.elapsed().as_secs().max(1);
    format!(
        "{verb}: {} rows, {}, {}/s, {} of {total} {unit}",
        HumanCount(rows),
        HumanBytes(bytes),
        HumanBytes(bytes / seconds),
        counters.units.load(Relaxed),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_how_fast_and_how_far() {
        let counters = Counters::default();
        counters.rows.store(1_234_567, Relaxed);
        counters.bytes.store(3 << 20, Relaxed);
        counters.units.store(5, Relaxed);
        let line = line(&counters, Instant::now(), "dumping", ("token ranges", 16));
        assert_eq!(line, "dumping: 1,234,567 rows, 3.00 MiB, 3.00 MiB/s, 5 of 16 token ranges");
    }
}
