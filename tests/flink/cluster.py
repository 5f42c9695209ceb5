"""A real Flink as a process, and what is asked of its REST interface directly."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
import uuid
from pathlib import Path

from tools.process import Process

MAIN_CLASS = "com.savepoint.flink.OneProcessCluster"
JOB_CLASS = "com.savepoint.flink.CountingJob"
# How long Flink remembers a trigger id. Its default of five minutes is too long to wait for.
STORE_SECONDS = 8
START_SECONDS = 60
POLL_SECONDS = 0.02
REST_SECONDS = 30
JAVA = [
    "java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
    # Flink's jars declare the same for its own start scripts.
    "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]
OPTIONS = [
    f"rest.async.store-duration={STORE_SECONDS}s",
    # Else Flink describes a job as it was up to three seconds ago.
    "web.refresh-interval=50",
]


class Cluster:
    """One cluster of this version, whose state and savepoints are below the folder. It can be killed
    and started again at the same URL."""

    def __init__(self, built: Path, folder: Path):
        self._built, self._folder = built, folder
        self._process: Process | None = None
        self._port = "0"
        self.savepoints = folder / "savepoints"

    def start(self) -> None:
        self._process = Process(
            "Flink",
            [*JAVA, "-cp", f"{self.jar}:{self._built}/lib/*", MAIN_CLASS, self._port, str(self._folder), *OPTIONS],
            environment={"PATH": os.environ["PATH"]},
            ready=lambda line: line.partition("serving ")[2],
        )
        self._process.launch()
        self._process.wait_ready(START_SECONDS)
        self._port = self.url.rsplit(":", 1)[1]
        # At first no JobManager leads, and Flink answers with 503.
        end = time.monotonic() + START_SECONDS
        while (status := self._request("GET", "/jobs")[0]) != 200:
            assert status == 503 and time.monotonic() < end, f"Flink does not serve: {status}"
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """It has no chance to end anything in order."""
        self._process.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process and self._process.running:
            self.kill()

    @property
    def url(self) -> str:
        return self._process.found

    @property
    def jar(self) -> Path:
        return self._built / "counting-job.jar"

    def last_words(self) -> str:
        return self._process.last_words() if self._process else "(not started)"

    def rest(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        """The body of a successful response."""
        status, content = self._request(method, path, body, kind)
        assert status < 300, f"Flink: {method} {path}: {status} {content[:300]!r}"
        return content

    def _request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=REST_SECONDS)
        try:
            connection.request(method, path, body, {"content-type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def upload(self) -> str:
        """The id of the jar with the counting job."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="jarfile"; filename="{self.jar.name}"\r\n'
            "content-type: application/java-archive\r\n\r\n"
        )
        body = head.encode() + self.jar.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        answer = self.rest("POST", "/jars/upload", body, f"multipart/form-data; boundary={boundary}")
        return json.loads(answer)["filename"].rsplit("/", 1)[1]

    def job_ids(self) -> set[str]:
        return {job["id"] for job in json.loads(self.rest("GET", "/jobs"))["jobs"]}

    def cancel(self, job_id: str) -> None:
        self.rest("PATCH", f"/jobs/{job_id}?mode=cancel")
