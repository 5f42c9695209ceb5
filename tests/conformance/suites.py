"""Public conformance suites against the gateway's server: the Connect conformance runner, h2spec
and the gRPC interoperability tests. run.sh builds what is run here."""

import argparse
import datetime
import fnmatch
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.gateway import ROOT
from tools.page import replace_block
from tools.process import Process

HERE = Path(__file__).parent
TOOLS = ROOT / "target" / "conformance"
# No suite may take longer: together they are to end within three minutes.
TIMEOUT = 80


class Suite:
    """What became of the cases of one suite, held against the list of known failures."""

    def __init__(self, name, about, known):
        self.name, self.about = name, about
        # So many cases has the suite: none may get lost.
        self.cases = known["cases"]
        self.passed, self.known, self.tried, self.unexpected = 0, 0, 0, []
        self.entries = known.get("known", [])
        self.counts = [0] * len(self.entries)

    def ok(self, count=1):
        self.passed += count
        self.tried += count

    def failed(self, case, short, texts):
        """Counts a failure. It is known when one entry names the case and all that it says."""
        self.tried += 1
        for number, entry in enumerate(self.entries):
            named = any(fnmatch.fnmatchcase(short, pattern) for pattern in entry["cases"])
            if named and all(entry["text"] in found for found in texts):
                self.known += 1
                self.counts[number] += 1
                return
        self.unexpected.append(f"{case}: {'; '.join(texts)}")

    def ended(self):
        for entry, count in zip(self.entries, self.counts, strict=True):
            most = entry.get("at_most", entry.get("count"))
            least = 0 if "at_most" in entry else most
            if not least <= count <= most:
                wanted = f"{most} cases" if least == most else f"at most {most} cases"
                self.unexpected.append(
                    f"{wanted} of {entry['cases']} are to fail so, and {count} did: {entry['text']}"
                )
        if self.tried != self.cases:
            self.unexpected.append(f"{self.tried} cases were tried, not {self.cases}")
        print(
            f"{self.name}: {self.passed} passed, {len(self.unexpected)} failed, {self.known} known",
            flush=True,
        )
        for line in self.unexpected:
            print(f"  FAILED {line}", flush=True)


def connect(known):
    suite = Suite(
        "Connect conformance",
        "gRPC over HTTP/2, gRPC-Web over HTTP/1.1 and HTTP/2; plain, TLS, client certificates; "
        "identity, gzip; all kinds of streams; message limits; deadlines",
        known,
    )
    command = [TOOLS / "connectconformance", "--mode", "server"]
    command += ["--conf", HERE / "connect.yaml", "--", TOOLS / "conformance-server"]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=TIMEOUT
    )
    summary = re.search(r"^(\d+) passed, (\d+) failed$", run.stdout, re.M)
    if not summary:
        raise SystemExit(f"the runner did not end: {run.stdout[-2000:]}")
    for found in re.finditer(r"^FAILED: (.*):\n((?:\t.*\n)+)", run.stdout, re.M):
        case = found[1]
        short = re.sub(r"/(HTTPVersion|Protocol|Codec|Compression|TLS):[^/]*", "", case)
        short = re.sub(r"/\([^/]*\)", "", short)
        suite.failed(case, short, found[2].strip().split("\n\t"))
    if suite.tried != int(summary[2]):
        suite.unexpected.append(f"{summary[2]} failures by the runner's count")
    suite.ok(int(summary[1]))
    suite.ended()
    return suite


def h2spec(known, address, tls):
    how = "over TLS" if tls else "plain"
    suite = Suite(f"h2spec, {how}", "HTTP/2 and HPACK by RFC 7540 and 7541, generic cases", known)
    host, port = address.rsplit(":", 1)
    report = TOOLS / "h2spec.xml"
    report.unlink(missing_ok=True)
    command = [TOOLS / "h2spec", "-h", host, "-p", port, "-o", "3", "-j", report]
    command += ["-t", "-k"] if tls else []
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=TIMEOUT)
    groups = {}
    for group in xml.etree.ElementTree.parse(report).getroot().iter("testsuite"):
        for number, case in enumerate(group.iter("testcase"), 1):
            name = f"{case.get('package')}/{number}"
            groups.setdefault(name, 0)
            trouble = case.find("failure")
            trouble = case.find("error") if trouble is None else trouble
            if trouble is not None:
                suite.failed(f"{name} {case.get('classname')}", name, [" ".join(trouble.itertext())])
            elif case.find("skipped") is not None:
                suite.unexpected.append(f"{name} {case.get('classname')}: skipped by the suite")
            else:
                suite.ok()
    suite.ended()
    return suite


def interop(known, address):
    suite = Suite(
        "gRPC interoperability", "cases of grpc-go, with compressed calls and large metadata", known
    )
    command = [TOOLS / "interop", address]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT)
    for line in run.stdout.splitlines():
        verdict, _, case = line.partition(" ")
        if verdict == "passed":
            suite.ok()
        else:
            name, _, text = case.partition(": ")
            suite.failed(name, name, [text])
    suite.ended()
    return suite


def server(*options):
    """A server on a free port, as a process to be used in a `with`."""
    return Process(
        "the server",
        [TOOLS / "conformance-server", "--log-level=off", *options],
        environment=os.environ,
        ready=re.compile(r"\S+:\d+").fullmatch,
    )


def write(suites):
    rows = [
        "| suite | what it tries | passed | failed | known |",
        "| --- | --- | --- | --- | --- |",
    ]
    for suite in suites:
        counts = f"{suite.passed} | {len(suite.unexpected)} | {suite.known}"
        rows.append(f"| {suite.name} | {suite.about} | {counts} |")
    text = f"Measured {datetime.date.today()} on {os.cpu_count()} processors, Linux.\n\n"
    text += "\n".join(rows)
    replace_block(ROOT / "docs" / "reliability.md", "conformance", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the figures into the page")
    arguments = parser.parse_args()
    known = tomllib.loads((HERE / "known.toml").read_text())

    suites = [connect(known["connect"])]
    with server() as running:
        suites.append(h2spec(known["h2spec"], running.found[0], tls=False))
        suites.append(interop(known["interop"], running.found[0]))
    pair = [f"--tls-cert={TOOLS / 'cert.pem'}", f"--tls-key={TOOLS / 'key.pem'}"]
    with server(*pair) as running:
        suites.append(h2spec(known["h2spec"], running.found[0], tls=True))

    if arguments.write:
        write(suites)
    passed, failed, listed = (
        sum(counts)
        for counts in zip(*((s.passed, len(s.unexpected), s.known) for s in suites), strict=True)
    )
    print(f"conformance: {passed} passed, {failed} failed, {listed} known")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
