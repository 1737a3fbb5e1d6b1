//! Node keys, and the envelopes that they sign. Secrets stay on this side of the border.

use std::path::PathBuf;

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyString};

use covm_core::did::{did_key, did_key_of_peer};
use covm_core::keyfile::{self, Seed};
use covm_core::{PeerId, envelope, limits, records};

create_exception!(
    covm._native,
    KeyFileError,
    PyException,
    "A key file could not be read or made. `code` is missing, exists, permissions, owner, symlink, damaged, \
     passphrase_needed, wrong_passphrase, changed or io."
);

/// A node's Ed25519 key pair. The secret never reaches Python: it can sign, and show its peer id.
#[pyclass(frozen, module = "covm._native")]
pub struct Keypair {
    inner: keyfile::Keypair,
    peer_id: String,
}

impl Keypair {
    fn wrap(inner: keyfile::Keypair) -> Self {
        let peer_id = inner.public().to_peer_id().to_base58();
        Self { inner, peer_id }
    }

    /// The pair itself, for the core.
    pub const fn core(&self) -> &keyfile::Keypair {
        &self.inner
    }
}

#[pymethods]
impl Keypair {
    /// A new key that lives in memory only.
    #[staticmethod]
    fn generate() -> Self {
        Self::wrap(keyfile::Keypair::generate_ed25519())
    }

    /// The key that follows from a seed of 32 bytes, for tests and simulations: the seed stays in Python's memory.
    ///
    /// Raises ValueError for a seed of another length.
    #[staticmethod]
    fn from_seed(seed: &[u8]) -> PyResult<Self> {
        let message = || PyValueError::new_err(format!("a seed has 32 bytes, not {}", seed.len()));
        let seed: [u8; 32] = seed.try_into().map_err(|_| message())?;
        Ok(Self::wrap(keyfile::keypair(&Seed::new(seed))))
    }

    /// The key in the file at `path`; a passphrase that it does not need is not looked at. Raises KeyFileError, also if
    /// others can read the file.
    #[staticmethod]
    #[pyo3(signature = (path, passphrase=None))]
    fn load(py: Python<'_>, path: PathBuf, passphrase: Option<PyBackedBytes>) -> PyResult<Self> {
        let loaded = py.detach(|| keyfile::load(&path, passphrase.as_deref()));
        loaded.map(Self::wrap).map_err(|error| raise(py, &error))
    }

    /// Whose key the file at `path` has, and whether it is encrypted: (peer id, `did:key`, is encrypted). Of an encrypted
    /// one nobody has proved it yet. Raises KeyFileError.
    #[staticmethod]
    fn peek(py: Python<'_>, path: PathBuf) -> PyResult<(String, String, bool)> {
        let peeked = py.detach(|| keyfile::peek(&path)).map_err(|error| raise(py, &error))?;
        Ok((peeked.peer.to_base58(), did_key_of_peer(&peeked.peer), peeked.is_encrypted))
    }

    /// A new key, written to `path`, where nothing may be, encrypted if there is a passphrase; on disk when this
    /// returns. Missing directories are made with mode 0700. Raises KeyFileError.
    #[staticmethod]
    #[pyo3(signature = (path, passphrase=None))]
    fn create(py: Python<'_>, path: PathBuf, passphrase: Option<PyBackedBytes>) -> PyResult<Self> {
        let created = py.detach(|| keyfile::create(&path, passphrase.as_deref()));
        created.map(Self::wrap).map_err(|error| raise(py, &error))
    }

    /// Write the key at `path` again, encrypted with `new`, or not at all if that is None; after a crash it is the old
    /// file or the new one. Raises KeyFileError.
    #[staticmethod]
    fn set_passphrase(
        py: Python<'_>,
        path: PathBuf,
        old: Option<PyBackedBytes>,
        new: Option<PyBackedBytes>,
    ) -> PyResult<()> {
        let changed = py.detach(|| keyfile::set_passphrase(&path, old.as_deref(), new.as_deref()));
        changed.map_err(|error| raise(py, &error))
    }

