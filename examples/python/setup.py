"""Generates the client from the gateway's proto files whenever the package is built."""

from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc
from setuptools import setup
from setuptools.command.build_py import build_py

PROTO = Path(__file__).resolve().parents[2] / "proto"


class GenerateAndBuild(build_py):
    def run(self):
        super().run()
        # google.api and google.rpc come from googleapis-common-protos, so only the
        # gateway's own files are generated.
        failed = protoc.main(
            [
                "protoc",
                f"--proto_path={PROTO}",
                f"--proto_path={PROTO / 'third_party'}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--python_out={self.build_lib}",
                f"--pyi_out={self.build_lib}",
                f"--grpc_python_out={self.build_lib}",
                *sorted(str(file.relative_to(PROTO)) for file in (PROTO / "savepoint").rglob("*.proto")),
            ]
        )
        if failed:
            raise SystemExit(f"protoc ended with {failed}")


setup(cmdclass={"build_py": GenerateAndBuild})
