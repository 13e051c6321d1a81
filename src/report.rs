//! What a run tells its user: notes and summaries on stderr, results on stdout, as text or as JSON. The only place that
//! prints, besides the progress line.

use crate::error::{Error, Result};
use serde::Serialize;
use std::io::{self, ErrorKind, Write};

/// Prints a result on stdout. A reader that has gone away (`| head`) ends the output, not the run.
///
/// # Errors
/// `Error` if stdout cannot be written.
pub fn result(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one machine-readable summary on stdout.
///
/// # Errors
/// `Error` if it cannot be written.
pub fn json(summary: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(summary)
        .map_err(|e| Error::failed(format!("write the summary: {e}")))?;
    result(&(text + "\n"))
}

/// Prints a line on stderr; that nobody reads it is no error.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints a warning on stderr.
pub fn warn(line: &str) {
    note(&format!("warning: {line}"));
}
