//! DAG-CBOR to and from Python values, and links.

use pyo3::create_exception;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use covm_core::dagcbor::{self, Cid};

mod names;
mod read;
mod write;

create_exception!(
    covm._native,
    EncodeError,
    PyValueError,
    "A value has no canonical encoding: `path` leads to it, as `payload.options[0].price`, and `reason` names the rule."
);
create_exception!(
    covm._native,
    DecodeError,
    PyValueError,
    "Bytes are not canonical DAG-CBOR: `reason` names the rule, `offset` the byte at which it was found broken."
);

/// A link to other content: a CID, version 0 or 1, from its text or its bytes.
///
/// There is one spelling of each: text in base32 (base58 for version 0), bytes without anything after them.
/// Raises ValueError for anything else.
#[pyclass(frozen, eq, hash, module = "covm._native")]
#[derive(PartialEq, Eq, Hash)]
pub struct Link(Cid);

#[pymethods]
impl Link {
    #[new]
    fn new(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = value.cast::<PyString>() {
            return parse(text.to_str()?).map(Self);
        }
        let Ok(bytes) = value.cast::<PyBytes>() else {
            let kind = value.get_type().name()?;
            return Err(PyTypeError::new_err(format!("a Link is made from str or bytes, not {kind}")));
        };
        let cid = dagcbor::cid_from_bytes(bytes.as_bytes());
        let message = "the bytes are not one CID; give its binary form, without multibase prefix, tag or leading zero";
        cid.map(Self).ok_or_else(|| PyValueError::new_err(message))
    }

    /// The binary CID.
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Link('{}')", self.0)
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>,) {
        (self.bytes(py),)
    }
}

fn parse(text: &str) -> PyResult<Cid> {
    let spelled = Cid::try_from(text).ok().and_then(|cid| dagcbor::cid_from_bytes(&cid.to_bytes()));
    match spelled.map(|cid| (cid, cid.to_string())) {
        Some((cid, canonical)) if canonical == text => Ok(cid),
        Some((_, canonical)) => {
            Err(PyValueError::new_err(format!("{text:?} is not how this CID is spelled here; write {canonical:?}")))
        }
        None => Err(PyValueError::new_err(format!("{text:?} is not a CID; a CID looks like \"bafyrei...\""))),
    }
}

/// Encode a value as canonical DAG-CBOR.
///
/// Takes None, bool, int (-2**63 to 2**64-1), str, bytes, list, tuple, dict with str keys, and Link, by exact type.
/// Raises EncodeError, with the path of the value, for anything else, a float above all, and beyond the limits:
/// 2 MiB, 32 levels, keys of 256 bytes, 65,536 entries in one container and 262,144 items in all.
#[pyfunction]
fn encode<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    match write::encode(value) {
        Ok(bytes) => Ok(PyBytes::new(py, &bytes)),
        Err(error) => {
            let raised = EncodeError::new_err(error.to_string());
            raised.value(py).setattr("path", error.path())?;
            raised.value(py).setattr("reason", error.reason.name())?;
            Err(raised)
        }
    }
}

/// Decode canonical DAG-CBOR: None, bool, int, str, bytes, list, dict and Link.
///
/// Nothing is built from bytes that break a rule or a limit (those of `encode`); they raise DecodeError with `reason`
/// and `offset`. What decodes encodes to the same bytes again.
#[pyfunction]
fn decode<'py>(data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    let py = data.py();
    read::decode(py, data.as_bytes())?.map_err(|error| {
        let raised = DecodeError::new_err(error.to_string());
        let value = raised.value(py);
        let told = value.setattr("reason", error.reason.name()).and_then(|()| value.setattr("offset", error.offset));
        told.err().unwrap_or(raised)
    })
}

/// The id of encoded bytes: CIDv1, dag-cbor, sha2-256.
#[pyfunction]
fn cid(data: &[u8]) -> Link {
    Link(dagcbor::cid_of(data))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("EncodeError", py.get_type::<EncodeError>())?;
    module.add("DecodeError", py.get_type::<DecodeError>())?;
    module.add_class::<Link>()?;
    module.add_function(wrap_pyfunction!(encode, module)?)?;
    module.add_function(wrap_pyfunction!(decode, module)?)?;
    module.add_function(wrap_pyfunction!(cid, module)?)
}
