//! libFuzzer over the records of a sync frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::carried_records(bytes);
});
