"""Writes the bill of materials of the program: what is compiled into it, and nothing that only
builds or tests it. CycloneDX 1.6, JSON.

    sbom.py TARGET FILE [BINARY]

Two runs on the same lock file give the same bytes. With BINARY its SHA-256 is noted.
"""

import hashlib
import json
import subprocess
import sys
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output import OutputFormat, make_outputter
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parents[2]
NAME = "savepoint-gateway"


def cargo(*arguments: str) -> str:
    return subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def listed(target: str) -> set[str]:
    """`name@version` of what is compiled into the program, as cargo itself says: it knows which
    features are on. Macros and build scripts run while the compiler does, and stay out."""
    tree = cargo("tree", "--locked", "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    return {"@".join(line.split()[:2]).replace("@v", "@") for line in tree.splitlines() if line}


def compiled_in(metadata: dict, wanted: set[str]) -> dict[str, set[str]]:
    """The package ids of these, each with those that it uses."""
    chosen = {p["id"] for p in metadata["packages"] if f"{p['name']}@{p['version']}" in wanted}
    return {
        node["id"]: {
            dep["pkg"] for dep in node["deps"]
            if dep["pkg"] in chosen and any(kind["kind"] is None for kind in dep["dep_kinds"])
        }
        for node in metadata["resolve"]["nodes"]
        if node["id"] in chosen
    }  # fmt: skip


def bill(target: str, wanted: set[str], binary: Path | None) -> Bom:
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", target))
    packages = {package["id"]: package for package in metadata["packages"]}
    lock_text = (ROOT / "Cargo.lock").read_bytes()
    sums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.loads(lock_text.decode())["package"]}
    licences = LicenseFactory()
    uses = compiled_in(metadata, wanted)
    components = {}
    for key in uses:
        package = packages[key]
        name, version = package["name"], package["version"]
        component = Component(
            name=name,
            version=version,
            type=ComponentType.APPLICATION if name == NAME else ComponentType.LIBRARY,
            bom_ref=f"{name}@{version}",
            purl=PackageURL("cargo", name=name, version=version),
            scope=None if name == NAME else ComponentScope.REQUIRED,
            # Old manifests separate alternatives with a slash.
            licenses=[licences.make_from_string(package["license"].replace("/", " OR "))] if package["license"] else [],
        )
        if checksum := sums[(name, version)]:
            component.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=checksum))
        if package["repository"]:
            component.external_references.add(ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(package["repository"])))
        components[key] = component
    own = components[metadata["resolve"]["root"]]
    own.properties.add(Property(name="cargo:target", value=target))
    identity = lock_text + target.encode()
    if binary:
        content = binary.read_bytes()
        own.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(content).hexdigest()))
        identity += content
    bom = Bom(serial_number=uuid.UUID(bytes=hashlib.sha256(identity).digest()[:16], version=4))
    # The date of the sources, not of the run.
    seconds = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    bom.metadata.timestamp = datetime.fromtimestamp(int(seconds), timezone.utc)
    bom.metadata.component = own
    for key, component in components.items():
        if component is not own:
            bom.components.add(component)
        bom.register_dependency(component, [components[used] for used in uses[key]])
    return bom


def problems_of(text: str, wanted: set[str]) -> list[str]:
    """What is wrong with a bill: against the schema, against cargo, and within itself."""
    found = []
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        found.append(f"not valid: {error}")
    value = json.loads(text)
    components = value.get("components", []) + [value["metadata"]["component"]]
    names = {component["bom-ref"] for component in components}
    if names != wanted:
        found.append(f"it differs from cargo tree: {sorted(names ^ wanted)}")
    uses = {one["ref"]: set(one.get("dependsOn", [])) for one in value["dependencies"]}
    reached, waiting = set(), [value["metadata"]["component"]["bom-ref"]]
    while waiting:
        if (one := waiting.pop()) not in reached:
            reached.add(one)
            waiting += uses.get(one, ())
    if reached != names:
        found.append(f"the program does not use {sorted(names ^ reached)}")
    for component in value.get("components", []):
        if not component.get("licenses") or not component.get("hashes"):
            found.append(f"{component['bom-ref']} has no licence or no checksum")
    return found


def main() -> int:
    target, file = sys.argv[1], Path(sys.argv[2])
    binary = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    wanted = listed(target)
    text = make_outputter(bill(target, wanted, binary), OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"
    problems = problems_of(text, wanted)
    broken = json.loads(text)
    broken["components"].pop()
    if not problems_of(json.dumps(broken), wanted):
        problems.append("a bill without one of its components was accepted")
    broken["bomFormat"] = "Other"
    if not any("not valid" in one for one in problems_of(json.dumps(broken), wanted)):
        problems.append("what is no CycloneDX was accepted")
    if problems:
        print("\n".join(f"  FAILED  {problem}" for problem in problems))
        return 1
    file.write_text(text)
    print(f"{file}: {len(json.loads(text)['components'])} components, valid, the same as cargo tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
