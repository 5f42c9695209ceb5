//! Credentials in mounted files, such as a Kubernetes secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::{Credential, Fetch, InvalidCredential, Lease, Source, SourceClient};
use crate::clock::Clock;
use crate::files::{self, FileError, POLL, Reader, SETTLE};
use crate::refresh::FetchError;
use crate::secret::Secret;
use crate::text;

/// Maximum file size. The longest tokens are below 16 KiB.
const BYTES: u64 = 64 * 1024;

const ID: &str = "access_key_id";
const SECRET: &str = "access_key_secret";
const TOKEN: &str = "security_token";

/// Credentials in a directory, or a token in a file.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    content: fn(&Path) -> Result<Credential, Vec<String>>,
    poll: Duration,
    settle: Duration,
    reader: Reader<Result<Credential, Vec<String>>>,
}

impl Directory {
    /// A directory with the files `access_key_id`, `access_key_secret` and, if any,
    /// `security_token`.
    pub fn of_key(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), key)
    }

    /// A file with a token that is sent as it is.
    pub fn of_token(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), token)
    }

    /// A file with the value of the `Authorization` header.
    pub fn of_authorization(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), authorization)
    }

    fn of(path: PathBuf, content: fn(&Path) -> Result<Credential, Vec<String>>) -> Self {
        Self { path, content, poll: POLL, settle: SETTLE, reader: Reader::default() }
    }

    /// Overrides the poll interval, and how long a change must be stable.
    #[must_use]
    pub fn with_times(mut self, poll: Duration, settle: Duration) -> Self {
        (self.poll, self.settle) = (poll, settle);
        self
    }

    /// Reads the files at the start.
    ///
    /// # Errors
    /// All problems of the files, with paths and without content.
    pub fn read(&self) -> Result<Credential, Vec<String>> {
        let (path, content) = (self.path.clone(), self.content);
        files::at_start(files::LIMIT, move || content(&path))
            .unwrap_or_else(|| Err(vec![format!("{}: {}", self.path.display(), FileError::Hung)]))
    }
}

impl Source for Directory {
    fn fetch<'a>(&'a self, _: &'a SourceClient, _: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            // Mixing old and new parts of a key makes wrong signatures, which lock the key.
            let (path, content) = (self.path.clone(), self.content);
            let read = self.reader.settled(self.settle, move || content(&path)).await;
            let credential = read.map_err(FetchError::new)?;
            credential.map(Lease::open).map_err(|problems| FetchError::new(problems.join("; ")))
        })
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.poll)
    }
}

/// A secret in a file that a source sends: a password, or the identity token of a workload.
#[derive(Debug, Clone)]
pub struct SecretFile {
    path: PathBuf,
    content: fn(&Path) -> Content,
    poll: Duration,
    settle: Duration,
    reader: Arc<Reader<Content>>,
    /// What was fetched last.
    last: Arc<ArcSwapOption<Content>>,
}

/// The secret, or the problem of the file, with its path and without its content.
type Content = Result<Secret, String>;

impl SecretFile {
    /// One line.
    pub fn of_password(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), read_password)
    }

    /// A token. Surrounding blanks and line ends are not part of it.
    pub fn of_token(path: impl Into<PathBuf>) -> Self {
        Self::of(path.into(), read_token)
    }

    fn of(path: PathBuf, content: fn(&Path) -> Content) -> Self {
        let (reader, last) = (Arc::default(), Arc::default());
        Self { path, content, poll: POLL, settle: SETTLE, reader, last }
    }

    /// Overrides the poll interval, and how long a change must be stable.
    #[must_use]
    pub fn with_times(self, poll: Duration, settle: Duration) -> Self {
        Self { poll, settle, ..self }
    }

    /// Reads the file at the start.
    pub(crate) fn read(&self) -> Content {
        let (path, content) = (self.path.clone(), self.content);
        files::at_start(files::LIMIT, move || content(&path))
            .unwrap_or_else(|| Err(format!("{}: {}", self.path.display(), FileError::Hung)))
    }

    /// Reads the file to send what it holds.
    pub(crate) async fn fetch(&self) -> Result<Secret, FetchError> {
        let found = self.current().await;
        self.last.store(Some(Arc::new(found.clone())));
        found.map_err(FetchError::new)
    }

    /// Returns once the file has changed since it was fetched, also if it has become unusable: this
    /// must be reported before a credential expires.
    pub(crate) async fn changed(&self) {
        loop {
            tokio::time::sleep(self.poll).await;
            if self.has_changed().await {
                return;
            }
        }
    }

    /// Whether the file has changed since it was fetched, and is stable.
    pub(crate) async fn has_changed(&self) -> bool {
        let found = self.current().await;
        if self.last.load().as_deref() == Some(&found) {
            return false;
        }
        tokio::time::sleep(self.settle).await;
        self.current().await == found
    }

    /// Reads on a blocking thread, so that a hung file system delays no call.
    async fn current(&self) -> Content {
        let (path, content) = (self.path.clone(), self.content);
        let read = self.reader.read(move || content(&path)).await;
        read.unwrap_or_else(|why| Err(format!("{}: {why}", self.path.display())))
    }
}

fn read_password(path: &Path) -> Content {
    let secret = read_part(path)?;
    usable(path, secret.expose(), text::fault)
}

fn read_token(path: &Path) -> Content {
    let token = read_part(path)?;
    usable(path, token.expose().trim(), text::header_fault)
}

