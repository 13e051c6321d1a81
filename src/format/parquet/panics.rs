//! The panics of the Parquet library, as errors. It is meant for files that are as they should be: on others it panics
//! in places (60.1: a data page that names a dictionary it lacks, levels that do not fit the values below a map), and
//! there is no asking it beforehand.

use crate::format::FormatError;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is about to become an error, and need not be told.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does something that may panic. What it used is to be given up if it does.
///
/// # Errors
/// `FormatError::Damaged` with what the panic said.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, FormatError>) -> Result<T, FormatError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    done.unwrap_or_else(|panic| Err(FormatError::Damaged(said(&*panic))))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it cannot be read")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_what_it_said() {
        let told = |work: fn() -> Result<(), FormatError>| caught(work).map_err(|error| error.to_string());
        assert_eq!(told(|| Ok(())), Ok(()));
        assert_eq!(told(|| panic!("index {} of 2", 3)), Err("the file is damaged: index 3 of 2".to_owned()));
        assert_eq!(told(|| panic!("plain")), Err("the file is damaged: plain".to_owned()));
        assert!(!QUIET.get());
    }
}
