//! Which refusals are a row's own: what the cluster will not take of this row, while it takes others. What is particular to
//! no row (a grant, a table that is gone, a consistency level) ends the run, and so does an outcome that nobody knows.

use super::send::Failure;
use crate::cluster::retry::Verdict;
use scylla::errors::{BadQuery, DbError, ExecutionError, RequestAttemptError};

/// A row that the cluster does not take, alone as it was in its request.
#[derive(Debug)]
pub struct Refused {
    /// Its number in the page.
    pub row: usize,
    /// Its key: `name=value, …`, long values cut.
    pub key: String,
    /// What the server or the driver says.
    pub reason: String,
}

/// Adds refused rows to others; one of which several statements are refused counts once.
pub fn add(refused: &mut Vec<Refused>, more: impl IntoIterator<Item = Refused>) {
    for one in more {
        if !refused.iter().any(|other| other.row == one.row) {
            refused.push(one);
        }
    }
}

/// How servers begin to say that a statement cannot be executed at all, whatever is bound to it.
const NOT_OF_A_ROW: &[&str] = &[
    "unconfigured table",
    "does not exist",
    "Unknown identifier",
    "Undefined column",
    "onsistency level",
    "not allowed",
    "Batch too large",
    // Guardrails since 4.1 of a node whose disk is full: "Local data disk usage … exceeds failure threshold", "Write request
    // failed because disk usage exceeds failure threshold" (Cassandra, `Guardrails.localDataDiskUsage`, `replicaDiskUsage`).
    "disk usage",
];

/// A mutation beyond half a segment of the commit log fails without a word why (1500; 16 MiB by default, measured 3.11,
/// 4.0), like one whose replica is ill. No server takes fewer bytes than this for too many.
const MAY_BE_TOO_LARGE: usize = 1 << 20;

/// Why a row is refused, if that is its own doing and nothing of it was written by this request; `bytes` is the size of its
/// cells.
pub fn reason(failure: &Failure, bytes: usize) -> Option<String> {
    match &failure.error {
        ExecutionError::BadQuery(
            error @ (BadQuery::ValuesTooLongForKey(..) | BadQuery::SerializationError(_)),
        ) => Some(error.to_string()),
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, message)) => {
            of_server(error, message, failure.verdict, bytes)
        }
        _ => None,
    }
}

fn of_server(error: &DbError, message: &str, verdict: Verdict, bytes: usize) -> Option<String> {
    match error {
        DbError::Invalid if NOT_OF_A_ROW.iter().any(|words| message.contains(words)) => None,
        DbError::Invalid => Some(message.to_owned()),
        // Bytes that a type refuses only when they are written.
        DbError::ServerError if message.contains("MarshalException") => Some(message.to_owned()),
        DbError::WriteFailure { received: 0, .. } if verdict.is_of_size() && bytes >= MAY_BE_TOO_LARGE => {
            Some(format!("{message} (a row of {bytes} bytes may be more than the server takes)"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::retry::verdict;
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    #[test]
    fn only_what_a_row_alone_causes_is_its_own() {
        let failed = |received| DbError::WriteFailure {
            consistency: Consistency::LocalQuorum,
            received,
            required: 1,
            numfailures: 1,
            write_type: WriteType::Simple,
        };
        let operation =
            "Operation failed - received 0 responses and 1 failures: UNKNOWN from /127.0.0.1:7000";
        let large = 20 << 20;
        for (error, message, bytes, own) in [
            (DbError::Invalid, "Key length of 65536 is longer than maximum of 65535", 10, true),
            (
                DbError::Invalid,
                "CQL Message of size 17103722 bytes exceeds allowed maximum of 16777216 bytes",
                large,
                true,
            ),
            (DbError::Invalid, "Invalid unset value for column c", 10, true),
            (DbError::Invalid, "unconfigured table t", 10, false),
            (DbError::Invalid, "table ks.t does not exist", 10, false),
            (
                DbError::Invalid,
                "consistency level LOCAL_QUORUM not compatible with replication strategy",
                10,
                false,
            ),
            (
                DbError::Invalid,
                "Guardrail user_timestamps violated: User provided timestamps (USING TIMESTAMP) is not allowed",
                10,
                false,
            ),
            (
                DbError::Invalid,
                "Guardrail replica_disk_usage violated: Write request failed because disk usage exceeds failure threshold",
                10,
                false,
            ),
            (DbError::Unauthorized, "User u has no MODIFY permission on <table ks.t>", 10, false),
            (DbError::Overloaded, "", 10, false),
            (failed(0), operation, large, true),
            (failed(0), operation, 10, false),
            (failed(1), operation, large, false),
        ] {
            let error = ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, message.into()));
            let failure = Failure { verdict: verdict(&error), error };
            assert_eq!(reason(&failure, bytes).is_some(), own, "{message:?}, {bytes} bytes");
        }
    }
}
