//! Buffers that are used again.
//!
//! In: a file to be read whole. Out: its bytes, in a buffer that comes back when they are let go. A thousand
//! bodies of a megabyte, each read into memory of its own by whichever thread is free, leave a few
//! megabytes with every one of the allocator's arenas, which it keeps. Deliberately absent: how many may be in memory at once.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// So many are kept.
const KEPT: usize = 4;

/// A larger buffer is given back to the system.
const LARGEST: usize = 2 << 20;

/// Buffers that nobody uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers {
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer in use.
struct Lent {
    bytes: Vec<u8>,
    buffers: Buffers,
}

impl Buffers {
    /// The bytes of a file that has `len` of them.
    pub(crate) fn read(&self, path: &Path, len: u64) -> io::Result<Bytes> {
        let bytes = self.lock().pop().unwrap_or_default();
        let mut lent = Lent { bytes, buffers: self.clone() };
        lent.bytes.reserve_exact(usize::try_from(len).unwrap_or(0));
        File::open(path)?.read_to_end(&mut lent.bytes)?;
        Ok(Bytes::from_owner(lent))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // Whoever panicked with the lock left a list that is whole.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut buffers = self.buffers.lock();
        if bytes.capacity() <= LARGEST && buffers.len() < KEPT {
            bytes.clear();
            buffers.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_who_reads_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let (long, short) = (folder.path().join("long"), folder.path().join("short"));
        std::fs::write(&long, "a long body").unwrap();
        std::fs::write(&short, "short").unwrap();
        let buffers = Buffers::default();
        let body = buffers.read(&long, 11).unwrap();
        let piece = body.slice(2..6);
        drop(body);
        assert!(buffers.lock().is_empty(), "a piece of it is in use");
        assert_eq!(buffers.read(&short, 5).unwrap(), "short");
        assert_eq!(piece, "long");
        drop(piece);
        assert_eq!(buffers.lock().len(), 2);
        assert_eq!(buffers.read(&short, 5).unwrap(), "short", "and nothing of what it held before");
        std::fs::write(&long, vec![b'x'; LARGEST + 1]).unwrap();
        drop(buffers.read(&long, 0).unwrap());
        assert_eq!(buffers.lock().len(), 1, "a large one is not kept");
        assert!(buffers.read(&folder.path().join("none"), 0).is_err());
        assert_eq!(buffers.lock().len(), 1, "nor lost where nothing was read");
    }
}
