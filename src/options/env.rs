//! The only access to the environment of the process.

/// Looks up an environment variable.
///
/// # Errors
/// If the value is not UTF-8.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<String>, NotText>;

/// A variable whose value is not UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct NotText;

/// The names of all variables of the process with this prefix, in order. Those that are not UTF-8
/// are shown as well as they can be.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn names(prefix: &str) -> Vec<String> {
    let all = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut names: Vec<_> = all.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

/// Reads the environment of the process. Empty counts as unset.
///
/// # Errors
/// If the value is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(name: &str) -> Result<Option<String>, NotText> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(NotText),
    }
}
