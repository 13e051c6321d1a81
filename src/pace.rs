//! How fast to go: how many requests may be in flight, and how many rows may pass. Pure arithmetic over times that are
//! given; who waits, and what counts as a request, is left to `cluster`.
//!
//! A time is a `Duration` since any moment that stays the same.

use std::num::NonZeroU64;
use std::time::Duration;

/// What a [`Window`] never leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Requests in flight at least.
    pub least: usize,
    /// Requests in flight at most.
    pub most: usize,
    /// Where it begins.
    pub first: usize,
    /// Answers that take no longer are no sign of a busy cluster, however much quicker others were.
    pub calm: Duration,
}

/// How many requests may be in flight: one more with every round of answers, fewer at once when the cluster refuses
/// requests, or answers much later than it did.
///
/// A round is as many answers as requests may be in flight. Before the first sign of a busy cluster the window grows by a
/// quarter each round. It grows only if it is filled: what was never in flight has shown nothing.
///
/// Answers take the longer the more requests wait, so that what is long is judged by a best round, and that is measured
/// anew from time to time, with few requests in flight: the cluster may have become slower for good, or requests larger.
#[derive(Debug)]
pub struct Window {
    bounds: Bounds,
    limit: usize,
    /// The cluster has not been busy yet.
    growing: bool,
    /// Requests sent before this were sent under a larger limit: what becomes of them has been answered already.
    since: Duration,
    /// Answers of this round, and how long they took together.
    answers: usize,
    took: Duration,
    /// Whether as many requests as may be were in flight at one of them.
    filled: bool,
    /// What an answer took in the mean in the best round, and when that was.
    best: Option<(Duration, Duration)>,
    /// The limit to go back to after a round that measures the best anew.
    probing: Option<usize>,
}

/// How long a best round stays the measure.
const BEST_LASTS: Duration = Duration::from_secs(10);

/// How many times as long as in the best round answers take when the cluster is busy.
const RISEN: u32 = 3;

impl Window {
    /// A window that begins at `bounds.first`.
    pub fn new(bounds: Bounds) -> Window {
        Window {
            bounds,
            limit: bounds.first.clamp(bounds.least, bounds.most),
            growing: true,
            since: Duration::ZERO,
            answers: 0,
            took: Duration::ZERO,
            filled: false,
            best: None,
            probing: None,
        }
    }

    /// How many requests may be in flight.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A request sent at `sent` has been answered at `now`; with it so many were in flight.
    pub fn answered(&mut self, sent: Duration, now: Duration, in_flight: usize) {
        if sent < self.since {
            return;
        }
        self.filled |= in_flight >= self.limit;
        self.answers += 1;
        self.took = self.took.saturating_add(now.saturating_sub(sent));
        if self.answers < self.limit {
            return;
        }
        let mean = self.took / u32::try_from(self.answers).unwrap_or(u32::MAX);
        let filled = self.filled;
        self.begin_round();
        if let Some(limit) = self.probing.take() {
            self.limit = limit;
            self.best = Some((mean, now));
            return;
        }
        let (best, at) = *self.best.get_or_insert((mean, now));
        if mean <= best {
            self.best = Some((mean, now));
        } else if now.saturating_sub(at) > BEST_LASTS {
            self.probing = Some(self.limit);
            return self.shrink_to(self.limit / 4, now);
        }
        if mean > self.bounds.calm.max(best.saturating_mul(RISEN)) {
            self.growing = false;
            return self.shrink_to(self.limit - self.limit / 4, now);
        }
        if filled {
            let step = if self.growing { (self.limit / 4).max(1) } else { 1 };
            self.limit = self.limit.saturating_add(step).min(self.bounds.most);
        }
    }

    /// A request sent at `sent` has failed at `now` because the cluster has too much to do: it said so, or did not answer
    /// in time; with it so many were in flight.
    pub fn refused(&mut self, sent: Duration, now: Duration, in_flight: usize) {
        if sent >= self.since {
            self.begin_round();
            self.growing = false;
            self.probing = None;
            self.shrink_to(self.limit.min(in_flight) / 2, now);
        }
    }

    fn begin_round(&mut self) {
        self.answers = 0;
        self.took = Duration::ZERO;
        self.filled = false;
    }

    fn shrink_to(&mut self, limit: usize, now: Duration) {
        self.limit = limit.clamp(self.bounds.least, self.bounds.most);
        self.since = now;
    }
}