fn usable(path: &Path, secret: &str, fault: fn(&str) -> Option<&'static str>) -> Content {
    match fault(secret) {
        Some(fault) => Err(format!("{}: {fault}", path.display())),
        None => Ok(Secret::new(secret)),
    }
}

fn token(path: &Path) -> Result<Credential, Vec<String>> {
    only_part(path, Credential::token)
}

fn authorization(path: &Path) -> Result<Credential, Vec<String>> {
    only_part(path, Credential::of_authorization)
}

fn only_part(
    path: &Path,
    credential: fn(Secret) -> Result<Credential, InvalidCredential>,
) -> Result<Credential, Vec<String>> {
    let of_path = |error| format!("{}: {error}", path.display());
    let credential = |text| credential(text).map_err(of_path);
    read_part(path).and_then(credential).map_err(|problem| vec![problem])
}

fn key(folder: &Path) -> Result<Credential, Vec<String>> {
    let mut problems = Vec::new();
    let mut part = |name: &str, optional: bool| {
        read_optional(&folder.join(name), optional).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    };
    let (id, secret, token) = (part(ID, false), part(SECRET, false), part(TOKEN, true));
    if let (Some(id), Some(secret), true) = (id, secret, problems.is_empty()) {
        match Credential::new(id.expose(), secret, token) {
            Ok(credential) => return Ok(credential),
            Err(error) => problems.push(format!("{}: {error}", folder.display())),
        }
    }
    Err(problems)
}

fn read_part(path: &Path) -> Result<Secret, String> {
    read_optional(path, false).map(|text| text.unwrap_or_else(|| Secret::new("")))
}

/// Reads a file without its last line end, which editors and `echo` add.
fn read_optional(path: &Path, optional: bool) -> Result<Option<Secret>, String> {
    let wrong = |why: &str| Err(format!("{}: {why}", path.display()));
    let bytes = match files::read(path, BYTES) {
        Ok(bytes) => bytes,
        Err(FileError::NotFound) if optional => return Ok(None),
        Err(error) => return wrong(&error.to_string()),
    };
    if bytes.starts_with(b"\xef\xbb\xbf") || bytes.starts_with(b"\xff\xfe") {
        return wrong("begins with a byte order mark; save it as plain UTF-8");
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return wrong("is not text");
    };
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line {
        "" if optional => Ok(None),
        "" => wrong("is empty"),
        line => Ok(Some(Secret::new(line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("savepoint-gateway-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_one_line_end_is_dropped() {
        let folder = Folder::new("parts");
        let path = folder.0.join(SECRET);
        for (bytes, want) in [
            (&b"exampleSecret"[..], Ok("exampleSecret")),
            (b"exampleSecret\n", Ok("exampleSecret")),
            (b"exampleSecret\r\n", Ok("exampleSecret")),
            (b"exampleSecret\n\n", Ok("exampleSecret\n")),
            (b" exampleSecret", Ok(" exampleSecret")),
            (b"", Err("is empty")),
            (b"\r\n", Err("is empty")),
            (b"\xef\xbb\xbfexampleSecret", Err("byte order mark")),
            (b"\xff\xfee\0x\0", Err("byte order mark")),
            (b"\x80", Err("is not text")),
        ] {
            std::fs::write(&path, bytes).unwrap();
            match (read_part(&path), want) {
                (Ok(found), Ok(want)) => assert_eq!(found.expose(), want),
                (Err(found), Err(want)) => {
                    assert!(found.contains(want), "{found}");
                    assert!(found.contains(SECRET), "{found}");
                }
                (found, want) => panic!("{bytes:?}: {found:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn all_problems_are_reported_with_paths_and_without_content() {
        let folder = Folder::new("wrong");
        let source = Directory::of_key(&folder.0);
        let error = source.read().unwrap_err();
        assert_eq!(error.len(), 2, "{error:?}");
        std::fs::write(folder.0.join(ID), "EXAMPLEID").unwrap();
        std::fs::write(folder.0.join(SECRET), "exampleSecret with a space").unwrap();
        std::fs::create_dir(folder.0.join(TOKEN)).unwrap();
        let error = source.read().unwrap_err().join("; ");
        assert!(error.contains("security_token: is not a regular file"), "{error}");
        std::fs::remove_dir(folder.0.join(TOKEN)).unwrap();
        let error = source.read().unwrap_err().join("; ");
        assert!(error.contains("the access key secret contains a character"), "{error}");
        assert!(!error.contains("exampleSecret"), "{error}");
    }

    #[test]
    fn a_token_is_optional_only_next_to_a_key() {
        let folder = Folder::new("token");
        std::fs::write(folder.0.join(ID), "EXAMPLEID\n").unwrap();
        std::fs::write(folder.0.join(SECRET), "exampleSecret\n").unwrap();
        for (token, want) in [("", None), ("exampleToken\n", Some("exampleToken"))] {
            std::fs::write(folder.0.join(TOKEN), token).unwrap();
            let credential = Directory::of_key(&folder.0).read().unwrap();
            let found = credential.access_key().unwrap().security_token();
            assert_eq!(found.map(Secret::expose), want);
        }
        let alone = Directory::of_token(folder.0.join(TOKEN));
        assert_eq!(alone.read().unwrap().auth_token().unwrap().expose(), "exampleToken");
        std::fs::write(folder.0.join(TOKEN), "").unwrap();
        assert!(alone.read().is_err());
    }
}
