"""What of the image can be checked without building it: the context that a build gets, and what the
Dockerfile takes from it. deploy/image/check.sh proves the rest."""

import fnmatch
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The files that an image is built from; of tests, benches and examples only the roots of targets.
KNOWN = re.compile(
    r"Cargo\.(toml|lock)|LICENSE|build\.rs|\.cargo/config\.toml|(proto|src)/.+"
    r"|(tests|benches|examples)/([^/]+/)?[^/]+\.rs"
)
# What must never get into a context, whatever lies about in a checkout.
STRAYS = [".env", "stray.key", "target/stray", ".git/config", "docs/page.md", "tests/data/key.pem"]


def rules(text: str) -> list[tuple[bool, str]]:
    """The lines of a .dockerignore: whether each takes a path back in, and its pattern."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    return [(line.startswith("!"), line.removeprefix("!").strip("/")) for line in lines]


def matches(path: str, pattern: str) -> bool:
    """Whether the pattern names this path or a folder above it. A star stays within one name."""
    names, parts = path.split("/"), pattern.split("/")
    if "**" in parts:
        sys.exit(f".dockerignore: this check does not know {pattern}")
    together = zip(names, parts, strict=False)
    return len(names) >= len(parts) and all(fnmatch.fnmatchcase(n, p) for n, p in together)


def is_in_context(path: str, known: list[tuple[bool, str]]) -> bool:
    """The last rule that matches decides, as for Docker."""
    decisions = [taken for taken, pattern in known if matches(path, pattern)]
    return decisions[-1] if decisions else True


def sources(dockerfile: str) -> list[str]:
    """What the COPY instructions take from the context."""
    copies = [line.split()[1:] for line in dockerfile.splitlines() if line.startswith("COPY ")]
    plain = [words for words in copies if not words[0].startswith("--from")]
    return [word for words in plain for word in words[:-1] if not word.startswith("--")]


def problems(ignore: str, dockerfile: str) -> list[str]:
    """All that is wrong with these two files in this repository."""
    known = rules(ignore)
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    context = [path for path in tracked if path and is_in_context(path, known)]
    found = [f"{path} is in the context" for path in context if not KNOWN.fullmatch(path)]
    found += [f"{path} would be in the context" for path in STRAYS if is_in_context(path, known)]
    for source in sources(dockerfile):
        has = any(path == source or path.startswith(f"{source}/") for path in context)
        if source != "." and not has:
            found.append(f"COPY {source}: not in the context")
    # The stage that builds the dependencies copies these by name.
    for line in dockerfile.splitlines():
        if match := re.search(r"cp -r (.+) /skeleton/", line):
            names = match[1].split()
            missing = [n for n in names if not any(p == n or p.startswith(f"{n}/") for p in context)]
            found += [f"{name}: not in the context" for name in missing]
            if ".cargo" not in names:
                found.append("the dependencies are built without .cargo/config.toml")
    with tempfile.TemporaryDirectory() as folder:
        for path in context:
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, target)
        # A program that does not exist: Cargo says so when it has accepted the manifest with all its
        # targets, which `cargo metadata` does not look at.
        command = ["cargo", "rustc", "--locked", "--offline", "--bin", "none"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if "no bin target named `none`" not in run.stderr:
            found.append(f"Cargo refuses the context: {run.stderr.strip()}")
    return found


def main() -> None:
    ignore = (ROOT / ".dockerignore").read_text()
    dockerfile = (ROOT / "Dockerfile").read_text()
    found = problems(ignore, dockerfile)
    for problem in found:
        print(f"  FAILED  {problem}")
    # Each of these must be noticed, or the check proves nothing.
    for text, ignore_, dockerfile_ in [
        ("a context without .cargo", ignore.replace("!.cargo\n", ""), dockerfile),
        ("a skeleton without .cargo", ignore, dockerfile.replace("Cargo.lock .cargo", "Cargo.lock")),
        ("a context with everything", "", dockerfile),
        ("a context without benches", ignore.replace("!benches/*.rs\n", ""), dockerfile),
        ("a COPY of something else", ignore, dockerfile + "\nCOPY secrets /secrets\n"),
    ]:
        if not problems(ignore_, dockerfile_):
            found.append(text)
            print(f"  FAILED  {text} was accepted")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
