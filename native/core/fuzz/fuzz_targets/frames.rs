//! libFuzzer over the decoder of stream frames.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::stream_frames(bytes);
});
