//! See `cqlift_fuzz::ddl`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cqlift_fuzz::ddl(data));
