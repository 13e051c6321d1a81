//! See `cqlift_fuzz::state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cqlift_fuzz::state(data));
