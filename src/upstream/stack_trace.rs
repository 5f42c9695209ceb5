//! Stack traces of Java. Callers get the first line, and the last cause if that line says nothing: the rest
//! names hosts, paths and code.

/// What a line says: the exceptions that it names, outermost first, and the message of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The innermost exception, with its package.
    pub(super) exception: Option<&'a str>,
    pub(super) message: &'a str,
}

impl<'a> Line<'a> {
    /// The exception without its package.
    pub(super) fn simple_name(&self) -> Option<&'a str> {
        self.exception.and_then(|exception| exception.rsplit(['.', '$']).next())
    }
}

/// Flink puts this in front of a trace.
const ON_SERVER_SIDE: &str = "<Exception on server side:\n";

/// The first line of a trace.
pub(super) fn first_line(trace: &str) -> &str {
    let trace = trace.strip_prefix(ON_SERVER_SIDE).unwrap_or(trace);
    line(trace)
}

fn line(text: &str) -> &str {
    text.split(['\n', '\r']).next().unwrap_or_default().trim()
}

/// Reads the first line of a trace.
pub(super) fn read(trace: &str) -> Line<'_> {
    let mut message = first_line(trace);
    let mut exception = None;
    loop {
        let (name, rest) = message.split_once(": ").unwrap_or((message, ""));
        if !is_exception(name) {
            return Line { exception, message };
        }
        (exception, message) = (Some(name), rest.trim_start());
    }
}

/// Reads the line of the last cause of a trace.
pub(super) fn last_cause(trace: &str) -> Option<Line<'_>> {
    let (_, cause) = trace.rsplit_once("\nCaused by: ")?;
    Some(read(line(cause)))
}

/// Whether it is the name of a class, with its package.
fn is_exception(name: &str) -> bool {
    name.contains('.')
        && !name.starts_with('.')
        && !name.ends_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_exception_of_the_first_line_is_found() {
        for (trace, exception, name, message) in [
            ("Internal server error.", None, None, "Internal server error."),
            ("Not found: /jobs/x", None, None, "Not found: /jobs/x"),
            ("", None, None, ""),
            (
                "java.lang.NullPointerException\n\tat a.b.C.d(C.java:1)",
                Some("java.lang.NullPointerException"),
                Some("NullPointerException"),
                "",
            ),
            (
                "a.b.CompletionException: c.d.Outer$Inner: text: with colon\r\n\tat x",
                Some("c.d.Outer$Inner"),
                Some("Inner"),
                "text: with colon",
            ),
            (
                "<Exception on server side:\na.b.C: Jar file /x.jar does not exist\n\tat",
                Some("a.b.C"),
                Some("C"),
                "Jar file /x.jar does not exist",
            ),
        ] {
            let read = read(trace);
            assert_eq!((read.exception, read.message), (exception, message), "{trace}");
            assert_eq!(read.simple_name(), name, "{trace}");
        }
    }

    #[test]
    fn the_last_cause_is_a_line() {
        let trace = "a.B: x\n\tat c\nCaused by: d.E: y\n\tat f\nCaused by: g.H: i.J: z\n\tat k";
        let cause = Line { exception: Some("i.J"), message: "z" };
        assert_eq!(last_cause(trace), Some(cause));
        assert_eq!(last_cause("a.B: x\n\tat c"), None);
    }
}
