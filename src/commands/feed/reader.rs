//! Readers: threads that take pages of lanes, decode and cut them, and send them on in the lane's order, within the memory
//! that the flow allows.

use super::groups::Groups;
use super::lanes::{Lane, Lanes, Next};
use super::trail::{Mark, Shared, Taken};
use super::{COPIES, Flow, Order, lock};
use crate::error::{Context, Result};
use crate::format::{Decoded, RowTexts};
use crate::progress::Counters;
use crate::rows::Page;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Write times, µs, that are set aside at once where each group has its own.
const TIMES_AHEAD: i64 = 1_000_000;

/// One of those that read the lanes.
pub(super) struct Reader {
    pub(super) lanes: Arc<Lanes>,
    pub(super) flow: Arc<Flow>,
    pub(super) counters: Arc<Counters>,
    pub(super) journal: Shared,
    pub(super) runtime: Handle,
}

/// Stops all readers when dropped: nobody must wait for the turn of one that is gone.
struct StopAll<'a>(Option<&'a Lanes>);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|lanes| lanes.stop());
    }
}

impl Reader {
    /// Reads lanes until there are none left.
    pub(super) fn read(&self, send: &mpsc::Sender<Groups>) -> Result<()> {
        let mut stop_all = StopAll(Some(&self.lanes));
        while let Some(lane) = self.lanes.next() {
            while self.page(&lane, send)? {}
            if self.lanes.stopped() {
                return Ok(());
            }
        }
        stop_all.0 = None;
        Ok(())
    }

    /// Reads a page of a lane and sends its groups; answers false if there is none, or nobody to take it.
    fn page(&self, lane: &Arc<Lane>, send: &mpsc::Sender<Groups>) -> Result<bool> {
        let wait = |bytes| self.runtime.block_on(self.flow.budget.take(bytes));
        let expected = lane.expected.load(Relaxed);
        let mut memory = wait(expected)?;
        if self.lanes.stopped() {
            return Ok(false);
        }
        let Some(Next { number, page, end }) = lane.take(&self.counters)? else { return Ok(false) };
        let read = page.and_then(|(file, page)| {
            let decoded = page().doing(|| format!("read {}", file.name))?;
            let pieces = file.cut(&decoded.page, lane.order);
            Ok((file, decoded, pieces))
        });
        // Of several errors that of the first page is told.
        let Some(mut turn) = lane.turn(number, &self.lanes) else { return Ok(false) };
        let (file, Decoded { page, bad, texts }, pieces) = read?;
        file.reject(&bad, lane.order)?;
        let texts = texts.filter(|_| lane.order == Order::Lines && file.rejects.tolerates());
        let groups = file.groups(&page, pieces, lane.order, &mut turn);
        if lane.order == Order::Lines && turn.time > turn.aside {
            turn.aside = turn.time.saturating_add(TIMES_AHEAD);
            self.journal.as_ref().map_or(Ok(()), |journal| lock(journal).set_aside(turn.aside))?;
        }
        let before = turn.rows;
        turn.rows += page.rows() as u64;
        // How many were written and rejected is known when it has been reached.
        let mark = end.map(|(input, place)| Mark { input, place, rows: 0, rejected: 0 });
        turn.next += 1;
        drop(turn);
        lane.turned.notify_all();
        let needed = memory_of(&page) + texts.as_ref().map_or(0, RowTexts::bytes);
        lane.expected.store(needed, Relaxed);
        if needed <= expected {
            memory.shrink(needed);
        } else {
            // Who waits must hold nothing, or readers would wait for each other.
            drop(memory);
            memory = wait(needed)?;
        }
        if groups.is_empty() {
            lane.taken(number, Taken { rows: page.rows() as u64, refused: 0, mark })?;
            return Ok(!self.lanes.stopped());
        }
        let left = AtomicUsize::new(groups.len());
        let lane = lane.clone();
        let refused = AtomicUsize::new(0);
        let groups =
            Groups { file, page, groups, left, refused, lane, number, mark, before, texts, _memory: memory };
        Ok(!self.lanes.stopped() && send.blocking_send(groups).is_ok())
    }
}

/// What a page takes up until its last row is written.
fn memory_of(page: &Page) -> usize {
    page.value_bytes().saturating_mul(COPIES).saturating_add(page.rows() * page.width() * 8)
}
