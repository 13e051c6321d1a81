//! See `cqlift_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cqlift_fuzz::manifest(data));
