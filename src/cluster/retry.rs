//! Which errors of the driver are worth another attempt, how many, and how long to wait before it. The driver itself never
//! retries here: it would do so without any delay, and not every statement may be sent twice.

use super::Cluster;
use scylla::errors::{
    DbError, ExecutionError, NextPageError, NextRowError, PagerExecutionError, PrepareError,
    RequestAttemptError, RequestError, TypeCheckError,
};
use scylla::statement::prepared::PreparedStatement;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Attempts per page and per write request, unless `--max-attempts` says otherwise. The waits between them come to a
/// minute at least: a node that is started again is waited for, and the driver needs up to 10 s more to notice.
pub const ATTEMPTS: u32 = 16;

/// Attempts at most at what may fail for good.
const DOUBTFUL_ATTEMPTS: u32 = 8;

/// Attempts at most at what is too much for one go and cannot be made smaller.
const HOPELESS_ATTEMPTS: u32 = 2;

/// What an error says about sending the same request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The cluster was busy, slow or out of reach: the same request may succeed later.
    Later,
    /// The request is too much for one go: a smaller one may succeed.
    Smaller,
    /// It failed, and why is not told: it may be too much for one go, or what is wrong may pass.
    Doubtful,
    /// It will fail again.
    Never,
}

impl Verdict {
    /// Whether a part of the request may succeed where the whole does not.
    pub fn is_of_size(self) -> bool {
        matches!(self, Verdict::Smaller | Verdict::Doubtful)
    }
}

/// How often a request is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in all.
    pub attempts: u32,
}

impl Patience {
    /// Whether a request is tried again that has failed so many times.
    pub fn again(self, verdict: Verdict, failed: u32) -> bool {
        failed
            < match verdict {
                Verdict::Later => self.attempts,
                Verdict::Doubtful => self.attempts.min(DOUBTFUL_ATTEMPTS),
                Verdict::Smaller => self.attempts.min(HOPELESS_ATTEMPTS),
                Verdict::Never => 0,
            }
    }
}

/// Judges an error.
pub fn verdict(error: &ExecutionError) -> Verdict {
    match error {
        ExecutionError::LastAttemptError(error) => attempt_verdict(error),
        ExecutionError::PrepareError(error) => prepare_verdict(error),
        ExecutionError::ConnectionPoolError(_)
        | ExecutionError::RequestTimeout(_)
        | ExecutionError::EmptyPlan => Verdict::Later,
        _ => Verdict::Never,
    }
}

/// Whether a write failed because a node was not there, or not any more.
pub fn is_of_a_lost_node(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::ConnectionPoolError(_) | ExecutionError::EmptyPlan => true,
        ExecutionError::LastAttemptError(error) => matches!(
            error,
            RequestAttemptError::BrokenConnectionError(_)
                | RequestAttemptError::DbError(DbError::Unavailable { .. } | DbError::IsBootstrapping, _)
        ),
        _ => false,
    }
}

