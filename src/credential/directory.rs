//! A mounted directory: one file for each part of a key, as Kubernetes mounts a secret.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Credential, Exchange, Fetch, Lease, Source, SourceError};
use crate::clock::Clock;
use crate::secret::Secret;

/// How often the files are read. By content, not by notification: a mounted secret changes
/// by the swap of a symbolic link beside it, and network file systems notify of nothing.
const POLL: Duration = Duration::from_secs(2);

/// A change is believed when it was the same for so long. A key that is being written, file
/// by file, would otherwise be used half old and half new, and few wrong signatures lock it.
const SETTLE: Duration = Duration::from_secs(1);

/// Larger files are no credentials. The longest tokens are below 16 KiB.
const BYTES: u64 = 64 * 1024;

const ID: &str = "access_key_id";
const SECRET: &str = "access_key_secret";
const TOKEN: &str = "security_token";

/// Credentials of files.
#[derive(Debug, Clone)]
pub struct Directory {
    what: What,
    poll: Duration,
    settle: Duration,
}

#[derive(Debug, Clone)]
enum What {
    Key(PathBuf),
    Token(PathBuf),
}

impl Directory {
    /// The files `access_key_id`, `access_key_secret` and, where there is one,
    /// `security_token` of this directory.
    pub fn of_key(path: impl Into<PathBuf>) -> Self {
        Self { what: What::Key(path.into()), poll: POLL, settle: SETTLE }
    }

    /// This one file, which holds a token that is sent as it is.
    pub fn of_token(path: impl Into<PathBuf>) -> Self {
        Self { what: What::Token(path.into()), poll: POLL, settle: SETTLE }
    }

    /// Reads so often, and believes a change after so long, instead of the defaults.
    #[must_use]
    pub fn with_times(mut self, poll: Duration, settle: Duration) -> Self {
        (self.poll, self.settle) = (poll, settle);
        self
    }

    /// Reads the files now.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn read(&self) -> Result<Credential, Problems> {
        match &self.what {
            What::Key(folder) => read_key(folder),
            What::Token(path) => {
                let token = read_part(path, false)
                    .map_err(|problem| Problems(vec![problem]))?
                    .unwrap_or_else(|| Secret::new(""));
                Credential::token(token)
                    .map_err(|error| Problems(vec![format!("{}: {error}", path.display())]))
            }
        }
    }
}

impl Source for Directory {
    fn fetch<'a>(&'a self, _: &'a Exchange, _: &'a dyn Clock) -> Fetch<'a> {
        Box::pin(async {
            let mut found = self.read_aside().await?;
            loop {
                tokio::time::sleep(self.settle).await;
                let again = self.read_aside().await?;
                if found == again {
                    return Ok(Lease::open(again));
                }
                found = again;
            }
        })
    }

    fn poll(&self) -> Option<Duration> {
        Some(self.poll)
    }
}

impl Directory {
    /// Reads where a file system that hangs holds up nobody else.
    async fn read_aside(&self) -> Result<Credential, SourceError> {
        let directory = self.clone();
        match tokio::task::spawn_blocking(move || directory.read()).await {
            Ok(read) => read.map_err(|problems| SourceError::new(problems.to_string())),
            Err(_) => Err(SourceError::new("the gateway is ending")),
        }
    }
}

/// The token that proves a workload's identity, as it is mounted now. Spaces and line ends
/// around it are not part of it.
pub(crate) async fn read_identity_token(path: PathBuf) -> Result<Secret, SourceError> {
    let reading = tokio::task::spawn_blocking(move || {
        let token = read_part(&path, false)?.unwrap_or_else(|| Secret::new(""));
        match token.expose().trim() {
            "" => Err(format!("{}: is empty", path.display())),
            token => Ok(Secret::new(token)),
        }
    });
    match reading.await {
        Ok(read) => read.map_err(SourceError::new),
        Err(_) => Err(SourceError::new("the gateway is ending")),
    }
}

/// The secret that a file holds, whatever characters it is made of, but on one line.
///
/// # Errors
/// What is wrong with the file, by its path and without what is in it.
pub(crate) fn read_secret(path: &Path) -> Result<Secret, String> {
    let secret = read_part(path, false)?.unwrap_or_else(|| Secret::new(""));
    if secret.expose().contains(char::is_control) {
        return Err(format!("{}: holds a control character or more than one line", path.display()));
    }
    Ok(secret)
}

/// What is wrong with files of credentials, by their paths and without what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// One after the other.
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
        read_part(&folder.join(name), optional).unwrap_or_else(|problem| {
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

/// The text of a file without the line end that editors and `echo` put behind it.
fn read_part(path: &Path, optional: bool) -> Result<Option<Secret>, String> {
    let wrong = |why: &str| Err(format!("{}: {why}", path.display()));
    match std::fs::metadata(path) {
        Ok(found) if found.len() > BYTES => return wrong("is too large for a credential"),
        Ok(found) if !found.is_file() => return wrong("is not a file"),
        _ => {}
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if optional && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return wrong(&error.kind().to_string()),
    };
    if bytes.starts_with(b"\xef\xbb\xbf") || bytes.starts_with(b"\xff\xfe") {
        return wrong("begins with a byte order mark; save it as plain UTF-8");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return wrong("is not text");
    };
    let text = zeroize::Zeroizing::new(text);
    let line = text.strip_suffix('\n').unwrap_or(&text);
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
    fn one_line_end_is_dropped_and_nothing_else() {
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
            match (read_part(&path, false), want) {
                (Ok(Some(found)), Ok(want)) => assert_eq!(found.expose(), want),
                (Err(found), Err(want)) => {
                    assert!(found.contains(want), "{found}");
                    assert!(found.contains(SECRET), "{found}");
                }
                (found, want) => panic!("{bytes:?}: {found:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn everything_wrong_is_told_by_path_and_without_content() {
        let folder = Folder::new("wrong");
        let source = Directory::of_key(&folder.0);
        let told = source.read().unwrap_err();
        assert_eq!(told.iter().count(), 2, "{told}");
        std::fs::write(folder.0.join(ID), "EXAMPLEID").unwrap();
        std::fs::write(folder.0.join(SECRET), "exampleSecret with a space").unwrap();
        std::fs::create_dir(folder.0.join(TOKEN)).unwrap();
        let told = source.read().unwrap_err().to_string();
        assert!(told.contains("security_token: is not a file"), "{told}");
        std::fs::remove_dir(folder.0.join(TOKEN)).unwrap();
        let told = source.read().unwrap_err().to_string();
        assert!(told.contains("the access key secret holds a character"), "{told}");
        assert!(!told.contains("exampleSecret"), "{told}");
    }

    #[test]
    fn the_token_is_optional_in_a_key_and_not_alone() {
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
