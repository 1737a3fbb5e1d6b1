//! The PyO3 shell of covm's native core, nothing else.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use covm_core::switches::{self, SwitchError};

mod codec;
mod keys;
mod node;

/// Turn a defence off for the whole process, so that a test can show that it fails without it.
///
/// Raises RuntimeError in a build without switches, ValueError for a name that is no defence's.
#[pyfunction]
fn switch_off(name: &str) -> PyResult<()> {
    switches::switch_off(name).map_err(raise_switch)
}

/// Turn a defence on again. Raises as `switch_off` does.
#[pyfunction]
fn switch_on(name: &str) -> PyResult<()> {
    switches::switch_on(name).map_err(raise_switch)
}

/// The names of the defences that can be switched off: none in a build without switches.
#[pyfunction(name = "switches")]
fn switch_names() -> Vec<&'static str> {
    switches::names()
}

fn raise_switch(error: SwitchError) -> PyErr {
    let message = error.to_string();
    match error {
        SwitchError::NotBuilt => PyRuntimeError::new_err(message),
        SwitchError::Unknown(_) => PyValueError::new_err(message),
    }
}

/// The native core of covm: DAG-CBOR, signed envelopes, node keys, the libp2p node.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(switch_off, module)?)?;
    module.add_function(wrap_pyfunction!(switch_on, module)?)?;
    module.add_function(wrap_pyfunction!(switch_names, module)?)?;
    codec::register(module)?;
    keys::register(module)?;
    node::register(module)
}
