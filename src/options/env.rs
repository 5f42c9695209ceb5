//! The environment of the process, which nothing else reads.

/// Looks up a variable of the environment.
///
/// # Errors
/// When its value is not UTF-8.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<String>, NotText>;

/// A variable whose value is not UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct NotText;

/// The process's own environment. An empty variable counts as none.
///
/// # Errors
/// When the value is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(name: &str) -> Result<Option<String>, NotText> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(NotText),
    }
}
