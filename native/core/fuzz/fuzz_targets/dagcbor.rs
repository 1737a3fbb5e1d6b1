//! libFuzzer over the decoder of DAG-CBOR.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    covm_core::fuzzing::dagcbor_document(bytes);
});
