//! Secret texts.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text, zeroed when dropped, and printed as `[redacted]`.
///
/// Intentionally without `Display` and serialization: [`Secret::expose`], the only access to the
/// text, is easy to find in reviews.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing_of_the_text() {
        assert_eq!(format!("{:?}", Secret::new("exampleSecret")), "[redacted]");
        assert_eq!(format!("{:?}", Some(Secret::new(""))), "Some([redacted])");
    }
}
