//! Map keys that were built lately, kept so that the next message's need not be built and hashed again.
//!
//! Interning would do the same, but Python may keep interned strings for ever and these come from the network. Here a
//! key takes the slot that its bytes lead to and whoever was there gives way, so a flood of names costs others a little
//! time and no memory.

use std::sync::{LazyLock, Mutex, MutexGuard, TryLockError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyString;

/// Slots: our own types have fewer than a hundred field names; users' bring some more. A power of two.
const SLOTS: usize = 512;
/// The longest key that is kept. Field names are shorter; keys that are ids seldom come again.
const KEPT_BYTES: usize = 32;

static KEPT: LazyLock<Mutex<Names>> = LazyLock::new(|| Mutex::new(Names(std::array::from_fn(|_| None))));

/// The keys kept.
pub(super) struct Names([Option<PyBackedStr>; SLOTS]);

/// The keys kept, unless someone else is at them: a collection of garbage in the middle of decoding may run Python code
/// that decodes, and it goes without.
pub(super) fn names() -> Option<MutexGuard<'static, Names>> {
    match KEPT.try_lock() {
        Ok(names) => Some(names),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Names {
    /// The Python string for `key`.
    pub(super) fn get<'py>(&mut self, py: Python<'py>, key: &str) -> Bound<'py, PyString> {
        if key.len() > KEPT_BYTES {
            return PyString::new(py, key);
        }
        let slot = &mut self.0[slot(key.as_bytes())];
        match slot {
            Some(kept) if **kept == *key => kept.as_py_str().bind(py).clone(),
            _ => {
                let new = PyString::new(py, key);
                *slot = PyBackedStr::try_from(new.clone()).ok();
                new
            }
        }
    }
}

/// FNV-1a: nothing depends on the slots but speed.
fn slot(key: &[u8]) -> usize {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = key.iter().fold(0x811c_9dc5, mix);
    (hash ^ (hash >> 16)) as usize % SLOTS
}
