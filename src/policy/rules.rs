//! The rules of a policy, and the decision.

use std::collections::HashMap;
use std::fmt;

use crate::rpc::operation::Operation;

/// Rules that allow calls. What no rule allows is refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    /// The rules of each caller that is named in full, and those whose callers have a pattern, so
    /// that a decision does not look at the rules of all other callers.
    named: HashMap<String, Vec<usize>>,
    patterns: Vec<(Pattern, usize)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) callers: Vec<Pattern>,
    pub(super) methods: Vec<Pattern>,
    /// None: any.
    pub(super) workspaces: Option<Vec<String>>,
    pub(super) namespaces: Option<Vec<String>>,
    pub(super) projects: Option<Vec<String>>,
    pub(super) clusters: Option<Vec<String>>,
}

/// A text, or the start of one: a `*` at the end stands for one or more characters other than `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pattern {
    Exactly(String),
    Begins(String),
    /// Only of callers.
    Anyone,
}

impl Pattern {
    pub(super) fn of(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some("") => Self::Anyone,
            Some(start) => Self::Begins(start.to_owned()),
            None => Self::Exactly(text.to_owned()),
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exactly(wanted) => text == wanted,
            Self::Begins(start) => {
                let rest = text.strip_prefix(&**start);
                rest.is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
            }
            Self::Anyone => true,
        }
    }
}

/// What a call is about, by the values that it would use: those of the request, else those that the
/// gateway is configured with. None: the RPC has no such value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope<'a> {
    pub workspace: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub project: Option<&'a str>,
    pub cluster: Option<&'a str>,
}

/// What a caller may do with an RPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// Nothing.
    None,
    /// All.
    All,
    /// What one of these describes, as in the policy.
    Within(Vec<String>),
}

impl Rule {
    fn allows(&self, scope: &Scope<'_>) -> bool {
        let fits = |listed: &Option<Vec<String>>, value: Option<&str>| match (listed, value) {
            (Some(listed), Some(value)) => listed.iter().any(|one| one == value),
            // It lists none, or the RPC has no such value.
            (None, _) | (_, None) => true,
        };
        fits(&self.workspaces, scope.workspace)
            && fits(&self.namespaces, scope.namespace)
            && fits(&self.projects, scope.project)
            && fits(&self.clusters, scope.cluster)
    }

    fn lists(&self) -> [(&'static str, &Option<Vec<String>>); 4] {
        [
            ("workspaces", &self.workspaces),
            ("namespaces", &self.namespaces),
            ("projects", &self.projects),
            ("clusters", &self.clusters),
        ]
    }
}

/// The listed values, for people.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, listed) in self.lists() {
            let Some(listed) = listed else { continue };
            write!(f, "{separator}{name} {}", listed.join(", "))?;
            separator = "; ";
        }
        Ok(())
    }
}

