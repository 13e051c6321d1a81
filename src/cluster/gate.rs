//! What waits at the way into the cluster and out of it: requests for a place among those in flight, rows for memory and
//! for the rate asked for. How many there may be is left to [`crate::pace`]; who goes through tells how it went.

use super::retry::Verdict;
use crate::error::{Context, Result};
use crate::pace::{Bounds, Rate, Window};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Requests in flight, a number that follows the cluster.
#[derive(Debug)]
pub struct Gate {
    begun: Instant,
    state: Mutex<State>,
    /// Told when there may be a free place.
    free: Notify,
}

#[derive(Debug)]
struct State {
    window: Window,
    inside: usize,
}

/// A place among the requests in flight, free again when dropped.
#[derive(Debug)]
pub struct Pass(Arc<Gate>);

impl Gate {
    /// A gate that nobody has passed.
    pub fn new(bounds: Bounds) -> Arc<Gate> {
        let state = Mutex::new(State { window: Window::new(bounds), inside: 0 });
        Arc::new(Gate { begun: Instant::now(), state, free: Notify::new() })
    }

    /// Waits for a place.
    pub async fn enter(self: &Arc<Gate>) -> Pass {
        loop {
            if let Some(pass) = self.try_enter() {
                return pass;
            }
            self.free.notified().await;
        }
    }

    fn try_enter(self: &Arc<Gate>) -> Option<Pass> {
        let mut state = self.state();
        if state.inside >= state.window.limit() {
            return None;
        }
        state.inside += 1;
        // The window may have grown by more than one place; each that enters lets the next one look.
        if state.inside < state.window.limit() {
            self.free.notify_one();
        }
        Some(Pass(self.clone()))
    }

    /// Tells how a request sent at `sent` went: `None` if it was answered.
    pub fn told(&self, sent: Instant, failed: Option<Verdict>) {
        let now = self.begun.elapsed();
        let sent = sent.saturating_duration_since(self.begun);
        let mut state = self.state();
        match failed {
            None => {
                let inside = state.inside;
                state.window.answered(sent, now, inside);
            }
            Some(Verdict::Later) => {
                let inside = state.inside;
                state.window.refused(sent, now, inside);
            }
            // What is wrong in another way says nothing of how busy the cluster is.
            Some(Verdict::Smaller | Verdict::Doubtful | Verdict::Never) => {}
        }
        if state.inside < state.window.limit() {
            self.free.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.inside = state.inside.saturating_sub(1);
        if state.inside < state.window.limit() {
            self.0.free.notify_one();
        }
    }
}

/// Memory that rows may take at once.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    /// KiB.
    total: u32,
}

/// Memory taken from a budget, given back when dropped.
#[derive(Debug)]
pub struct Taken(OwnedSemaphorePermit);

impl Budget {
    /// A budget of so many bytes, of at least 1 KiB.
    pub fn new(bytes: u64) -> Budget {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let total = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, most);
        Budget { free: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits for so many bytes. More than there are in all wait for everything, so that it goes alone.
    ///
    /// # Errors
    /// `Error` if the budget was closed, which it never is.
    pub async fn take(&self, bytes: usize) -> Result<Taken> {
        let wanted = self.kib(bytes);
        let permit = self.free.clone().acquire_many_owned(wanted).await.doing(|| "wait for memory")?;
        Ok(Taken(permit))
    }

    /// What was taken for something, once it is known that it takes so many bytes. For more it is given back first, since
    /// whoever waits must hold nothing, or all would wait for each other.
    ///
    /// # Errors
    /// As [`Budget::take`].
    pub async fn fit(&self, mut taken: Taken, bytes: usize) -> Result<Taken> {
        if self.kib(bytes) as usize > taken.0.num_permits() {
            drop(taken);
            return self.take(bytes).await;
        }
        taken.shrink(bytes);
        Ok(taken)
    }

    fn kib(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.total)
    }
}

impl Taken {
    /// Gives back what is more than `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let keep = bytes.div_ceil(1024);
        let rest = self.0.num_permits().saturating_sub(keep);
        drop(self.0.split(rest));
    }
}

/// The rate of rows that the user asked for, if there is one.
#[derive(Debug)]
pub struct Throttle {
    begun: Instant,
    rate: Option<Mutex<Rate>>,
}

impl Throttle {
    /// At most so many rows per second.
    pub fn new(rows_per_second: Option<NonZeroU64>) -> Throttle {
        Throttle { begun: Instant::now(), rate: rows_per_second.map(|rows| Mutex::new(Rate::new(rows))) }
    }

