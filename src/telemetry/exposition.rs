//! The formats of the metrics page.
//!
//! The library writes OpenMetrics, in no order. The page is sorted, so that two of them can be
//! compared, and older readers get the text format. No metric here has exemplars or timestamps,
//! which the formats write differently.
//!
//! # Reference
//! - <https://prometheus.io/docs/specs/om/open_metrics_spec/>
//! - <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    Text,
    OpenMetrics,
}

impl Exposition {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Rewrites a page that the library made.
    pub(super) fn rewrite(self, page: &str) -> String {
        let families = families(page).into_iter();
        let mut families: Vec<_> =
            families.map(|(name, family)| family.named(name, self)).collect();
        families.sort_by(|one, other| one.0.cmp(&other.0));
        let mut out = String::with_capacity(page.len());
        for (name, mut family) in families {
            // The library writes all samples of a series one after the other.
            family.samples.sort_by_cached_key(|sample| series(sample));
            family.write(&name, self, &mut out);
        }
        if self == Self::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

/// All metrics of a name.
#[derive(Debug, Default)]
struct Family<'a> {
    help: &'a str,
    kind: &'a str,
    unit: Option<&'a str>,
    samples: Vec<&'a str>,
}

/// The families of a page, by their names.
fn families(page: &str) -> BTreeMap<&str, Family<'_>> {
    let mut families = BTreeMap::<_, Family<'_>>::new();
    let mut current = "";
    for line in page.lines() {
        let Some((key, (name, value))) = line
            .strip_prefix("# ")
            .and_then(|line| line.split_once(' '))
            .map(|(key, rest)| (key, rest.split_once(' ').unwrap_or((rest, ""))))
        else {
            if !line.starts_with('#') {
                families.entry(current).or_default().samples.push(line);
            }
            continue;
        };
        current = name;
        let family = families.entry(name).or_default();
        match key {
            "HELP" => family.help = value,
            "TYPE" => family.kind = value,
            "UNIT" => family.unit = Some(value),
            _ => {}
        }
    }
    families
}

impl Family<'_> {
    /// In the text format a family has the name of its samples, and there are fewer types.
    fn named(self, name: &str, format: Exposition) -> (String, Self) {
        let (suffix, kind) = match (format, self.kind) {
            (Exposition::OpenMetrics, kind) => ("", kind),
            (Exposition::Text, "counter") => ("_total", "counter"),
            (Exposition::Text, "info") => ("_info", "gauge"),
            (Exposition::Text, "stateset") => ("", "gauge"),
            (Exposition::Text, "unknown") => ("", "untyped"),
            (Exposition::Text, kind) => ("", kind),
        };
        (format!("{name}{suffix}"), Self { kind, ..self })
    }

    fn write(&self, name: &str, format: Exposition, out: &mut String) {
        let mut line = |parts: &[&str]| {
            out.extend(parts.iter().copied());
            out.push('\n');
        };
        line(&["# HELP ", name, " ", self.help]);
        line(&["# TYPE ", name, " ", self.kind]);
        if let (Exposition::OpenMetrics, Some(unit)) = (format, self.unit) {
            line(&["# UNIT ", name, " ", unit]);
        }
        for sample in &self.samples {
            line(&[sample]);
        }
    }
}

/// What the samples of a series have in common: their labels without the bound of a bucket. The
/// library writes that one first.
fn series(sample: &str) -> &str {
    let labels = sample.rsplit_once("} ").and_then(|(start, _)| start.split_once('{'));
    let labels = labels.map_or("", |(_, labels)| labels);
    match labels.strip_prefix("le=\"").and_then(|rest| rest.split_once('"')) {
        Some((_, others)) => others.strip_prefix(',').unwrap_or(others),
        None => labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r##"# HELP b_seconds Time.
# TYPE b_seconds histogram
# UNIT b_seconds seconds
b_seconds_sum{x="2"} 3.0
b_seconds_count{x="2"} 2
b_seconds_bucket{le="1.0",x="2"} 1
b_seconds_bucket{le="+Inf",x="2"} 2
b_seconds_sum{x="1 # \" ,"} 0.0
b_seconds_count{x="1 # \" ,"} 0
b_seconds_bucket{le="1.0",x="1 # \" ,"} 0
b_seconds_bucket{le="+Inf",x="1 # \" ,"} 0
# HELP a Events.
# TYPE a counter
a_total 7
# HELP c Version.
# TYPE c info
c_info{version="1"} 1
# HELP a_b Level.
# TYPE a_b gauge
a_b -1
# HELP d Something.
# TYPE d unknown
d 5
# EOF
"##;

    #[test]
    fn a_page_in_text_has_the_names_and_types_of_that_format() {
        let want = r##"# HELP a_b Level.
# TYPE a_b gauge
a_b -1
# HELP a_total Events.
# TYPE a_total counter
a_total 7
# HELP b_seconds Time.
# TYPE b_seconds histogram
b_seconds_sum{x="1 # \" ,"} 0.0
b_seconds_count{x="1 # \" ,"} 0
b_seconds_bucket{le="1.0",x="1 # \" ,"} 0
b_seconds_bucket{le="+Inf",x="1 # \" ,"} 0
b_seconds_sum{x="2"} 3.0
b_seconds_count{x="2"} 2
b_seconds_bucket{le="1.0",x="2"} 1
b_seconds_bucket{le="+Inf",x="2"} 2
# HELP c_info Version.
# TYPE c_info gauge
c_info{version="1"} 1
# HELP d Something.
# TYPE d untyped
d 5
"##;
        assert_eq!(Exposition::Text.rewrite(PAGE), want);
    }

    #[test]
    fn a_page_of_openmetrics_is_only_sorted() {
        let page = Exposition::OpenMetrics.rewrite(PAGE);
        let sorted = |page: &str| {
            let mut lines: Vec<_> = page.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&page), sorted(PAGE));
        let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names: Vec<_> = names.map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["a", "a_b", "b_seconds", "c", "d"]);
        assert!(page.ends_with("\n# EOF\n"), "{page}");
    }
}