    /// The peer id, in base58.
    #[getter]
    fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// The same public key as a `did:key`.
    #[getter]
    fn did_key(&self) -> String {
        let public = self.inner.public().try_into_ed25519();
        did_key(&public.expect("nodes have Ed25519 keys"))
    }

    /// Sign each payload as `kind` and wrap it in an envelope, in the same order.
    ///
    /// Other threads run meanwhile, and a large batch is spread over several. Raises ValueError for a payload with which
    /// an envelope would be larger than anyone opens (1 MiB + 64 KiB).
    fn seal<'py>(&self, py: Python<'py>, kind: &str, payloads: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyList>> {
        let sealed = py.detach(|| envelope::seal_many(&self.inner, kind, &payloads));
        if let Some(large) = sealed.iter().find(|sealed| sealed.len() > limits::ENVELOPE_BYTES) {
            let (found, limit) = (large.len(), limits::ENVELOPE_BYTES);
            let message = format!("an envelope would have {found} bytes and {limit} are allowed; send less at once");
            return Err(PyValueError::new_err(message));
        }
        PyList::new(py, sealed.iter().map(|sealed| PyBytes::new(py, sealed)))
    }

    fn __repr__(&self) -> String {
        format!("<Keypair {}>", self.peer_id)
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a Keypair cannot be pickled or copied: its secret does not leave the native core"))
    }
}

fn raise(py: Python<'_>, error: &keyfile::KeyFileError) -> PyErr {
    let raised = KeyFileError::new_err(error.to_string());
    raised.value(py).setattr("code", error.code()).err().unwrap_or(raised)
}

/// Open each envelope as `kind`: (author's peer id, payload), or why it was refused.
///
/// The reasons are too_large, malformed, not_canonical, wrong_kind, bad_signature and key_type. Other threads run
/// meanwhile, and a large batch is spread over several.
#[pyfunction]
fn open_envelopes<'py>(py: Python<'py>, kind: &str, envelopes: Vec<PyBackedBytes>) -> PyResult<Bound<'py, PyList>> {
    let opened = py.detach(|| envelope::open_many(kind, &envelopes));
    let list = PyList::empty(py);
    // One author often signed many in a row, and to spell a peer id takes as long as all else here.
    let mut last: Option<(PeerId, Bound<'py, PyString>)> = None;
    for opened in opened {
        match opened {
            Ok((peer, payload)) => {
                let name = match &last {
                    Some((same, name)) if *same == peer => name.clone(),
                    _ => PyString::new(py, &peer.to_base58()),
                };
                list.append((&name, PyBytes::new(py, &payload)))?;
                last = Some((peer, name));
            }
            Err(error) => list.append(PyString::intern(py, error.name()))?,
        }
    }
    Ok(list)
}

/// The records of a sync frame, which stand one behind the other: their envelopes, and each one's body or None.
///
/// `bare` has a bit for each, the lowest of the first byte first: set where no body follows. Raises ValueError for what
/// are not records, and for more than `limit`. Nothing is verified.
#[pyfunction]
fn split_records<'py>(
    py: Python<'py>,
    data: &[u8],
    bare: &[u8],
    limit: usize,
) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
    let found = records::split(data, bare, limit).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let envelopes = PyList::new(py, found.iter().map(|each| PyBytes::new(py, each.envelope)))?;
    let bodies = PyList::new(py, found.iter().map(|each| each.body.map(|body| PyBytes::new(py, body))))?;
    Ok((envelopes, bodies))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("KeyFileError", py.get_type::<KeyFileError>())?;
    module.add_class::<Keypair>()?;
    module.add_function(wrap_pyfunction!(open_envelopes, module)?)?;
    module.add_function(wrap_pyfunction!(split_records, module)?)
}
