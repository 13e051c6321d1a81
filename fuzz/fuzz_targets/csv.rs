//! See `cqlift_fuzz::csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cqlift_fuzz::csv(data));