/// A limit of rows per second.
///
/// Rows are let go when those before them have been paid for with time, so that a page larger than a second's share
/// passes too, and the next one waits the longer.
#[derive(Debug)]
pub struct Rate {
    rows_per_second: NonZeroU64,
    /// When all rows so far are paid for.
    paid: Duration,
}

/// Time not used that may be caught up with.
const BURST: Duration = Duration::from_millis(100);

impl Rate {
    /// A limit under which nothing has passed yet.
    pub fn new(rows_per_second: NonZeroU64) -> Rate {
        Rate { rows_per_second, paid: Duration::ZERO }
    }

    /// Books rows that come at `now`; answers how long they have to wait.
    pub fn take(&mut self, rows: u64, now: Duration) -> Duration {
        let from = self.paid.max(now.saturating_sub(BURST));
        let nanos = (u128::from(rows) * 1_000_000_000).div_ceil(u128::from(self.rows_per_second.get()));
        let price = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid = from.saturating_add(price);
        from.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const BOUNDS: Bounds = Bounds { least: 4, most: 256, first: 16, calm: Duration::from_millis(20) };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A server that works on so many requests at a time, each for about `service`, and refuses those that find more than
    /// `queue` before them.
    struct Server {
        workers: usize,
        service: Duration,
        queue: usize,
    }

    /// What a client of a server has seen.
    #[derive(Debug, Default)]
    struct Seen {
        answered: u64,
        refused: u64,
        lowest: usize,
        highest: usize,
    }

    /// A client and its server from `*now` to `until`; requests vary by a tenth, as the seed says.
    fn run(window: &mut Window, server: &Server, now: &mut Duration, until: Duration, seed: u64) -> Seen {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(state >> 33).unwrap() % 200
        };
        // Of every request: when it ends, when it was sent, whether it is refused.
        let mut in_flight: BinaryHeap<Reverse<(Duration, Duration, bool)>> = BinaryHeap::new();
        let mut workers: BinaryHeap<Reverse<Duration>> = (0..server.workers).map(|_| Reverse(*now)).collect();
        let mut waiting = 0;
        let mut seen = Seen { lowest: usize::MAX, ..Seen::default() };
        while *now < until {
            while in_flight.len() < window.limit() {
                if waiting >= server.workers + server.queue {
                    in_flight.push(Reverse((*now + Duration::from_micros(300), *now, true)));
                    continue;
                }
                waiting += 1;
                let Reverse(free) = workers.pop().unwrap();
                let end = free.max(*now) + server.service * (900 + draw()) / 1000;
                workers.push(Reverse(end));
                in_flight.push(Reverse((end, *now, false)));
            }
            let with_it = in_flight.len();
            let Reverse((end, sent, refused)) = in_flight.pop().unwrap();
            *now = end;
            if refused {
                window.refused(sent, *now, with_it);
                seen.refused += 1;
            } else {
                waiting -= 1;
                window.answered(sent, *now, with_it);
                seen.answered += 1;
            }
            seen.lowest = seen.lowest.min(window.limit());
            seen.highest = seen.highest.max(window.limit());
        }
        seen
    }

    #[test]
    fn a_busy_server_is_kept_busy_and_not_flooded() {
        for seed in 1..=5 {
            let mut window = Window::new(BOUNDS);
            let mut now = Duration::ZERO;
            // 16 requests at a time, 5 ms each: 3,200 a second. With 64 in flight, an answer takes 20 ms.
            let server = Server { workers: 16, service: ms(5), queue: usize::MAX - 16 };
            run(&mut window, &server, &mut now, ms(5_000), seed);
            let seen = run(&mut window, &server, &mut now, ms(35_000), seed);
            assert!(seen.answered > 96_000 * 95 / 100, "seed {seed}: {seen:?}");
            assert!(seen.lowest >= 10 && seen.highest < 100, "seed {seed}: {seen:?}");
        }
    }

