//! Defences are process-wide: a test that switches one off runs alone.

use tokio::sync::{RwLock, RwLockReadGuard};

static DEFENCES: RwLock<()> = RwLock::const_new(());

/// Held by every test that needs all defences up.
pub async fn defended() -> RwLockReadGuard<'static, ()> {
    DEFENCES.read().await
}

#[cfg(feature = "switches")]
pub use off::without;

#[cfg(feature = "switches")]
mod off {
    use covm_core::switches;
    use tokio::sync::RwLockWriteGuard;

    use super::DEFENCES;

    /// A defence that is off until this is dropped.
    pub struct Off {
        name: &'static str,
        _alone: RwLockWriteGuard<'static, ()>,
    }

    /// Switches the named defence off for one test.
    pub async fn without(name: &'static str) -> Off {
        let alone = DEFENCES.write().await;
        switches::switch_off(name).unwrap();
        Off { name, _alone: alone }
    }

    impl Drop for Off {
        fn drop(&mut self) {
            switches::switch_on(self.name).unwrap();
        }
    }
}