    /// Waits until so many more rows may pass.
    pub async fn pass(&self, rows: usize) {
        let Some(rate) = &self.rate else { return };
        let wait =
            rate.lock().unwrap_or_else(PoisonError::into_inner).take(rows as u64, self.begun.elapsed());
        if wait > Duration::ZERO {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const BOUNDS: Bounds = Bounds { least: 2, most: 64, first: 8, calm: Duration::from_secs(1) };

    #[tokio::test(start_paused = true)]
    async fn no_more_are_inside_than_the_window_says_and_all_get_through() {
        let gate = Gate::new(BOUNDS);
        let (inside, highest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..2000_usize {
            let (gate, inside, highest) = (gate.clone(), inside.clone(), highest.clone());
            tasks.spawn(async move {
                let pass = gate.enter().await;
                highest.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                let sent = Instant::now();
                tokio::time::sleep(Duration::from_millis(10)).await;
                let failed = number.is_multiple_of(500).then_some(Verdict::Later);
                inside.fetch_sub(1, SeqCst);
                gate.told(sent, failed);
                drop(pass);
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        let state = gate.state();
        assert_eq!(state.inside, 0);
        let highest = highest.load(SeqCst);
        assert!(highest > BOUNDS.first && highest <= BOUNDS.most, "{highest}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_closes_the_gate_to_less_than_was_inside() {
        let gate = Gate::new(BOUNDS);
        // For as long as only four are inside, their answers say nothing of more.
        let mut inside = Vec::new();
        for _ in 0..4 {
            inside.push(gate.enter().await);
        }
        (0..1000).for_each(|_| gate.told(Instant::now(), None));
        assert_eq!(gate.state().window.limit(), BOUNDS.first);
        tokio::time::advance(Duration::from_millis(1)).await;
        gate.told(Instant::now(), Some(Verdict::Later));
        assert_eq!(gate.state().window.limit(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_close_the_gate_to_the_least() {
        let gate = Gate::new(BOUNDS);
        for _ in 0..5 {
            tokio::time::advance(Duration::from_millis(1)).await;
            gate.told(Instant::now(), Some(Verdict::Later));
        }
        let first = (gate.enter().await, gate.enter().await);
        let third = tokio::time::timeout(Duration::from_secs(1), gate.enter()).await;
        assert!(third.is_err(), "only two may be in flight");
        drop(first);
        gate.enter().await;
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_waited_for_and_what_is_too_large_goes_alone() {
        let waits = |budget: Budget, bytes| async move {
            tokio::time::timeout(Duration::from_secs(1), budget.take(bytes)).await.is_err()
        };
        let budget = Budget::new(10 << 10);
        let mut some = budget.take(6 << 10).await.unwrap();
        assert!(!waits(budget.clone(), 4 << 10).await);
        assert!(waits(budget.clone(), (4 << 10) + 1).await);
        assert!(waits(budget.clone(), 1 << 30).await, "it must not go beside others");
        some.shrink(5 << 10);
        assert!(!waits(budget.clone(), 5 << 10).await);
        drop(some);
        let whole = budget.take(1 << 30).await.unwrap();
        assert!(waits(budget.clone(), 1).await, "nothing must go beside it");
        drop(whole);
        // It may turn out larger than was thought, and be as large as all that others leave.
        let more = budget.fit(budget.take(2 << 10).await.unwrap(), 8 << 10).await.unwrap();
        assert!(waits(budget.clone(), 3 << 10).await);
        assert!(!waits(budget.clone(), 2 << 10).await);
        let less = budget.fit(more, 5 << 10).await.unwrap();
        assert!(!waits(budget.clone(), 5 << 10).await);
        let whole = budget.fit(less, 1 << 30).await.unwrap();
        assert!(waits(budget.clone(), 1).await);
        drop(whole);
        assert!(!waits(Budget::new(0), 1 << 40).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_lets_its_rate_pass() {
        let begun = Instant::now();
        let throttle = Throttle::new(NonZeroU64::new(1000));
        for _ in 0..50 {
            throttle.pass(100).await;
        }
        // 4,900 rows are paid for; the clock of sleeps ticks in milliseconds.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(4_900) && took < Duration::from_millis(5_000), "{took:?}");
        let begun = Instant::now();
        Throttle::new(None).pass(usize::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