/// Why rows could not be read, page by page.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Of the first page.
    #[error(transparent)]
    First(#[from] PagerExecutionError),
    /// They have other columns.
    #[error(transparent)]
    Columns(#[from] TypeCheckError),
    /// Of a later page, or of a row.
    #[error(transparent)]
    Later(#[from] NextRowError),
}

/// Judges an error of reading page by page.
pub fn page_verdict(error: &Unread) -> Verdict {
    match error {
        Unread::First(PagerExecutionError::PrepareError(error)) => prepare_verdict(error),
        Unread::First(PagerExecutionError::NextPageError(NextPageError::RequestFailure(error)))
        | Unread::Later(NextRowError::NextPageError(NextPageError::RequestFailure(error))) => match error {
            RequestError::LastAttemptError(error) => attempt_verdict(error),
            RequestError::ConnectionPoolError(_)
            | RequestError::RequestTimeout(_)
            | RequestError::EmptyPlan => Verdict::Later,
            _ => Verdict::Never,
        },
        _ => Verdict::Never,
    }
}

fn prepare_verdict(error: &PrepareError) -> Verdict {
    match error {
        PrepareError::ConnectionPoolError(_) => Verdict::Later,
        PrepareError::AllAttemptsFailed { first_attempt } => attempt_verdict(first_attempt),
        _ => Verdict::Never,
    }
}

fn attempt_verdict(error: &RequestAttemptError) -> Verdict {
    match error {
        RequestAttemptError::DbError(error, message) => db_verdict(error, message),
        RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
            Verdict::Later
        }
        // An answer that is none: damaged on its way.
        RequestAttemptError::BodyExtensionsParseError(_)
        | RequestAttemptError::CqlResultParseError(_)
        | RequestAttemptError::CqlErrorParseError(_)
        | RequestAttemptError::UnexpectedResponse(_) => Verdict::Doubtful,
        _ => Verdict::Never,
    }
}

/// How servers say that a request, a batch or a mutation is too large.
const TOO_LARGE: &[&str] = &["too large", "too big", "exceeds allowed maximum"];

/// How servers since 4.0 say that a page came across more tombstones than they read at once.
const TOMBSTONES: &str = "READ_TOO_MANY_TOMBSTONES";

/// How servers since 4.1 say that a replica has an older schema than the coordinator.
const SCHEMA_LAGS: &str = "INCOMPATIBLE_SCHEMA";

/// `CDC_WRITE_FAILURE`: the log of changes is full until somebody reads it. The driver has no name for it.
const CDC_IS_FULL: i32 = 0x1600;

fn db_verdict(error: &DbError, message: &str) -> Verdict {
    match error {
        DbError::Unavailable { .. }
        | DbError::Overloaded
        | DbError::IsBootstrapping
        | DbError::RateLimitReached { .. }
        | DbError::ReadTimeout { .. }
        | DbError::WriteTimeout { .. }
        // The driver prepares it again and tells of it only if the node has forgotten it again by then.
        | DbError::Unprepared { .. }
        | DbError::Other(CDC_IS_FULL) => Verdict::Later,
        // A replica that has not heard of the table yet: it will in a moment (4.1.10, two nodes, right after CREATE TABLE).
        DbError::WriteFailure { .. } | DbError::ReadFailure { .. } if message.contains(SCHEMA_LAGS) => {
            Verdict::Later
        }
        DbError::ReadFailure { .. } if message.contains(TOMBSTONES) => Verdict::Smaller,
        DbError::Invalid if TOO_LARGE.iter().any(|words| message.contains(words)) => Verdict::Smaller,
        // 1500 also answers a mutation that is too large (3.11, 4.0), 1300 a page with too many tombstones (3.11); and
        // both what was under way when a replica went down.
        DbError::WriteFailure { .. }
        | DbError::ReadFailure { .. }
        // A server's own mistake, or a request that was damaged on its way.
        | DbError::ServerError
        | DbError::ProtocolError => Verdict::Doubtful,
        _ => Verdict::Never,
    }
}

/// What to do about a request that was given up.
pub fn remedy(error: &ExecutionError) -> &'static str {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, message)) = error else {
        return match verdict(error) {
            Verdict::Later => {
                "are the nodes up and within reach? --max-attempts N and --request-timeout SECONDS wait longer"
            }
            _ => "the server's log may tell more",
        };
    };
    match error {
        DbError::Unavailable { .. } => {
            "too few replicas are up for the consistency level: see nodetool status, or choose another --consistency"
        }
        DbError::ReadFailure { .. } if message.contains(TOMBSTONES) => {
            "there are more tombstones between two rows than tombstone_failure_threshold allows (the replica's log names \
             their partition): raise it in cassandra.yaml, or let nodetool compact remove them once gc_grace_seconds are over"
        }
        _ if db_verdict(error, message) == Verdict::Later => {
            "the cluster is busy: go slower with --rate ROWS, or wait longer with --max-attempts N"
        }
        _ => "the logs of the replicas may tell more",
    }
}

