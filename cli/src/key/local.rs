//! The local end of a download: a file appears whole or not at all.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use uuid::Uuid;

use crate::error::{CliError, Result};

/// Where a download goes.
#[derive(Debug)]
pub(super) struct LocalTarget {
    path: PathBuf,
    /// What is there now.
    found: Option<Metadata>,
}

impl LocalTarget {
    /// `path`, or in the directory `path` the last part of the key's name. Something that is there
    /// already is refused unless `force`.
    pub(super) async fn find(path: PathBuf, key: &str, force: bool) -> Result<Self> {
        let mut target = Self::look(path).await?;
        if target.found.as_ref().is_some_and(Metadata::is_dir) {
            let name = key.trim_end_matches('/').rsplit('/').next();
            target = Self::look(target.path.join(name.unwrap_or(key))).await?;
        }
        match &target.found {
            Some(found) if found.is_dir() => {
                let error = io::Error::from(io::ErrorKind::IsADirectory);
                Err(CliError::local(&target.path)(error))
            }
            Some(_) if !force => Err(CliError::Exists(target.path)),
            _ => Ok(target),
        }
    }

    async fn look(path: PathBuf) -> Result<Self> {
        let found = match fs::metadata(&path).await {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(CliError::local(&path)(error)),
        };
        Ok(Self { path, found })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has `write` write the file. When it fails, what was there stays as it was; only a device or
    /// a pipe takes the bytes as they come.
    pub(super) async fn fill(
        &self,
        write: impl AsyncFnOnce(&mut File) -> Result<()>,
    ) -> Result<()> {
        if self.found.as_ref().is_some_and(|found| !found.is_file()) {
            let mut options = OpenOptions::new();
            let opened = options.write(true).open(&self.path).await;
            return write(&mut opened.map_err(|e| self.failed(e))?).await;
        }
        let whole = self.whole().await.map_err(|e| self.failed(e))?;
        // The key's name may be as long as a name can be.
        let part = whole.with_file_name(format!(".ozone-{}.part", Uuid::new_v4()));
        let created = File::create_new(&part).await;
        let mut file = created.map_err(|e| self.failed(e))?;
        let written = match write(&mut file).await {
            Ok(()) => self.complete(&file, &part, &whole).await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            // What went wrong first is what the user has to know.
            let _ = fs::remove_file(&part).await;
        }
        written
    }

    /// The file that gets the content: where links lead, if the target is one.
    async fn whole(&self) -> io::Result<PathBuf> {
        match self.found {
            Some(_) => fs::canonicalize(&self.path).await,
            None => Ok(self.path.clone()),
        }
    }

    /// Gives a complete file its name, with the permissions of the one that it replaces.
    async fn complete(&self, file: &File, part: &Path, whole: &Path) -> Result<()> {
        if let Some(found) = &self.found {
            let kept = file.set_permissions(found.permissions()).await;
            kept.map_err(|e| self.failed(e))?;
        }
        let renamed = fs::rename(part, whole).await;
        renamed.map_err(|e| self.failed(e))
    }

    fn failed(&self, error: io::Error) -> CliError {
        CliError::local(&self.path)(error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn download(path: &Path, force: bool, fails: bool) -> Result<()> {
        let target = LocalTarget::find(path.to_owned(), "dir/key1", force).await?;
        let write = async |file: &mut File| {
            file.write_all(b"new").await.unwrap();
            file.flush().await.unwrap();
            match fails {
                true => Err(CliError::Argument("lost".to_owned())),
                false => Ok(()),
            }
        };
        target.fill(write).await
    }

    fn names(dir: &TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_directory_gets_a_file_of_the_keys_last_name() {
        let dir = TempDir::new().unwrap();
        download(dir.path(), false, false).await.unwrap();
        assert_eq!(std::fs::read(dir.path().join("key1")).unwrap(), b"new");
        let error = download(dir.path(), false, false).await.unwrap_err();
        let path = dir.path().join("key1");
        assert_eq!(
            error.to_string(),
            format!(
                "{} exists. Download would overwrite an existing file. Aborting.",
                path.display()
            )
        );
    }

    #[tokio::test]
    async fn a_key_with_the_longest_name_is_downloaded() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("n".repeat(255));
        download(&path, false, false).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[tokio::test]
    async fn a_failed_download_leaves_no_file_and_spoils_none() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("file");
        download(&path, false, true).await.unwrap_err();
        assert!(names(&dir).is_empty());
        std::fs::write(&path, b"old").unwrap();
        download(&path, true, true).await.unwrap_err();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(&dir), ["file"]);
    }

    #[tokio::test]
    async fn a_forced_download_keeps_links_and_permissions() {
        let dir = TempDir::new().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&path, b"old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        download(&link, true, false).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_device_takes_the_bytes_itself() {
        download(Path::new("/dev/null"), true, false).await.unwrap();
        let found = std::fs::metadata("/dev/null").unwrap();
        assert!(!found.is_file());
    }

    #[tokio::test]
    async fn a_missing_directory_is_said_with_the_path_that_was_given() {
        let path = Path::new("/no/such/dir/file");
        let error = download(path, false, false).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error: File not found: /no/such/dir/file"
        );
    }
}
