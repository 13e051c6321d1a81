//! What a run tells its user: notes and summaries on stderr, results on stdout, as text or as JSON. The only place that
//! prints, besides the progress line.

use crate::error::{Error, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Prints a result for people on stdout. A reader that has gone away (`| head`) ends the output, not the run.
///
/// # Errors
/// `Error` if stdout cannot be written.
pub fn result(text: &str) -> Result<()> {
    print(&plain(text))
}

/// Prints a result for programs on stdout, byte for byte unless a terminal would obey it.
///
/// # Errors
/// `Error` if stdout cannot be written.
pub fn script(text: &str) -> Result<()> {
    if io::stdout().is_terminal() { print(&plain(text)) } else { print(text) }
}

/// A text that shows the characters which a terminal obeys, other than line ends and tabs: names and messages come from
/// dumps and servers, which may be a stranger's. What turns the direction of writing is among them.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| match c {
        '\n' | '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => c.is_control(),
    };
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_odd(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The same of a text that is a part of a line: line ends and tabs are shown too.
pub fn word(text: &str) -> String {
    plain(text).replace('\n', "\\n").replace('\t', "\\t")
}

fn print(text: &str) -> Result<()> {
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
    script(&(text + "\n"))
}

/// Prints a line on stderr; that nobody reads it is no error.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", plain(line));
}

/// Prints a warning on stderr.
pub fn warn(line: &str) {
    note(&format!("warning: {line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for text in ["", "a\tb\nç 漢 🦀", "e\u{301}"] {
            assert!(matches!(plain(text), Cow::Borrowed(shown) if shown == text), "{text:?}");
        }
        assert_eq!(plain("a\u{1b}[2J\r\u{7}b"), "a\\u{1b}[2J\\r\\u{7}b");
        assert_eq!(plain("\u{9b}1m\u{7f}\u{202e}x\u{2066}"), "\\u{9b}1m\\u{7f}\\u{202e}x\\u{2066}");
        assert_eq!(word("a\nb\tc\u{1b}"), "a\\nb\\tc\\u{1b}");
    }
}
