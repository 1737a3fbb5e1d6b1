//! libFuzzer over the decoder of join frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::join_frame(bytes);
});
