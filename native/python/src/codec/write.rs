//! Python values into canonical DAG-CBOR, with the path of what cannot be encoded.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use covm_core::dagcbor::{EncodeError, EncodeReason, Encoder, Limits, Step, key_order};

use super::Link;

/// The canonical encoding of a value.
pub(super) fn encode(value: &Bound<'_, PyAny>) -> Result<Vec<u8>, EncodeError> {
    let limits = Limits::default();
    let mut encoder = Encoder::new(&limits);
    write(&mut encoder, value)?;
    Ok(encoder.finish()?)
}

/// Writes one value. Types are compared exactly: what a subclass means besides would be lost without a word.
fn write(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>) -> Result<(), EncodeError> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        encoder.text(text.to_str().map_err(|_| EncodeReason::Utf8)?)?;
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        integer(encoder, number)?;
    } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
        encoder.bytes(bytes.as_bytes())?;
    } else if value.is_none() {
        encoder.null()?;
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        encoder.bool(truth.is_true())?;
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        map(encoder, dict)?;
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        sequence(encoder, list.len(), list.iter())?;
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        sequence(encoder, tuple.len(), tuple.iter())?;
    } else if let Ok(link) = value.cast_exact::<Link>() {
        encoder.link(&link.get().0)?;
    } else {
        return Err(refusal(value).into());
    }
    Ok(())
}

fn integer(encoder: &mut Encoder<'_>, number: &Bound<'_, PyInt>) -> Result<(), EncodeReason> {
    match number.extract::<i64>() {
        Ok(number) => encoder.signed(number),
        Err(_) => encoder.unsigned(number.extract().map_err(|_| EncodeReason::IntegerRange)?),
    }
}

fn sequence<'py>(
    encoder: &mut Encoder<'_>,
    length: usize,
    values: impl Iterator<Item = Bound<'py, PyAny>>,
) -> Result<(), EncodeError> {
    encoder.begin_list(length)?;
    for (index, value) in values.enumerate() {
        write(encoder, &value).map_err(|error| error.within(Step::Index(index)))?;
    }
    encoder.end();
    Ok(())
}

fn map(encoder: &mut Encoder<'_>, dict: &Bound<'_, PyDict>) -> Result<(), EncodeError> {
    // Before the entries are collected, because it refuses a dictionary that is too large.
    encoder.begin_map(dict.len())?;
    let mut entries = Vec::with_capacity(dict.len());
    for (key, value) in dict.iter() {
        entries.push((text_key(key)?, value));
    }
    entries.sort_unstable_by(|(a, _), (b, _)| key_order(a, b));
    for (key, value) in entries {
        let entry = encoder.key(&key).map_err(EncodeError::from).and_then(|()| write(encoder, &value));
        entry.map_err(|error| error.within(Step::Key(key.to_string())))?;
    }
    encoder.end();
    Ok(())
}

fn text_key(key: Bound<'_, PyAny>) -> Result<PyBackedStr, EncodeReason> {
    match key.cast_into_exact::<PyString>() {
        Ok(key) => PyBackedStr::try_from(key).map_err(|_| EncodeReason::Utf8),
        Err(error) => Err(EncodeReason::KeyType(type_name(&error.into_inner()))),
    }
}

fn refusal(value: &Bound<'_, PyAny>) -> EncodeReason {
    if value.is_instance_of::<PyFloat>() { EncodeReason::Float } else { EncodeReason::Type(type_name(value)) }
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}
