//! Reads a policy. All mistakes are told at once, with their lines.

use std::fmt;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::rules::{Pattern, Policy, Rule};
use crate::rpc::operation::Operation;
use crate::text;

/// Maximum length of a text in a policy: a SPIFFE ID has up to 2048 bytes.
const TEXT_BYTES: usize = 2048;

/// More mistakes than that are not told.
const MISTAKES: usize = 50;

const KINDS: [&str; 4] = ["spiffe://", "dns:", "cn:", "uid:"];

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1 on.
    pub line: usize,
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

impl Policy {
    /// Reads a policy. `operations`: all RPCs, which rules may name.
    ///
    /// # Errors
    /// All mistakes, in the order of their lines.
    pub fn parse(bytes: &[u8], operations: &[&Operation]) -> Result<Self, Vec<Mistake>> {
        let methods: Vec<_> = operations.iter().map(ToString::to_string).collect();
        policy(bytes, &methods)
    }
}

/// Reads a policy. `methods`: all RPCs, each as `package.Service/Method`.
pub(super) fn policy(bytes: &[u8], methods: &[String]) -> Result<Policy, Vec<Mistake>> {
    let first = |text: &str| vec![Mistake { line: 1, text: text.to_owned() }];
    let text = std::str::from_utf8(bytes).map_err(|_| first("it is not UTF-8 text"))?;
    // Editors put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { text, methods, mistakes: Vec::new() };
    let (document, broken) = DeTable::parse_recoverable(text);
    for error in &broken {
        let at = error.span().map_or(0, |span| span.start);
        // It may quote the file.
        reader.mistake(at, &text::clean(error.message(), 200));
    }
    let rules = if broken.is_empty() { reader.document(document.get_ref()) } else { Vec::new() };
    let Reader { mut mistakes, .. } = reader;
    if mistakes.is_empty() {
        return Ok(Policy::new(rules));
    }
    mistakes.sort_by_key(|mistake| mistake.line);
    mistakes.truncate(MISTAKES);
    Err(mistakes)
}