/// `4 attempts`.
pub fn attempts(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

/// How long to wait before attempt `attempt` (1 is the second one): doubling from 50 ms to 10 s, with a third of jitter
/// so that workers that failed together do not come back together.
pub fn backoff(attempt: u32) -> Duration {
    let base = 50u64.saturating_mul(1 << attempt.min(8)).min(10_000);
    // Others ask the same of the same cluster, from other machines too.
    static OWN: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let jitter = OWN.hash_one((attempt, CALLS.fetch_add(1, Relaxed)));
    Duration::from_millis(base - base / 3 + jitter % (base / 3 + 1))
}

/// Why a statement is not prepared.
#[derive(Debug, thiserror::Error)]
pub enum Unprepared {
    /// The server or the driver said so.
    #[error(transparent)]
    Refused(#[from] PrepareError),
    /// Nobody said anything.
    #[error("no node has prepared it within {0:?}")]
    Silence(Duration),
}

impl Cluster {
    /// Prepares a statement, again as long as the cluster is busy or out of reach.
    ///
    /// # Errors
    /// `Unprepared`: what was said last.
    pub async fn prepare(&self, text: &str) -> Result<PreparedStatement, Unprepared> {
        let prepare = || async {
            // The driver itself would wait for the answer of every node, however long it takes (scylla 1.9).
            let prepared = tokio::time::timeout(self.request_timeout, self.session.prepare(text)).await;
            Ok(prepared.map_err(|_| Unprepared::Silence(self.request_timeout))??)
        };
        let judge = |error: &Unprepared| match error {
            Unprepared::Refused(error) => prepare_verdict(error),
            Unprepared::Silence(_) => Verdict::Later,
        };
        self.persist(prepare, judge).await
    }

    /// Makes a request, again as long as its errors are worth it.
    ///
    /// # Errors
    /// The last one.
    pub async fn persist<T, E, Sent>(
        &self,
        request: impl Fn() -> Sent,
        judge: impl Fn(&E) -> Verdict,
    ) -> Result<T, E>
    where
        E: std::fmt::Display,
        Sent: Future<Output = Result<T, E>>,
    {
        let mut failed = 0;
        loop {
            match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    failed += 1;
                    if !self.patience.again(judge(&error), failed) {
                        return Err(error);
                    }
                    tracing::debug!("{error}; attempt {failed} failed, trying again");
                    tokio::time::sleep(backoff(failed)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;
    use std::collections::HashSet;

    #[test]
    fn waits_grow_and_stay_bounded() {
        for attempt in 0..40 {
            let wait = backoff(attempt);
            assert!(
                wait >= Duration::from_millis(30) && wait <= Duration::from_secs(10),
                "{attempt}: {wait:?}"
            );
        }
        assert!(backoff(6) > backoff(1));
        // Those that failed together come back apart.
        let waits: HashSet<Duration> = (0..100).map(|_| backoff(8)).collect();
        assert!(waits.len() > 50, "{waits:?}");
    }

    /// 30 s without any connection, and 10 s until the driver looks again, with time to spare.
    #[test]
    fn all_attempts_together_outlast_the_restart_of_a_node() {
        for _ in 0..100 {
            let waits: Duration = (1..ATTEMPTS).map(backoff).sum();
            assert!(waits > Duration::from_secs(60) && waits < Duration::from_secs(100), "{waits:?}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_more_often_than_what_may_not() {
        let patience = Patience { attempts: 16 };
        let tried = |patience: Patience, verdict| (0..99).filter(|n| patience.again(verdict, *n)).count();
        let all = [Verdict::Later, Verdict::Doubtful, Verdict::Smaller, Verdict::Never];
        assert_eq!(all.map(|verdict| tried(patience, verdict)), [16, 8, 2, 0]);
        let once = Patience { attempts: 1 };
        assert_eq!(all.map(|verdict| tried(once, verdict)), [1, 1, 1, 0]);
    }

    fn db(error: DbError, message: &str) -> Verdict {
        verdict(&ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, message.into())))
    }

    fn write_failed() -> DbError {
        DbError::WriteFailure {
            consistency: Consistency::One,
            received: 0,
            required: 1,
            numfailures: 1,
            write_type: WriteType::Counter,
        }
    }

    fn read_failed() -> DbError {
        DbError::ReadFailure {
            consistency: Consistency::LocalQuorum,
            received: 0,
            required: 1,
            numfailures: 1,
            data_present: false,
        }
    }

    #[test]
    fn a_refusal_is_final_and_a_size_is_not() {
        assert_eq!(db(DbError::Overloaded, ""), Verdict::Later);
        assert_eq!(db(DbError::Invalid, "Batch too large"), Verdict::Smaller);
        assert_eq!(
            db(
                DbError::Invalid,
                "CQL Message of size 17103722 bytes exceeds allowed maximum of 16777216 bytes"
            ),
            Verdict::Smaller
        );
        let too_big = "Request is too big: length 19282036 exceeds maximum allowed length 16777216.";
        assert_eq!(db(DbError::Invalid, too_big), Verdict::Smaller);
        let lags = "Operation failed - received 0 responses and 1 failures: INCOMPATIBLE_SCHEMA from /127.0.0.2:7000";
        assert_eq!(db(write_failed(), lags), Verdict::Later);
        let failed = "Operation failed - received 0 responses and 1 failures";
        assert_eq!(db(write_failed(), failed), Verdict::Doubtful);
        assert_eq!(db(DbError::Invalid, "Unknown identifier x"), Verdict::Never);
        assert_eq!(db(DbError::Unauthorized, ""), Verdict::Never);
    }

    /// 4.0 and later give the reason of a failed read, 3.11 does not.
    #[test]
    fn tombstones_are_told_from_other_failures_where_the_server_tells() {
        let told = "Operation failed - received 0 responses and 1 failures: READ_TOO_MANY_TOMBSTONES from /127.0.0.1:7000";
        assert_eq!(db(read_failed(), told), Verdict::Smaller);
        let failed = "Operation failed - received 0 responses and 1 failures";
        assert_eq!(db(read_failed(), failed), Verdict::Doubtful);
        let error = |message: &str| {
            ExecutionError::LastAttemptError(RequestAttemptError::DbError(read_failed(), message.into()))
        };
        assert!(remedy(&error(told)).contains("tombstone_failure_threshold"));
        assert!(!remedy(&error(failed)).contains("tombstone"));
    }
}
