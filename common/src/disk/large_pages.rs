//! Bringing a part of a file into the page cache in pages as large as there are: what is read from there again and
//! again is read faster.

use std::fs::File;
use std::io;

use memmap2::{Advice, MmapOptions};

/// Waits until the bytes are in the cache. Filesystems and kernels without large pages use small ones.
pub(super) fn populate(file: &File, offset: u64, length: usize) -> io::Result<()> {
    // SAFETY: nothing is read through the mapping, so it does not matter what happens to the file meanwhile. The
    // kernel only is asked to bring its pages in, and says so if there are none.
    #[allow(unsafe_code)]
    let map = unsafe { MmapOptions::new().offset(offset).len(length).map(file) }?;
    // Without it the pages are as large as those of other reads.
    let _ = map.advise(Advice::HugePage);
    map.advise(Advice::PopulateRead)
}
