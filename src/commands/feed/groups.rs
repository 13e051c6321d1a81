//! Groups: the rows of a page that are written together, when, and where they go if they are refused.

use super::lanes::{Lane, Turn};
use super::trail::{Mark, Taken};
use super::{Order, ReadTimes};
use crate::batch::{self, Limits};
use crate::cluster::gate;
use crate::cluster::write::{Group, Refused, TableWriter};
use crate::commands::rejects::{Reject, RejectFile};
use crate::error::{Error, Result};
use crate::fingerprint::Partition;
use crate::format::{BadRecord, RowTexts};
use crate::rows::Page;
use crate::table::{ColumnKind, Table};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// A batch of one partition is not limited by the server; this keeps single requests short.
const BATCH: Limits = Limits { bytes: 128 << 10, rows: 1000 };

/// A page cut into groups of one partition.
pub(super) struct Groups {
    pub(super) file: Arc<FileFacts>,
    pub(super) page: Page,
    pub(super) groups: Vec<Group>,
    /// How many of them the cluster has not taken yet.
    pub(super) left: AtomicUsize,
    /// Rows that it has refused.
    pub(super) refused: AtomicUsize,
    pub(super) lane: Arc<Lane>,
    pub(super) number: u64,
    pub(super) mark: Option<Mark>,
    /// Rows of its file before it.
    pub(super) before: u64,
    /// What the rows were read from, if that may still be asked for.
    pub(super) texts: Option<RowTexts>,
    /// Given back with the last of its rows.
    pub(super) _memory: gate::Taken,
}

impl Groups {
    /// The cluster has taken one of the groups, but for so many of its rows.
    pub(super) fn taken(&self, refused: usize) -> Result<()> {
        self.refused.fetch_add(refused, SeqCst);
        if self.left.fetch_sub(1, SeqCst) > 1 {
            return Ok(());
        }
        let refused = self.refused.load(SeqCst) as u64;
        self.lane.taken(self.number, Taken { rows: self.page.rows() as u64, refused, mark: self.mark })
    }

    /// Rejects a row that the cluster refuses.
    pub(super) fn reject(&self, Refused { row, key, reason }: &Refused) -> Result<()> {
        let FileFacts { name, writer, rejects, .. } = &*self.file;
        let alone = || Error::failed(format!("write the row {key} into {}: {reason}", writer.name()));
        if let Some((line, text)) = self.texts.as_ref().and_then(|texts| texts.get(*row)) {
            let reject = Reject { source: name, number: line, what: None, reason, record: &text };
            return rejects.reject(&reject, alone);
        }
        let number = self.before + 1 + *row as u64;
        let reject = Reject { source: name, number, what: Some(key), reason, record: &[] };
        rejects.reject_row(reject, (&self.page, *row), alone)?;
        writer.counts().rejected.fetch_add(1, Relaxed);
        Ok(())
    }
}

/// What a file's groups depend on.
pub(super) struct FileFacts {
    pub(super) name: String,
    pub(super) writer: Arc<TableWriter>,
    partition: Vec<usize>,
    key: Vec<usize>,
    statics: Vec<usize>,
    inside: Option<Partition>,
    read: Option<ReadTimes>,
    pub(super) rejects: Arc<RejectFile>,
}

/// Rows to write together, and when they were read, if that matters.
pub(super) struct Piece {
    rows: Range<usize>,
    read: Option<i64>,
}

impl FileFacts {
    pub(super) fn of(
        name: String,
        writer: Arc<TableWriter>,
        table: &Table,
        inside: Option<Partition>,
        read: Option<ReadTimes>,
        rejects: Arc<RejectFile>,
    ) -> FileFacts {
        let partition = table.indexes(ColumnKind::PartitionKey);
        let key = [partition.clone(), table.indexes(ColumnKind::Clustering)].concat();
        let statics = table.indexes(ColumnKind::Static);
        FileFacts { name, writer, partition, key, statics, inside, read, rejects }
    }

    /// Rejects records that cannot be read; in a dump there must be none.
    pub(super) fn reject(&self, bad: &[BadRecord], order: Order) -> Result<()> {
        for BadRecord { line, text, error } in bad {
            let damaged = || Error::failed(format!("read {}: {error}", self.name));
            if order == Order::Any {
                return Err(damaged());
            }
            let reason = error.reason();
            let (source, what) = (self.name.as_str(), error.column());
            let reject = Reject { source, number: *line, what, reason: &reason, record: text };
            self.rejects.reject(&reject, damaged)?;
        }
        Ok(())
    }

    /// Cuts a page, as far as it goes without those before it.
    pub(super) fn cut(&self, page: &Page, order: Order) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for rows in batch::groups(page, &self.partition, BATCH) {
            match order {
                Order::Any => pieces.push(Piece { read: self.read(page, rows.start), rows }),
                Order::Lines => batch::in_order(page, rows, &self.key, &self.statics, |rows| {
                    pieces.push(Piece { rows, read: None });
                }),
            }
        }
        pieces
    }

    /// The groups of a page whose turn it is.
    pub(super) fn groups(
        &self,
        page: &Page,
        pieces: Vec<Piece>,
        order: Order,
        turn: &mut Turn,
    ) -> Vec<Group> {
        let mut groups = Vec::with_capacity(pieces.len());
        for Piece { rows, read } in pieces {
            groups.push(match order {
                Order::Any => Group {
                    statics: self.begins(page, rows.start, turn),
                    time: read.unwrap_or(turn.time),
                    rows,
                },
                Order::Lines => {
                    let time = turn.time;
                    turn.time += self.writer.times();
                    // Any later line may bring other static cells.
                    Group { rows, statics: true, time }
                }
            });
        }
        if !self.statics.is_empty()
            && let Some(last) = page.rows().checked_sub(1)
        {
            turn.current = Some(self.partition(page, last));
        }
        groups
    }

    /// Whether a partition begins at a row, if it has static cells at all.
    fn begins(&self, page: &Page, row: usize, turn: &Turn) -> bool {
        if self.statics.is_empty() {
            return false;
        }
        let this = self.partition(page, row);
        let goes_on = match row.checked_sub(1) {
            Some(before) => self.partition(page, before) == this,
            None => turn.current.as_ref() == Some(&this),
        };
        !goes_on && self.inside.as_ref() != Some(&this)
    }

    fn partition(&self, page: &Page, row: usize) -> Partition {
        self.partition.iter().map(|column| page.cell(row, *column).map(<[u8]>::to_vec)).collect()
    }

    /// When the partition of a row was read, if that matters.
    fn read(&self, page: &Page, row: usize) -> Option<i64> {
        let read = self.read.as_ref()?;
        let component = |column: &usize| page.cell(row, *column).unwrap_or_default();
        read.of(&self.partition.iter().map(component).collect::<Vec<_>>())
    }
}
