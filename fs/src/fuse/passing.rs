//! Files that the kernel reads by itself, as it is told of them: with the answer to an open.

use std::io;
use std::os::fd::BorrowedFd;

use fuser::ReplyOpen;

use crate::lent::{PassThrough, Registration};

/// The answer to an open, through which the kernel is told.
pub(super) struct Passing<'a>(pub(super) &'a ReplyOpen);

impl PassThrough for Passing<'_> {
    fn register(&self, file: BorrowedFd<'_>) -> io::Result<Registration> {
        Ok(Box::new(self.0.open_backing(file)?))
    }
}
