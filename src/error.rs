//! The one error type at the rim: what went wrong, whose doing it is, what to do. Its kind gives the exit code.
//! Inner modules keep small precise enums of their own and are turned into this where place and remedy are known.

use std::fmt;

/// Whose doing an error is, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command as typed cannot be meant: exit 2.
    Usage,
    /// The cluster, a file or the data stopped the work: exit 1.
    Failed,
    /// The work is done, but not all of it: exit 3.
    Incomplete,
    /// Verification found what it looks for: exit 4.
    Difference,
    /// The user stopped the work: exit 130.
    Interrupted,
    /// Nobody reads standard output any more (`| head`): exit 141, as a shell shows a process that SIGPIPE ended.
    ReaderGone,
}

/// An error as the user meets it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

/// Result with the rim's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The command as typed cannot be meant.
    pub fn usage(message: impl Into<String>) -> Error {
        Error { kind: Kind::Usage, message: message.into(), hints: Vec::new() }
    }

    /// The cluster, a file or the data stopped the work.
    pub fn failed(message: impl Into<String>) -> Error {
        Error { kind: Kind::Failed, message: message.into(), hints: Vec::new() }
    }

    /// The work is done, but not all of it.
    pub fn incomplete(message: impl Into<String>) -> Error {
        Error { kind: Kind::Incomplete, message: message.into(), hints: Vec::new() }
    }

    /// Verification found a difference.
    pub fn difference(message: impl Into<String>) -> Error {
        Error { kind: Kind::Difference, message: message.into(), hints: Vec::new() }
    }

    /// The user stopped the work.
    pub fn interrupted(message: impl Into<String>) -> Error {
        Error { kind: Kind::Interrupted, message: message.into(), hints: Vec::new() }
    }

    /// Nobody reads standard output any more.
    pub fn reader_gone() -> Error {
        let message = "nobody reads standard output any more".to_owned();
        Error { kind: Kind::ReaderGone, message, hints: Vec::new() }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hints.push(hint.into());
        self
    }

    /// Puts what was being done before the message: `context("read manifest.json")` gives "read manifest.json: …".
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Error {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// Whose doing it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether this process, or this machine, has too many files open, which says nothing of the file at hand.
    pub fn is_out_of_files(&self) -> bool {
        // ENFILE and EMFILE, as the standard library writes them, wherever they come from.
        self.message.contains("(os error 23)") || self.message.contains("(os error 24)")
    }

    /// What went wrong, without the hints.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user can do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The process's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Incomplete => 3,
            Kind::Difference => 4,
            Kind::Interrupted => 130,
            Kind::ReaderGone => 141,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if self.is_out_of_files() {
            write!(f, "\nhint: let more files be open at once: `ulimit -n 1024`")?;
        }
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Turns an inner error into the rim's, saying what was being done.
pub trait Context<T> {
    /// "`doing`: the error and its causes", as a failure.
    ///
    /// # Errors
    /// The failure, if there was one.
    fn doing<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: std::error::Error> Context<T> for std::result::Result<T, E> {
    fn doing<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let mut message = format!("{}: {error}", doing());
            let mut cause = error.source();
            while let Some(inner) = cause {
                let text = inner.to_string();
                // Many errors already print their cause; said twice it only hides the rest.
                if !message.contains(&text) {
                    message = format!("{message}: {text}");
                }
                cause = inner.source();
            }
            Error::failed(message)
        })
    }
}
