//! libFuzzer over the decoder of key files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::key_file(bytes);
});
