//! Credentials in mounted files, such as a Kubernetes secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Credential, Fetch, Lease, Source, SourceClient};
use crate::clock::Clock;
use crate::files::{self, FileError, POLL, Reader, SETTLE};
use crate::refresh::FetchError;
use crate::secret::Secret;

/// Maximum file size. The longest tokens are below 16 KiB.
const BYTES: u64 = 64 * 1024;

const ID: &str = "access_key_id";
const SECRET: &str = "access_key_secret";
const TOKEN: &str = "security_token";

/// Credentials in a directory, or a token in a file.
#[derive(Debug)]
pub struct Directory {
    content: Content,
    poll: Duration,
    settle: Duration,
    reader: Reader<Result<Credential, Problems>>,
}

#[derive(Debug, Clone)]
enum Content {
    Key(PathBuf),
    Token(PathBuf),
}

impl Directory {
    /// A directory with the files `access_key_id`, `access_key_secret` and, if any,
    /// `security_token`.
    pub fn of_key(path: impl Into<PathBuf>) -> Self {
        Self::of(Content::Key(path.into()))
    }

    /// A file with a token that is sent as it is.
    pub fn of_token(path: impl Into<PathBuf>) -> Self {
        Self::of(Content::Token(path.into()))
    }

    fn of(content: Content) -> Self {
        Self { content, poll: POLL, settle: SETTLE, reader: Reader::default() }
    }

    /// Overrides the poll interval, and how long a change must be stable.
    #[must_use]
    pub fn with_times(mut self, poll: Duration, settle: Duration) -> Self {
        (self.poll, self.settle) = (poll, settle);
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    /// All problems of the files.
    pub fn read(&self) -> Result<Credential, Problems> {
        self.content.read()
    }
}

impl Content {
    fn read(&self) -> Result<Credential, Problems> {
        match self {
            Self::Key(folder) => read_key(folder),
            Self::Token(path) => {
                let one = |problem| Problems(vec![problem]);
                let token = read_part(path).map_err(one)?;
                let of_path = |error| one(format!("{}: {error}", path.display()));
                Credential::token(token).map_err(of_path)
            }
        }
    }
}

impl Source for Directory {
    fn fetch<'a>(&'a self, _: &'a SourceClient, _: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            // Mixing old and new parts of a key makes wrong signatures, which lock the key.
            let content = self.content.clone();
            let read = self.reader.settled(self.settle, move || content.read()).await;
            let credential = read.map_err(FetchError::new)?;
            credential.map(Lease::open).map_err(|problems| FetchError::new(problems.to_string()))
        })
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.poll)
    }
}

/// A secret in a file: one line of any characters.
#[derive(Debug, Clone)]
pub struct SecretFile {
    path: PathBuf,
    reader: Arc<Reader<Result<Secret, String>>>,
}

impl<T: Into<PathBuf>> From<T> for SecretFile {
    fn from(path: T) -> Self {
        Self { path: path.into(), reader: Arc::default() }
    }
}

impl SecretFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The problem of the file, with its path and without its content.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        read_secret(&self.path)
    }

    /// The same on a blocking thread, so that a hung file system delays no call.
    ///
    /// # Errors
    /// As [`SecretFile::read`].
    pub(crate) async fn fetch(&self) -> Result<Secret, String> {
        let path = self.path.clone();
        let read = self.reader.read(move || read_secret(&path)).await;
        read.unwrap_or_else(|why| Err(format!("{}: {why}", self.path.display())))
    }

    /// Reads the identity token of a workload. Surrounding whitespace is not part of it.
    ///
    /// # Errors
    /// As [`SecretFile::read`].
    pub(crate) async fn fetch_token(&self) -> Result<Secret, FetchError> {
        let path = self.path.clone();
        let read = self.reader.read(move || {
            let token = read_part(&path)?;
            match token.expose().trim() {
                "" => Err(format!("{}: is empty", path.display())),
                token => Ok(Secret::new(token)),
            }
        });
        let read = read.await.map_err(|why| format!("{}: {why}", self.path.display()));
        read.and_then(|token| token).map_err(FetchError::new)
    }
}

fn read_secret(path: &Path) -> Result<Secret, String> {
    let secret = read_part(path)?;
    if secret.expose().contains(char::is_control) {
        return Err(format!(
            "{}: contains a control character or more than one line",
            path.display()
        ));
    }
    Ok(secret)
}

/// The problems of credential files, with paths and without content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Iterates over the problems.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

fn read_key(folder: &Path) -> Result<Credential, Problems> {
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
    Err(Problems(problems))
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
        assert_eq!(error.iter().count(), 2, "{error}");
        std::fs::write(folder.0.join(ID), "EXAMPLEID").unwrap();
        std::fs::write(folder.0.join(SECRET), "exampleSecret with a space").unwrap();
        std::fs::create_dir(folder.0.join(TOKEN)).unwrap();
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("security_token: is not a regular file"), "{error}");
        std::fs::remove_dir(folder.0.join(TOKEN)).unwrap();
        let error = source.read().unwrap_err().to_string();
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