    #[test]
    fn a_server_that_refuses_is_asked_less_and_then_more_again() {
        for seed in 1..=5 {
            let mut window = Window::new(BOUNDS);
            let mut now = Duration::ZERO;
            let small = Server { workers: 8, service: ms(1), queue: 12 };
            run(&mut window, &small, &mut now, ms(2_000), seed);
            let seen = run(&mut window, &small, &mut now, ms(12_000), seed);
            assert!(seen.highest <= 21, "seed {seed}: {seen:?}");
            assert!(seen.refused * 50 < seen.answered, "seed {seed}: {seen:?}");
            assert!(seen.answered > 80_000 * 95 / 100, "seed {seed}: {seen:?}");
            let large = Server { workers: 512, service: ms(1), queue: 0 };
            run(&mut window, &large, &mut now, ms(14_000), seed);
            assert_eq!(window.limit(), BOUNDS.most, "seed {seed}");
        }
    }

    #[test]
    fn a_server_that_becomes_slower_for_good_is_got_used_to() {
        let mut window = Window::new(BOUNDS);
        let mut now = Duration::ZERO;
        let far = |latency| Server { workers: 1000, service: latency, queue: 0 };
        run(&mut window, &far(ms(10)), &mut now, ms(5_000), 1);
        assert_eq!(window.limit(), BOUNDS.most);
        let seen = run(&mut window, &far(ms(200)), &mut now, ms(20_000), 1);
        assert!(seen.lowest < 32, "{seen:?}");
        run(&mut window, &far(ms(200)), &mut now, ms(120_000), 1);
        assert_eq!(window.limit(), BOUNDS.most);
    }

    #[test]
    fn what_was_sent_under_a_larger_limit_counts_once() {
        let mut window = Window::new(BOUNDS);
        for _ in 0..16 {
            window.refused(ms(1), ms(5), 16);
        }
        assert_eq!(window.limit(), 8);
        window.refused(ms(5), ms(6), 8);
        window.refused(ms(6), ms(7), 4);
        window.refused(ms(7), ms(8), 4);
        assert_eq!(window.limit(), BOUNDS.least);
        for _ in 0..4 {
            window.answered(ms(7), ms(9), 4);
        }
        assert_eq!(window.limit(), BOUNDS.least, "they were sent before the last refusal");
        for _ in 0..4 {
            window.answered(ms(8), ms(9), 3);
        }
        assert_eq!(window.limit(), BOUNDS.least, "it was not filled");
        for _ in 0..4 {
            window.answered(ms(8), ms(9), 4);
        }
        assert_eq!(window.limit(), BOUNDS.least + 1);
        // Less than were in flight, not less than might have been.
        let mut window = Window::new(BOUNDS);
        window.refused(ms(1), ms(2), 10);
        assert_eq!(window.limit(), 5);
    }

    #[test]
    fn the_rate_is_kept_over_any_time_and_little_is_caught_up_with() {
        let rows = NonZeroU64::new(1000).unwrap();
        let mut rate = Rate::new(rows);
        // 500 rows at once: none waits but the next.
        assert_eq!(rate.take(500, ms(0)), ms(0));
        assert_eq!(rate.take(1, ms(100)), ms(400));
        assert_eq!(rate.take(0, ms(501)), ms(0));
        // After ten idle seconds a tenth of a second is caught up with.
        assert_eq!(rate.take(100, ms(10_501)), ms(0));
        assert_eq!(rate.take(200, ms(10_501)), ms(0));
        assert_eq!(rate.take(1, ms(10_501)), ms(200));
    }

    #[test]
    fn a_client_that_waits_as_told_gets_the_rate() {
        for (per_second, chunk) in [(1, 1), (3, 1), (1000, 7), (1_000_000, 5000), (10, 5000)] {
            let mut rate = Rate::new(NonZeroU64::new(per_second).unwrap());
            let mut now = ms(3_000);
            let mut rows = 0;
            for _ in 0..1000 {
                now += rate.take(chunk, now);
                rows += chunk;
            }
            // The last ones have passed and are not paid for; the first tenth of a second is given.
            let needed = Duration::from_millis((rows - chunk) * 1000 / per_second);
            let took = now - ms(2_900);
            assert!(took >= needed, "{rows} rows at {per_second}/s in {took:?}");
            assert!(
                took <= needed + needed / 1000 + ms(10) + ms(100),
                "{rows} rows at {per_second}/s in {took:?}"
            );
        }
    }

    #[test]
    fn impossible_numbers_do_not_overflow() {
        let mut rate = Rate::new(NonZeroU64::MIN);
        assert_eq!(rate.take(u64::MAX, ms(0)), ms(0));
        assert!(rate.take(u64::MAX, ms(0)) > ms(1_000_000_000));
        assert!(rate.take(1, Duration::MAX) <= Duration::MAX);
    }
}
