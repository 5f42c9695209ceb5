"""Runs the recipe of docs/flink-operator.md against the demo's simulated Flink, and validates the resource
that it makes.

    snapshot.py GATEWAY

Needs grpcurl and jq on the path; a program in place of kubectl keeps what it is given.
"""

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.gateway import ROOT, Gateway

PAGE = ROOT / "docs/flink-operator.md"
SCHEMA = json.loads(Path(__file__).with_name("snapshot.json").read_text())
JOB_ID = "5a1ceb4d5f2f4bb4a9b8a1fa5a0b6d01"
SECONDS = 30


class Recipe:
    """The shell commands of the page, with grpcurl before them."""

    def __init__(self, address: str, folder: Path):
        self.address = address
        block = re.search(r"<!-- snapshot:begin -->\n```sh\n(.*)```\n<!-- snapshot:end -->", PAGE.read_text(), re.S)
        assert block, f"{PAGE} has no recipe"
        self.commands = f"set -o pipefail\n{block[1]}"
        self.applied = folder / "applied"
        kubectl = folder / "kubectl"
        kubectl.write_text(f'#!/bin/sh\n[ "$*" = "apply --filename -" ] && cat >"{self.applied}"\n')
        kubectl.chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "GATEWAY": address,
            "JOB_ID": JOB_ID,
        }

    def call(self, method: str, **fields: str) -> str:
        """What the gateway answers, as JSON; a stream has several messages."""
        command = ["grpcurl", "-plaintext", "-d", json.dumps(fields), self.address]
        done = subprocess.run(
            [*command, f"savepoint.flink.v1.FlinkService/{method}"],
            capture_output=True, text=True, check=True, timeout=SECONDS)
        return done.stdout

    def run(self, trigger_id: str) -> tuple[dict | None, str]:
        """The resource, if it makes one, and what it complains about."""
        self.applied.unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", "-c", self.commands], env=self.environment | {"TRIGGER_ID": trigger_id},
            stderr=subprocess.PIPE, text=True, timeout=SECONDS)
        text = self.applied.read_text() if self.applied.exists() else ""
        assert bool(done.returncode) != bool(text), f"exit code {done.returncode}, applied: {text}"
        return json.loads(text) if text else None, done.stderr


def is_valid(resource: dict) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(resource)


def wrong_copies(good: dict):
    """What the definition or the operator would prune or refuse, or what would lose the savepoint."""
    for change in (
        lambda spec: spec["savepoint"].update(already_exists=True),
        lambda spec: spec["savepoint"].update(alreadyExists="true"),
        lambda spec: spec["savepoint"].update(path=""),
        lambda spec: spec["savepoint"].pop("path"),
        # Then it is a new savepoint, of no job.
        lambda spec: spec["savepoint"].pop("alreadyExists"),
        lambda spec: spec["savepoint"].update(formatType="canonical"),
        lambda spec: spec.update(checkpoint={}),
        lambda spec: spec.pop("savepoint"),
        lambda spec: spec.update(jobReference={"kind": "Deployment", "name": "job"}),
    ):
        wrong = copy.deepcopy(good)
        change(wrong["spec"])
        yield wrong
    yield good | {"metadata": {"name": "Savepoint_1"}}
    yield good | {"apiVersion": "flink.apache.org/v1"}


def main() -> int:
    problems = []
    with tempfile.TemporaryDirectory() as folder, Gateway("demo", program=sys.argv[1]) as gateway:
        recipe = Recipe(gateway.address, Path(folder))
        trigger_id = json.loads(recipe.call("TriggerSavepoint", job_id=JOB_ID))["triggerId"]
        resource, complaint = recipe.run(trigger_id)
        if resource is not None or "the savepoint is not complete" not in complaint:
            problems.append(f"of a savepoint that is being made it makes {resource}: {complaint}")
        recipe.call("WatchSavepoint", job_id=JOB_ID, trigger_id=trigger_id)
        resource, complaint = recipe.run(trigger_id)
        savepoint = json.loads(recipe.call("GetSavepoint", job_id=JOB_ID, trigger_id=trigger_id))["savepoint"]
        location = savepoint["savepointLocation"]
    if resource is None:
        problems.append(f"of a savepoint that is complete it makes nothing: {complaint}")
    else:
        errors = list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(resource))
        problems += [f"the resource is not valid: {error.message}" for error in errors]
        wanted = {"path": location, "alreadyExists": True, "disposeOnDelete": False}
        if resource["spec"] != {"savepoint": wanted} or trigger_id not in resource["metadata"]["name"]:
            problems.append(f"the resource is not of the savepoint at {location}: {resource}")
        if not problems:
            problems += [f"accepted: {wrong}" for wrong in wrong_copies(resource) if is_valid(wrong)]
    for problem in problems:
        print(f"  FAILED  docs/flink-operator.md: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
