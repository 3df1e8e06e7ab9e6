//! A path as the user wrote it, the filesystem that it leads to, and what is there.

use std::sync::Arc;

use ozone_client::ofs::FileStatus;

use super::error::{FsError, Result};
use super::location::{join, name_of, parent_of};
use super::system::System;

/// Something that a command is to work on.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// As the user wrote it, or would have: what output and errors call it.
    pub text: String,
    /// Where it is.
    pub system: Arc<System>,
    /// Its path there, in its one form.
    pub path: String,
    /// What is there.
    pub status: Option<FileStatus>,
}

impl Item {
    /// Whether anything is there.
    pub(super) fn exists(&self) -> bool {
        self.status.is_some()
    }

    /// Whether a directory is there.
    pub(super) fn is_directory(&self) -> bool {
        self.status.as_ref().is_some_and(FileStatus::is_directory)
    }

    /// What is there, or that nothing is.
    pub(super) fn status(&self) -> Result<&FileStatus> {
        self.status.as_ref().ok_or_else(|| self.missing())
    }

    /// That nothing is there.
    pub(super) fn missing(&self) -> FsError {
        FsError::missing(&self.text)
    }

    /// That nothing is there, with the whole address where the user wrote something else.
    pub(super) fn missing_in_full(&self) -> FsError {
        let full = self.full();
        let mut what = "No such file or directory".to_owned();
        if full != self.text {
            what = format!("{what}: `{full}'");
        }
        FsError::path(&self.text, what)
    }

    /// The whole address.
    pub(super) fn full(&self) -> String {
        format!("{}{}", self.system.uri(), self.path)
    }

    /// Its last name.
    pub(super) fn name(&self) -> &str {
        name_of(&self.path)
    }

    /// A name in this directory.
    pub(super) fn child(&self, name: &str, status: Option<FileStatus>) -> Self {
        let text = match self.text.as_str() {
            "." => name.to_owned(),
            text if text.ends_with('/') => format!("{text}{name}"),
            text => format!("{text}/{name}"),
        };
        Self {
            text,
            system: self.system.clone(),
            path: join(&self.path, name),
            status,
        }
    }

    /// Looks at what is there now.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        let found = self.system.found(&self.path).await;
        self.status = found.map_err(|trouble| trouble.at(&self.text))?;
        Ok(())
    }

    /// Whether the user wrote it as a directory.
    pub(super) fn looks_like_directory(&self) -> bool {
        matches!(
            self.text.rsplit('/').next().unwrap_or_default(),
            "" | "." | ".."
        )
    }

    /// Whether what it is in exists; of what is written as a directory, whether it exists itself.
    pub(super) async fn parent_exists(&self) -> Result<bool> {
        let parent = match self.looks_like_directory() {
            true => Some(self.path.as_str()),
            false => parent_of(&self.path),
        };
        let Some(parent) = parent else {
            return Ok(true);
        };
        let found = self.system.found(parent).await;
        Ok(found.map_err(|trouble| trouble.at(&self.text))?.is_some())
    }

    /// Whether both are in the same filesystem.
    pub(super) fn same_system(&self, other: &Self) -> bool {
        self.system.uri() == other.system.uri()
    }

    /// That it is a directory, where that is no use.
    pub(super) fn check_no_directory(&self) -> Result<()> {
        match self.is_directory() {
            true => Err(FsError::path(&self.text, "Is a directory")),
            false => Ok(()),
        }
    }

    /// That it is no directory, where one is needed.
    pub(super) fn check_directory(&self) -> Result<()> {
        match self.is_directory() {
            false => Err(FsError::path(&self.text, "Is not a directory")),
            true => Ok(()),
        }
    }
}
