//! What tests are made of: real swarms over TCP on loopback, all driven by the test itself.

// Each test binary uses its own part of this.
#![allow(dead_code, unused_imports)]

pub mod node;
pub mod probe;
pub mod raw;
pub mod world;

pub use node::{KAD, Node, Seen};
use tokio::sync::{RwLock, RwLockReadGuard};
pub use world::World;

pub const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

/// Switches are process-wide: who throws one takes this for writing, every other test for reading.
pub static SWITCHES: RwLock<()> = RwLock::const_new(());

pub async fn all_defences_on() -> RwLockReadGuard<'static, ()> {
    SWITCHES.read().await
}

/// Holds a defence off, alone in the process, until dropped.
#[cfg(feature = "switches")]
pub struct Off(covm_core::switches::Defence, #[allow(unused)] tokio::sync::RwLockWriteGuard<'static, ()>);

#[cfg(feature = "switches")]
impl Off {
    pub async fn only(defence: covm_core::switches::Defence) -> Self {
        let alone = SWITCHES.write().await;
        covm_core::switches::switch_off(defence.name()).unwrap();
        Self(defence, alone)
    }
}

#[cfg(feature = "switches")]
impl Drop for Off {
    fn drop(&mut self) {
        covm_core::switches::switch_on(self.0.name()).unwrap();
    }
}
