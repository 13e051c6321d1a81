//! See `cqlift_fuzz::parquet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cqlift_fuzz::parquet(data));
