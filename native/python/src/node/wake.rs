//! How the core wakes an event loop: a socket pair, one byte for each batch.

use std::{
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
};

use covm_core::queue::Wake;

/// The reading end, for the event loop. Readable while something waits in the queue.
pub struct Bell {
    reading: Arc<Mutex<UnixStream>>,
    fd: RawFd,
}

/// The writing end, for the core.
pub struct Ringer {
    writing: UnixStream,
    reading: Arc<Mutex<UnixStream>>,
}

/// Makes the two ends; neither ever blocks.
///
/// # Errors
/// When the process has no descriptors left.
pub fn bell() -> std::io::Result<(Bell, Ringer)> {
    let (writing, reading) = UnixStream::pair()?;
    writing.set_nonblocking(true)?;
    reading.set_nonblocking(true)?;
    let fd = reading.as_raw_fd();
    let reading = Arc::new(Mutex::new(reading));
    let bell = Bell { reading: Arc::clone(&reading), fd };
    Ok((bell, Ringer { writing, reading }))
}

impl Bell {
    /// The descriptor to watch.
    pub const fn fd(&self) -> RawFd {
        self.fd
    }
}

impl Wake for Ringer {
    fn raise(&self) {
        // A full socket is already readable, and a closed one has nobody to wake.
        let _ = (&self.writing).write(&[1]);
    }

    fn lower(&self) {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rung = [0; 64];
        // Nothing to read only means that nothing was rung.
        let _ = (&*reading).read(&mut rung);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // The core may still hold its half for a moment; shut down, it wakes nobody.
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = reading.shutdown(std::net::Shutdown::Both);
    }
}
