//! Which errors of the driver are worth another attempt, and how long to wait before it. The driver itself never
//! retries here: it would do so without any delay, and not every statement may be sent twice.

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use std::time::Duration;

/// Attempts per page and per write request.
pub const ATTEMPTS: u32 = 8;

/// What an error says about sending the same request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The cluster was busy, slow or out of reach: the same request may succeed later.
    Later,
    /// The request is too much for one go: a smaller one may succeed.
    Smaller,
    /// It will fail again.
    Never,
}

/// Judges an error.
pub fn verdict(error: &ExecutionError) -> Verdict {
    match error {
        ExecutionError::LastAttemptError(error) => match error {
            RequestAttemptError::DbError(error, message) => db_verdict(error, message),
            RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
                Verdict::Later
            }
            _ => Verdict::Never,
        },
        ExecutionError::ConnectionPoolError(_)
        | ExecutionError::RequestTimeout(_)
        | ExecutionError::EmptyPlan => Verdict::Later,
        _ => Verdict::Never,
    }
}

/// How servers say that a request, a batch or a mutation is too large.
const TOO_LARGE: &[&str] = &["too large", "too big", "exceeds allowed maximum"];

/// How servers since 4.1 say that a replica has an older schema than the coordinator.
const SCHEMA_LAGS: &str = "INCOMPATIBLE_SCHEMA";

fn db_verdict(error: &DbError, message: &str) -> Verdict {
    match error {
        DbError::Unavailable { .. }
        | DbError::Overloaded
        | DbError::IsBootstrapping
        | DbError::ReadTimeout { .. }
        | DbError::WriteTimeout { .. } => Verdict::Later,
        // A replica that has not heard of the table yet: it will in a moment (4.1.10, two nodes, right after CREATE TABLE).
        DbError::WriteFailure { .. } | DbError::ReadFailure { .. } if message.contains(SCHEMA_LAGS) => {
            Verdict::Later
        }
        // 1500 also answers a mutation that is too large (3.11, 4.0), 1300 a page with too many tombstones.
        DbError::WriteFailure { .. } | DbError::ReadFailure { .. } => Verdict::Smaller,
        DbError::Invalid if TOO_LARGE.iter().any(|words| message.contains(words)) => Verdict::Smaller,
        _ => Verdict::Never,
    }
}

/// How long to wait before attempt `attempt` (1 is the second one): doubling from 50 ms to 10 s, with a third of jitter
/// so that workers that failed together do not come back together.
pub fn backoff(attempt: u32, salt: u64) -> Duration {
    let base = 50u64.saturating_mul(1 << attempt.min(8)).min(10_000);
    let jitter = xxhash_rust::xxh3::xxh3_64(&[salt.to_le_bytes(), u64::from(attempt).to_le_bytes()].concat());
    Duration::from_millis(base - base / 3 + jitter % (base / 3 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    #[test]
    fn waits_grow_and_stay_bounded() {
        for attempt in 0..40 {
            let wait = backoff(attempt, u64::from(attempt) * 7);
            assert!(
                wait >= Duration::from_millis(30) && wait <= Duration::from_secs(10),
                "{attempt}: {wait:?}"
            );
        }
        assert!(backoff(6, 1) > backoff(1, 1));
    }

    #[test]
    fn a_refusal_is_final_and_a_size_is_not() {
        let db = |e, m: &str| {
            verdict(&ExecutionError::LastAttemptError(RequestAttemptError::DbError(e, m.into())))
        };
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
        let failed = || DbError::WriteFailure {
            consistency: Consistency::One,
            received: 0,
            required: 1,
            numfailures: 1,
            write_type: WriteType::Counter,
        };
        let lags = "Operation failed - received 0 responses and 1 failures: INCOMPATIBLE_SCHEMA from /127.0.0.2:7000";
        assert_eq!(db(failed(), lags), Verdict::Later);
        assert_eq!(db(failed(), "Operation failed - received 0 responses and 1 failures"), Verdict::Smaller);
        assert_eq!(db(DbError::Invalid, "Unknown identifier x"), Verdict::Never);
        assert_eq!(db(DbError::Unauthorized, ""), Verdict::Never);
    }
}
