#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mercato_fuzz::record::check(bytes));
