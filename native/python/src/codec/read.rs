//! Python values straight from DAG-CBOR that the core has already checked.

use std::cell::RefCell;
use std::fmt;
use std::sync::MutexGuard;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyString};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use covm_core::dagcbor::{self, DecodeError, Limits};

use super::Link;
use super::names::{Names, names};

/// The value that `data` encodes. The outer error is Python's own, such as MemoryError.
pub(super) fn decode<'py>(py: Python<'py>, data: &[u8]) -> PyResult<Result<Bound<'py, PyAny>, DecodeError>> {
    let shared = Shared { raised: RefCell::new(None), names: RefCell::new(names()) };
    let decoded = dagcbor::decode_with(data, &Limits::default(), Build { py, shared: &shared });
    match shared.raised.into_inner() {
        Some(error) => Err(error),
        None => Ok(decoded),
    }
}

/// What the values of one document share while they are built.
struct Shared {
    /// What Python raised: serde's errors cannot carry it.
    raised: RefCell<Option<PyErr>>,
    /// The keys of earlier documents.
    names: RefCell<Option<MutexGuard<'static, Names>>>,
}

/// Builds one value.
#[derive(Clone, Copy)]
struct Build<'a, 'py> {
    py: Python<'py>,
    shared: &'a Shared,
}

impl<'py> Build<'_, 'py> {
    fn keep<T, E: Error>(&self, result: PyResult<T>) -> Result<T, E> {
        result.map_err(|error| {
            self.shared.raised.replace(Some(error));
            E::custom("Python raised")
        })
    }

    fn build<T: IntoPyObjectExt<'py>, E: Error>(self, value: T) -> Result<Bound<'py, PyAny>, E> {
        self.keep(value.into_bound_py_any(self.py))
    }
}

impl<'de, 'py> DeserializeSeed<'de> for Build<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 'py> Visitor<'de> for Build<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that Python has a type for")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.py.None().into_bound(self.py))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        self.visit_none()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PyBool::new(self.py, value).to_owned().into_any())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        self.build(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        self.build(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(PyString::new(self.py, value).into_any())
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Self::Value, E> {
        Ok(PyBytes::new(self.py, value).into_any())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let list = PyList::empty(self.py);
        while let Some(value) = entries.next_element_seed(self)? {
            self.keep(list.append(value))?;
        }
        Ok(list.into_any())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let dict = PyDict::new(self.py);
        while let Some(key) = entries.next_key_seed(BuildKey(self))? {
            let value = entries.next_value_seed(self)?;
            self.keep(dict.set_item(key, value))?;
        }
        Ok(dict.into_any())
    }

    /// The deserializer shows a link, and nothing else, as a newtype.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(BuildLink(self))
    }
}

/// Builds a map key.
struct BuildKey<'a, 'py>(Build<'a, 'py>);

impl<'de, 'py> DeserializeSeed<'de> for BuildKey<'_, 'py> {
    type Value = Bound<'py, PyString>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'py> Visitor<'_> for BuildKey<'_, 'py> {
    type Value = Bound<'py, PyString>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let Build { py, shared } = self.0;
        Ok(match shared.names.borrow_mut().as_mut() {
            Some(names) => names.get(py, key),
            None => PyString::new(py, key),
        })
    }
}

/// Builds a link from the bytes of its CID.
struct BuildLink<'a, 'py>(Build<'a, 'py>);

impl<'py> Visitor<'_> for BuildLink<'_, 'py> {
    type Value = Bound<'py, PyAny>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the bytes of a CID")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        let cid = dagcbor::Cid::try_from(bytes).map_err(|_| E::custom("not a CID"))?;
        self.0.build(Link(cid))
    }
}