impl Policy {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let mut policy = Self { rules, ..Self::default() };
        for (index, rule) in policy.rules.iter().enumerate() {
            for caller in &rule.callers {
                if let Pattern::Exactly(name) = caller {
                    let rules = policy.named.entry(name.clone()).or_default();
                    if rules.last() != Some(&index) {
                        rules.push(index);
                    }
                } else {
                    policy.patterns.push((caller.clone(), index));
                }
            }
        }
        policy
    }

    /// The rules about this caller and this RPC.
    fn rules_of(&self, caller: &str, method: &str) -> impl Iterator<Item = &Rule> {
        let named = self.named.get(caller).into_iter().flatten();
        let fitting = self.patterns.iter().filter(move |(pattern, _)| pattern.matches(caller));
        let rules = named.chain(fitting.map(|(_, index)| index)).map(|index| &self.rules[*index]);
        rules.filter(move |rule| rule.methods.iter().any(|pattern| pattern.matches(method)))
    }

    /// Whether the caller may call this RPC at all.
    pub fn may_call(&self, caller: &str, operation: &Operation) -> bool {
        self.rules_of(caller, &operation.to_string()).next().is_some()
    }

    /// Whether the caller may make this call.
    pub fn allows(&self, caller: &str, operation: &Operation, scope: &Scope<'_>) -> bool {
        self.rules_of(caller, &operation.to_string()).any(|rule| rule.allows(scope))
    }

    /// What the caller may do with this RPC.
    pub fn right(&self, caller: &str, operation: &Operation) -> Right {
        let mut within = Vec::new();
        for rule in self.rules_of(caller, &operation.to_string()) {
            let text = rule.to_string();
            if text.is_empty() {
                return Right::All;
            }
            if !within.contains(&text) {
                within.push(text);
            }
        }
        if within.is_empty() { Right::None } else { Right::Within(within) }
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::policy;
    use crate::providers::alibaba::{GET_SAVEPOINT, WATCH_SAVEPOINT};
    use crate::providers::flink::TRIGGER_SAVEPOINT;
    use crate::providers::huawei::{IMPORT_SAVEPOINT, RESUME_JOB};

    const POLICY: &str = r#"
        [[allow]]
        callers = ["spiffe://prod.example/ns/flink/*", "uid:1000"]
        methods = ["savepoint.v1.SavepointService/*"]
        workspaces = ["w"]
        namespaces = ["n", "m"]
        projects = ["p"]
        [[allow]]
        callers = ["dns:ops.example", "cn:ops"]
        methods = ["savepoint.dli.v1.DliService/Resume*", "savepoint.flink.v1.FlinkService/TriggerSavepoint"]
        clusters = ["prod"]
        [[allow]]
        callers = ["*"]
        methods = ["savepoint.v1.SavepointService/GetSavepoint"]
        workspaces = ["open"]
    "#;

    fn methods() -> Vec<String> {
        let all =
            [&GET_SAVEPOINT, &WATCH_SAVEPOINT, &TRIGGER_SAVEPOINT, &IMPORT_SAVEPOINT, &RESUME_JOB];
        all.iter().map(ToString::to_string).collect()
    }

    fn savepoint<'a>(workspace: &'a str, namespace: &'a str) -> Scope<'a> {
        Scope { workspace: Some(workspace), namespace: Some(namespace), ..Scope::default() }
    }

    fn project(project: &str) -> Scope<'_> {
        Scope { project: Some(project), ..Scope::default() }
    }

    fn cluster(cluster: &str) -> Scope<'_> {
        Scope { cluster: Some(cluster), ..Scope::default() }
    }

    #[test]
    fn a_decision_depends_on_caller_method_and_scope() {
        let policy = policy(POLICY.as_bytes(), &methods()).unwrap();
        let job = "spiffe://prod.example/ns/flink/job-1";
        for (caller, operation, scope, may_call, allowed) in [
            (job, &GET_SAVEPOINT, savepoint("w", "n"), true, true),
            (job, &WATCH_SAVEPOINT, savepoint("w", "m"), true, true),
            (job, &GET_SAVEPOINT, savepoint("w", "other"), true, false),
            (job, &GET_SAVEPOINT, savepoint("other", "n"), true, false),
            (job, &GET_SAVEPOINT, savepoint("open", "other"), true, true),
            (job, &WATCH_SAVEPOINT, savepoint("open", "n"), true, false),
            (job, &IMPORT_SAVEPOINT, project("p"), true, true),
            (job, &IMPORT_SAVEPOINT, project("P"), true, false),
            (job, &IMPORT_SAVEPOINT, project(""), true, false),
            (job, &RESUME_JOB, project("p"), false, false),
            ("uid:1000", &IMPORT_SAVEPOINT, project("p"), true, true),
            ("uid:10000", &IMPORT_SAVEPOINT, project("p"), false, false),
            ("uid:100", &IMPORT_SAVEPOINT, project("p"), false, false),
            ("cn:uid:1000", &IMPORT_SAVEPOINT, project("p"), false, false),
            ("spiffe://prod.example/ns/flink/", &IMPORT_SAVEPOINT, project("p"), false, false),
            ("spiffe://prod.example/ns/flink", &IMPORT_SAVEPOINT, project("p"), false, false),
            ("spiffe://prod.example/ns/flink/a/b", &IMPORT_SAVEPOINT, project("p"), false, false),
            ("spiffe://prod.example/ns/flinkx/a", &IMPORT_SAVEPOINT, project("p"), false, false),
            (
                "spiffe://prod.example.evil/ns/flink/a",
                &IMPORT_SAVEPOINT,
                project("p"),
                false,
                false,
            ),
            ("dns:ops.example", &RESUME_JOB, project("any"), true, true),
            ("cn:ops", &TRIGGER_SAVEPOINT, cluster("prod"), true, true),
            ("cn:ops", &TRIGGER_SAVEPOINT, cluster("test"), true, false),
            ("dns:ops", &TRIGGER_SAVEPOINT, cluster("prod"), false, false),
            ("anonymous", &GET_SAVEPOINT, savepoint("open", "n"), true, true),
            ("anonymous", &GET_SAVEPOINT, savepoint("w", "n"), true, false),
            ("anonymous", &WATCH_SAVEPOINT, savepoint("open", "n"), false, false),
            ("", &WATCH_SAVEPOINT, savepoint("open", "n"), false, false),
        ] {
            assert_eq!(policy.may_call(caller, operation), may_call, "{caller} {operation}");
            let got = policy.allows(caller, operation, &scope);
            assert_eq!(got, allowed, "{caller} {operation} {scope:?}");
        }
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        let empty = policy(b"", &[]).unwrap();
        assert!(!empty.may_call("uid:0", &GET_SAVEPOINT));
        assert_eq!(empty.right("uid:0", &GET_SAVEPOINT), Right::None);
    }

    #[test]
    fn rights_are_told_as_the_policy_has_them() {
        let policy = policy(POLICY.as_bytes(), &methods()).unwrap();
        assert_eq!(policy.right("cn:nobody", &IMPORT_SAVEPOINT), Right::None);
        let text = |text: &str| Right::Within(vec![text.to_owned()]);
        assert_eq!(policy.right("cn:ops", &TRIGGER_SAVEPOINT), text("clusters prod"));
        assert_eq!(policy.right("cn:x", &GET_SAVEPOINT), text("workspaces open"));
        let both = policy.right("uid:1000", &GET_SAVEPOINT);
        let first = "workspaces w; namespaces n, m; projects p".to_owned();
        assert_eq!(both, Right::Within(vec![first, "workspaces open".to_owned()]));
    }
}
