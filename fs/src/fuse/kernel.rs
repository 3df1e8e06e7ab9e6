//! Telling the kernel what it must not believe any more.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::mpsc;

use fuser::{INodeNo, Notifier};

use crate::fuse::apart::Apart;
use crate::vfs::{KernelCache, Stale};

/// `FUSE_NOTIFY_INVAL_INODE` of the kernel's fuse.h.
const INVAL_INODE: i32 = 2;
/// `FUSE_NOTIFY_INVAL_ENTRY`.
const INVAL_ENTRY: i32 = 3;
/// Bytes of a message before what it says: its length, what it is, and the request that it answers, which is none.
const HEADER: usize = 16;

/// The cache of the kernel for one mount.
pub(crate) struct Kernel {
    pub(crate) notifier: Notifier,
    pub(crate) apart: Apart,
}

impl KernelCache for Kernel {
    fn forget(&self, stale: Vec<Vec<Stale>>) {
        let (told, failures) = mpsc::channel();
        for group in stale {
            let told = told.clone();
            self.apart.run(move |device| {
                // All of it is told, whatever the kernel says of one. Who waits is there until the last is.
                let failed = group.iter().filter_map(|stale| tell(device, stale).err());
                failed.for_each(|error| drop(told.send(error)));
            });
        }
        drop(told);
        for error in failures {
            tracing::debug!(%error, "the kernel was not told of a change");
        }
    }

    fn keep_bytes(&self, ino: u64, content: &[u8]) {
        if let Err(error) = self.notifier.store(INodeNo(ino), 0, content) {
            tracing::debug!(%error, "the kernel does not take the pages of a file");
        }
    }
}

/// Has the kernel forget this. That it does not know it is what was wanted.
fn tell(device: &File, stale: &Stale) -> io::Result<()> {
    let told = match stale {
        Stale::Name { dir, name } => {
            let length = u32::try_from(name.len()).map_err(io::Error::other)?;
            let place = [&dir.to_ne_bytes()[..], &length.to_ne_bytes(), &[0; 4]].concat();
            send(device, INVAL_ENTRY, &[&place, name, &[0]])
        }
        // From the first byte on, all of them.
        Stale::Inode(ino) => send(device, INVAL_INODE, &[&range(*ino, 0, 0)]),
        Stale::Bytes(ino, bytes) => {
            let length = bytes.end.saturating_sub(bytes.start);
            send(device, INVAL_INODE, &[&range(*ino, bytes.start, length)])
        }
    };
    match told {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        told => told,
    }
}

fn range(ino: u64, start: u64, length: u64) -> [u8; 24] {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut message = [0; 24];
    message[..8].copy_from_slice(&ino.to_ne_bytes());
    message[8..16].copy_from_slice(&signed(start).to_ne_bytes());
    message[16..].copy_from_slice(&signed(length).to_ne_bytes());
    message
}

/// Writes a message, which the kernel takes as a whole.
fn send(mut device: &File, code: i32, parts: &[&[u8]]) -> io::Result<()> {
    let length = HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..8].copy_from_slice(&code.to_ne_bytes());
    let slices: Vec<_> = std::iter::once(&header[..])
        .chain(parts.iter().copied())
        .map(IoSlice::new)
        .collect();
    device.write_vectored(&slices).map(drop)
}
