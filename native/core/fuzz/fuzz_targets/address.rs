//! libFuzzer over the decoder of addresses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::address(bytes);
});
