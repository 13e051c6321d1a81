//! Parses the command line, starts logging and the runtime, runs, and turns an error into the exit code.

use cqlift::cli::Cli;
use cqlift::error::Kind;
use cqlift::report;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = Cli::read();
    start_logging(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report::note(&format!("error: start the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever went away knows.
            if error.kind() != Kind::ReaderGone {
                report::note(&format!("error: {error}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Has glibc keep what is freed for what comes next, instead of giving it back and taking it anew, page by page: the size up
/// to which it does so rises to that of any block that is freed, 32 MiB at most (mallopt(3), `M_MMAP_THRESHOLD`). A third
/// of the client's CPU in a dump of large values was page faults (2026-11-29). To another allocator it says nothing.
fn keep_freed_memory() {
    const BLOCK: usize = (32 << 20) - (64 << 10);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}

fn start_logging(verbose: u8) {
    // The driver warns of every lost connection; what matters of that reaches the user as an error with a remedy.
    let default = match verbose {
        0 => "off",
        1 => "cqlift=debug,scylla=info",
        _ => "cqlift=trace,scylla=debug",
    };
    let filter = EnvFilter::try_from_env("CQLIFT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // That a line could not be written is no reason to write another, which would panic where stderr is gone.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.log_internal_errors(false).init();
}
