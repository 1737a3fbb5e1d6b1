//! libFuzzer over the decoder of envelopes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::signed_envelope(bytes);
});