struct Reader<'a> {
    text: &'a str,
    methods: &'a [String],
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn mistake(&mut self, at: usize, why: &str) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        // Beyond that, counting lines again and again would take long.
        if self.mistakes.len() < 2 * MISTAKES {
            self.mistakes.push(Mistake { line, text: why.to_owned() });
        }
    }

    fn document(&mut self, document: &DeTable<'_>) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (key, value) in document {
            let at = key.span().start;
            let array = value.get_ref().as_array();
            match (&**key.get_ref(), array) {
                ("allow", Some(array)) => {
                    for rule in array {
                        match rule.get_ref().as_table() {
                            Some(table) => rules.extend(self.rule(rule.span().start, table)),
                            None => self.mistake(
                                rule.span().start,
                                "allow is not a list of rules, each written [[allow]]",
                            ),
                        }
                    }
                }
                ("allow", None) => {
                    self.mistake(at, "allow is not a list of rules, each written [[allow]]");
                }
                (other, _) => {
                    let other = text::clean(other, 100);
                    self.mistake(
                        at,
                        &format!("{other:?} is not known: a policy has only [[allow]]"),
                    );
                }
            }
        }
        rules
    }

    fn rule(&mut self, at: usize, table: &DeTable<'_>) -> Option<Rule> {
        let before = self.mistakes.len();
        let mut rule = Rule::default();
        for (key, value) in table {
            let name = &**key.get_ref();
            if !matches!(
                name,
                "callers" | "methods" | "workspaces" | "namespaces" | "projects" | "clusters"
            ) {
                let name = text::clean(name, 100);
                self.mistake(key.span().start, &format!(
                    "{name:?} is not known: a rule has callers, methods, workspaces, namespaces, projects and clusters"
                ));
                continue;
            }
            let Some(texts) = self.texts(name, value) else { continue };
            match name {
                "callers" => rule.callers = self.patterns(&texts, Self::caller_fault),
                "methods" => rule.methods = self.patterns(&texts, Self::method_fault),
                _ => {
                    let list = match name {
                        "workspaces" => &mut rule.workspaces,
                        "namespaces" => &mut rule.namespaces,
                        "projects" => &mut rule.projects,
                        _ => &mut rule.clusters,
                    };
                    *list = Some(texts.iter().map(|(_, text)| (*text).to_owned()).collect());
                    for (at, text) in &texts {
                        if text.contains('*') {
                            self.mistake(
                                *at,
                                &format!(
                                    "{text:?} has a *, which only callers and methods may have"
                                ),
                            );
                        }
                    }
                }
            }
        }
        for name in ["callers", "methods"] {
            if !table.iter().any(|(key, _)| &**key.get_ref() == name) {
                self.mistake(at, &format!("the rule has no {name}"));
            }
        }
        (self.mistakes.len() == before).then_some(rule)
    }

    /// The texts of a list, with their places.
    fn texts<'v>(
        &mut self,
        name: &str,
        value: &'v Spanned<DeValue<'_>>,
    ) -> Option<Vec<(usize, &'v str)>> {
        let list: Option<&DeArray<'_>> = value.get_ref().as_array();
        let Some(list) = list else {
            self.mistake(value.span().start, &format!("{name} is not a list of texts"));
            return None;
        };
        if list.is_empty() {
            self.mistake(
                value.span().start,
                &format!("{name} is empty, so that the rule allows nothing"),
            );
        }
        let mut texts = Vec::new();
        for one in list {
            let at = one.span().start;
            match one.get_ref().as_str() {
                None => self.mistake(at, &format!("{name} has something that is not a text")),
                Some("") => self.mistake(at, &format!("{name} has an empty text")),
                Some(text) if text.len() > TEXT_BYTES => {
                    self.mistake(at, &format!("{name} has a text of more than {TEXT_BYTES} bytes"));
                }
                Some(text) if text.chars().any(char::is_control) => {
                    self.mistake(at, &format!("{name} has a text with a control character"));
                }
                Some(text) => texts.push((at, text)),
            }
        }
        Some(texts)
    }

    fn patterns(
        &mut self,
        texts: &[(usize, &str)],
        fault: fn(&Self, &str) -> Option<&'static str>,
    ) -> Vec<Pattern> {
        for (at, text) in texts {
            let stars = text.matches('*').count();
            let fault = match (stars, text.ends_with('*')) {
                (0, _) | (1, true) => fault(self, text),
                _ => Some("has a * that is not its last character"),
            };
            if let Some(fault) = fault {
                self.mistake(*at, &format!("{text:?} {fault}"));
            }
        }
        texts.iter().map(|(_, text)| Pattern::of(text)).collect()
    }

    fn caller_fault(&self, text: &str) -> Option<&'static str> {
        let is_kind =
            KINDS.iter().any(|kind| text.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()));
        (!is_kind && !matches!(text, "anonymous" | "*")).then_some(
            "is no caller: write spiffe://…, dns:…, cn:…, uid:…, anonymous, or * for everyone",
        )
    }

    fn method_fault(&self, text: &str) -> Option<&'static str> {
        let pattern = Pattern::of(text);
        let fits =
            pattern != Pattern::Anyone && self.methods.iter().any(|method| pattern.matches(method));
        (!fits).then_some("fits no RPC: write savepoint.v1.SavepointService/GetSavepoint, or …/* for a whole service")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<(usize, String)> {
        let methods = ["savepoint.v1.SavepointService/GetSavepoint".to_owned()];
        match policy(text.as_bytes(), &methods) {
            Ok(_) => Vec::new(),
            Err(found) => found.into_iter().map(|found| (found.line, found.text)).collect(),
        }
    }

    const GOOD: &str =
        "[[allow]]\ncallers = [\"uid:1\"]\nmethods = [\"savepoint.v1.SavepointService/*\"]\n";

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let text = r#"
[[allow]]
callers = ["uid:1", "1000", "spiffe://a/*/b", "cn:"]
methods = ["savepoint.v1.SavepointService/Get*", "GetSavepoint", "*"]
workspace = ["w"]
namespaces = "n"
projects = []
[[allow]]
callers = [1, "", "dns:*.example"]
clusters = ["prod*"]
[deny]
"#;
        let found = mistakes(text);
        let lines: Vec<_> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 3, 3, 4, 4, 5, 6, 7, 8, 9, 9, 9, 10, 11], "{found:#?}");
        for (line, part) in [
            (3, "\"1000\" is no caller"),
            (4, "\"GetSavepoint\" fits no RPC"),
            (5, "\"workspace\" is not known"),
            (6, "namespaces is not a list"),
            (7, "projects is empty"),
            (8, "the rule has no methods"),
            (11, "\"deny\" is not known"),
        ] {
            assert!(
                found.iter().any(|(at, text)| *at == line && text.contains(part)),
                "{part}: {found:#?}"
            );
        }
    }

    #[test]
    fn broken_files_are_told_and_good_ones_are_not() {
        assert_eq!(mistakes(GOOD), []);
        assert_eq!(mistakes(&format!("\u{feff}{GOOD}")), []);
        assert_eq!(mistakes(&GOOD.replace('\n', "\r\n")), []);
        for (text, line) in [
            ("[[allow]\n", 1),
            (&format!("{GOOD}x = \n"), 4),
            (&format!("{GOOD}callers = []\n"), 4),
            ("allow = 1", 1),
            ("allow = [1]", 1),
            ("\n\n[allow]\n", 3),
            (
                "[[allow]]\ncallers = [\"cn:a\\u0000b\"]\nmethods = [\"savepoint.v1.SavepointService/*\"]",
                2,
            ),
        ] {
            let found = mistakes(text);
            assert!(found.iter().any(|(at, _)| *at == line), "{text:?}: {found:?}");
        }
        assert!(policy(&[0xff], &[]).is_err());
    }

    #[test]
    fn a_huge_policy_is_read_and_a_hopeless_one_is_not_told_for_ever() {
        assert_eq!(mistakes(&GOOD.repeat(10_000)), []);
        let hopeless = "[[allow]]\ncallers = [\"x\"]\n".repeat(10_000);
        assert_eq!(mistakes(&hopeless).len(), MISTAKES);
    }
}
