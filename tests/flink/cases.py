"""What must hold on a real Flink, through the gateway. Each case has its number from the list in
docs/reliability.md."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import grpc
from savepoint.flink.v1 import flink_pb2 as flink

from cluster import STORE_SECONDS
from stage import (
    CALL_SECONDS, COMPLETED, FAILED, STARTED, UNWRITABLE, Job, Refusal, Stage, path_of, refusal, until,
)

from tools.gateway import Gateway

Case = Callable[[Stage], str | None]
CASES: list[tuple[str, str, Case]] = []
UNKNOWN_ID = "0123456789abcdef0123456789abcdef"
# A message is cut here.
MESSAGE_BYTES = 1024
# What only the further lines of a stack trace have.
TRACES = ("java.base/", "Caused by", "further-lines-of-the-message", "serialized-throwable")


def case(number: str, title: str) -> Callable[[Case], Case]:
    """Registers a function that returns what it measured, or None."""

    def register(function: Case) -> Case:
        CASES.append((number, title, function))
        return function

    return register


def check_one_line(text: str) -> None:
    assert text and "\n" not in text and len(text.encode()) <= MESSAGE_BYTES, f"not one line: {text!r}"
    assert not any(trace in text for trace in TRACES), f"a stack trace: {text!r}"


def check_refused(refused: Refusal, code: grpc.StatusCode, reason: str) -> None:
    assert (refused.code, refused.reason) == (code, reason), f"{refused}"
    assert refused.metadata.get("provider") in ("apache-flink", None), f"{refused}"
    check_one_line(refused.message)
    for value in refused.metadata.values():
        check_one_line(value)


def check_not_found(refused: Refusal) -> None:
    check_refused(refused, grpc.StatusCode.NOT_FOUND, "PROVIDER_NOT_FOUND")


def check_went_on(before: tuple[int, int], job: Job, stage: Stage) -> str:
    """Source and state of the job went on exactly behind the last line of the other one."""
    stage.counted(job)
    first = job.lines()[0]
    assert before[1] == before[0] + 1 and first == (before[0] + 1, before[1] + 1), f"{before}, then {first}"
    return f"position and count {before[0]} {before[1]}, then {first[0]} {first[1]}"


@case("F01", "a savepoint is STARTED, then COMPLETED at a location with its metadata")
def savepoint_completes(stage: Stage) -> str:
    with stage.running("--hold", "500") as job:
        states = []
        for savepoint in stage.watch(job, stage.trigger(job)):
            states.append(savepoint.status.state)
        assert states[0] == STARTED and states[-1] == COMPLETED, f"{states}"
        assert (path_of(savepoint.savepoint_location) / "_metadata").is_file()
        assert savepoint.status.provider_state == "COMPLETED"
    return f"{len(states)} messages"


@case("F02", "the same key twice makes one savepoint, during it and after it; another key a second one")
def same_key_twice(stage: Stage) -> None:
    target = stage.new_folder()
    fields = {"target_directory": target.as_uri(), "idempotency_key": "deployment-41"}
    with stage.running("--hold", "300") as job:
        first = stage.trigger(job, **fields)
        during = stage.trigger(job, **fields)
        location = stage.completed(job, first)
        after = stage.trigger(job, **fields)
        assert {first, during, after} == {first}
        assert stage.completed(job, after) == location
        assert len(list(target.iterdir())) == 1
        other = stage.trigger(job, **fields | {"idempotency_key": "deployment-42"})
        assert other != first and stage.completed(job, other) != location
        assert len(list(target.iterdir())) == 2


@case("F03", "a savepoint that cannot be written is FAILED, never COMPLETED")
def unwritable_target(stage: Stage) -> str:
    with stage.running() as job:
        *_, last = stage.watch(job, stage.trigger(job, target_directory=UNWRITABLE))
        assert last.status.state == FAILED and not last.savepoint_location, f"{last}"
        check_one_line(last.status.failure.message)
        assert "IO-problem" in last.status.failure.message, f"{last}"
        stage.counted(job)
    return last.status.failure.message


@case("F04", "a savepoint of an unknown job is accepted by Flink, then NOT_FOUND")
def unknown_job(stage: Stage) -> None:
    job = Job(UNKNOWN_ID, stage.folder)
    trigger_id = stage.trigger(job)
    check_not_found(refusal(lambda: until("it ends", lambda: stage.get(job, trigger_id).status.state != STARTED)))
    check_not_found(refusal(lambda: list(stage.watch(job, trigger_id))))


@case("F05", "an unknown trigger id, also of another job, is NOT_FOUND")
def unknown_trigger_id(stage: Stage) -> None:
    with stage.running() as job:
        check_not_found(refusal(lambda: stage.get(job, UNKNOWN_ID)))
        check_not_found(refusal(lambda: list(stage.watch(job, UNKNOWN_ID))))
        trigger_id = stage.trigger(job)
        stage.completed(job, trigger_id)
        check_not_found(refusal(lambda: stage.get(Job(UNKNOWN_ID, stage.folder), trigger_id)))


@case("F06", "a trigger id that Flink has forgotten is NOT_FOUND; the job still shows the savepoint")
def forgotten_trigger_id(stage: Stage) -> None:
    target = stage.new_folder()
    fields = {"target_directory": target.as_uri(), "idempotency_key": "nightly"}
    with stage.running() as job:
        trigger_id = stage.trigger(job, **fields)
        location = stage.completed(job, trigger_id)

        def is_forgotten() -> bool:
            try:
                stage.get(job, trigger_id)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.NOT_FOUND
            return False

        until("Flink forgets the trigger id", is_forgotten, STORE_SECONDS + CALL_SECONDS)
        refused = refusal(lambda: stage.get(job, trigger_id))
        check_not_found(refused)
        assert "may exist" in refused.message, f"no hint: {refused.message}"
        latest = stage.job(job).latest_savepoint
        assert path_of(latest.location) == path_of(location), f"{latest}"
        assert latest.trigger_time.ToNanoseconds() <= latest.complete_time.ToNanoseconds()
        # The key protects only as long as Flink remembers.
        again = stage.trigger(job, **fields)
        assert again == trigger_id and stage.completed(job, again) != location
        assert len(list(target.iterdir())) == 2


@case("F07", "a savepoint goes to the requested directory, in the requested format, else to the default one")
def target_directory(stage: Stage) -> None:
    target = stage.new_folder()
    with stage.running() as job:
        location = stage.completed(job, stage.trigger(job, target_directory=target.as_uri()))
        assert path_of(location).parent == target, location
        location = stage.completed(job, stage.trigger(job, format=flink.SAVEPOINT_FORMAT_NATIVE))
        assert path_of(location).parent == stage.cluster.savepoints, location
        statistics = json.loads(stage.cluster.rest("GET", f"/jobs/{job.job_id}/checkpoints"))
        formats = [entry["savepointFormat"] for entry in statistics["history"]]
        assert formats == ["NATIVE", "CANONICAL"], formats


@case("F08", "a job that was stopped with a savepoint is FINISHED; the same key again stops nothing else")
def stop(stage: Stage) -> None:
    job = stage.resume()
    trigger_id = stage.stop(job, idempotency_key="upgrade")
    location = stage.completed(job, trigger_id)
    until("the job ends", lambda: stage.job(job).state == flink.JOB_STATE_FINISHED)
    assert stage.stop(job, idempotency_key="upgrade") == trigger_id
    assert stage.completed(job, trigger_id) == location


@case("F09", "a stop whose savepoint cannot be written is FAILED, and the job goes on")
def stop_that_fails(stage: Stage) -> None:
    with stage.running() as job:
        *_, last = stage.watch(job, stage.stop(job, target_directory=UNWRITABLE))
        assert last.status.state == FAILED, f"{last}"
        check_one_line(last.status.failure.message)
        stage.counted(job, more=10)
        found = stage.job(job)
        assert found.state == flink.JOB_STATE_RUNNING and found.all_tasks_running, f"{found}"


@case("F10", "a job that is resumed from a stop goes on with the next position and count")
def resume(stage: Stage) -> str:
    first = stage.resume()
    stage.counted(first, more=20)
    location = stage.completed(first, stage.stop(first))
    last = first.lines()[-1]
    with stage.running(savepoint_path=location) as second:
        restored = stage.job(second).restored_from
        assert path_of(restored.location) == path_of(location) and restored.is_savepoint, f"{restored}"
        assert restored.restore_time.seconds > 0
        went_on = check_went_on(last, second, stage)
        # And once more, from a savepoint that did not stop the job, named in another way.
        location = stage.completed(second, stage.trigger(second))
        seen = dict(second.lines())
        with stage.running(savepoint_path=str(path_of(location) / "_metadata")) as third:
            stage.counted(third)
            position, count = third.lines()[0]
            assert count == position + 1 and position - 1 in seen, f"{(position, count)}"
            assert path_of(stage.job(third).restored_from.location) == path_of(location)
    return went_on


@case("F11", "a resume from a missing savepoint is INVALID_ARGUMENT and names the cause in one line")
def missing_savepoint(stage: Stage) -> str:
    missing = stage.new_folder().as_uri()
    request = stage.resume_request(stage.new_folder(), savepoint_path=missing)
    refused = refusal(lambda: stage.flink.ResumeJob(request, timeout=CALL_SECONDS))
    check_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "PROVIDER_REJECTED_ARGUMENT")
    assert "Cannot find checkpoint or savepoint" in refused.message, refused.message
    # Flink shows a job that has failed all the same, and its id is used: the key starts nothing else.
    request.idempotency_key = "first-try"
    before = stage.cluster.job_ids()
    check_refused(
        refusal(lambda: stage.flink.ResumeJob(request, timeout=CALL_SECONDS)),
        grpc.StatusCode.INVALID_ARGUMENT, "PROVIDER_REJECTED_ARGUMENT")
    again = stage.flink.ResumeJob(request, timeout=CALL_SECONDS)
    assert again.already_submitted and stage.cluster.job_ids() - before == {again.job_id}
    assert stage.job(Job(again.job_id, stage.folder)).state == flink.JOB_STATE_FAILED
    return refused.message


@case("F12", "the caller gets only the first line of a failure of more than 50 kB, and the log gets none of it")
def huge_failure(stage: Stage) -> str:
    job = stage.resume("--fail", "60000")
    trigger_id = stage.trigger(job)
    *_, last = stage.watch(job, trigger_id)
    body = stage.cluster.rest("GET", f"/jobs/{job.job_id}/savepoints/{trigger_id}")
    trace = json.loads(body)["operation"]["failure-cause"]["stack-trace"]
    assert len(body) > 50_000 and "\n" in trace, len(body)
    assert last.status.state == FAILED
    message = last.status.failure.message
    check_one_line(message)
    assert message in trace.splitlines()[0], f"{message} is not of the first line: {trace[:200]}"
    assert len(last.SerializeToString()) < 2 * MESSAGE_BYTES
    return f"{len(body)} bytes: {message}"


@case("F13", "an unknown job is NOT_FOUND")
def get_unknown_job(stage: Stage) -> None:
    check_not_found(refusal(lambda: stage.job(Job(UNKNOWN_ID, stage.folder))))


@case("F15", "a savepoint that is claimed is deleted after the next checkpoint, one that is not stays")
def claim(stage: Stage) -> None:
    first = stage.resume()
    location = stage.completed(first, stage.stop(first))
    fields = {"savepoint_path": location}

    def checkpoints(job: Job) -> int:
        statistics = json.loads(stage.cluster.rest("GET", f"/jobs/{job.job_id}/checkpoints"))
        return statistics["counts"]["completed"]

    with stage.running("--checkpoint", "100", **fields, claim_mode=flink.CLAIM_MODE_NO_CLAIM) as job:
        until("two checkpoints", lambda: checkpoints(job) >= 2)
        assert path_of(location).is_dir()
    with stage.running("--checkpoint", "100", **fields, claim_mode=flink.CLAIM_MODE_CLAIM):
        until("Flink deletes the savepoint", lambda: not path_of(location).exists())


@case("F16", "a start with a used key starts no second job, even after the first was cancelled")
def same_start_twice(stage: Stage) -> None:
    before = stage.cluster.job_ids()
    fields = {"without_state": True, "idempotency_key": "release-7"}
    request = stage.resume_request(stage.new_folder(), **fields)
    first = stage.flink.ResumeJob(request, timeout=CALL_SECONDS)
    second = stage.flink.ResumeJob(request, timeout=CALL_SECONDS)
    assert not first.already_submitted and second.already_submitted
    assert first.job_id == second.job_id
    stage.cluster.cancel(first.job_id)
    job = Job(first.job_id, stage.folder)
    until("the job ends", lambda: stage.job(job).state == flink.JOB_STATE_CANCELED)
    third = stage.flink.ResumeJob(request, timeout=CALL_SECONDS)
    assert third.already_submitted and third.job_id == first.job_id
    assert stage.job(job).state == flink.JOB_STATE_CANCELED
    assert stage.cluster.job_ids() - before == {first.job_id}


@case("F17", "a stop and a savepoint with the same idempotency key have different trigger ids, and the job stops")
def one_key_for_two_kinds(stage: Stage) -> None:
    job = stage.resume()
    of_savepoint = stage.trigger(job, idempotency_key="one")
    location = stage.completed(job, of_savepoint)
    of_stop = stage.stop(job, idempotency_key="one")
    assert of_stop != of_savepoint
    assert stage.completed(job, of_stop) != location
    until("the job ends", lambda: stage.job(job).state == flink.JOB_STATE_FINISHED)


@case("F18", "a job that is cancelled during a savepoint: a watch shows STARTED, then FAILED")
def cancel_during_savepoint(stage: Stage) -> str:
    job = stage.resume("--hold", "60000")
    watch = stage.watch(job, stage.trigger(job))
    assert next(watch).status.state == STARTED
    stage.cluster.cancel(job.job_id)
    *_, last = watch
    assert last.status.state == FAILED and not last.savepoint_location, f"{last}"
    check_one_line(last.status.failure.message)
    return last.status.failure.message


@case("F19", "without job control nothing can be started or stopped; savepoints can be made")
def no_job_control(stage: Stage) -> None:
    with stage.new_gateway() as gateway, stage.running() as job:
        stub = stage.stub(gateway)
        before = stage.cluster.job_ids()
        request = stage.resume_request(stage.new_folder(), without_state=True)
        for call in (
            lambda: stub.ResumeJob(request, timeout=CALL_SECONDS),
            lambda: stub.StopWithSavepoint(flink.StopWithSavepointRequest(job_id=job.job_id), timeout=CALL_SECONDS),
        ):
            check_refused(refusal(call), grpc.StatusCode.UNIMPLEMENTED, "METHOD_DISABLED")
        assert stage.cluster.job_ids() == before
        stage.counted(job, more=10)
        trigger = stub.TriggerSavepoint(flink.TriggerSavepointRequest(job_id=job.job_id), timeout=CALL_SECONDS)
        stage.completed(job, trigger.trigger_id)


@case("F20", "a start that does not say from what is refused; one without state says that it has none")
def start_without_state(stage: Stage) -> None:
    before = stage.cluster.job_ids()
    for fields in ({}, {"without_state": False}, {"savepoint_path": ""}):
        request = stage.resume_request(stage.new_folder(), **fields)
        refused = refusal(lambda: stage.flink.ResumeJob(request, timeout=CALL_SECONDS))
        assert refused.code == grpc.StatusCode.INVALID_ARGUMENT, f"{fields}: {refused}"
    assert stage.cluster.job_ids() == before
    with stage.running(without_state=True) as job:
        stage.counted(job)
        assert job.lines()[0] == (0, 1)
        assert not stage.job(job).HasField("restored_from")


@case("F21", "state that no operator claims is refused, unless the request allows to leave it behind")
def state_without_operator(stage: Stage) -> None:
    first = stage.resume()
    stage.counted(first, more=5)
    location = stage.completed(first, stage.stop(first))
    arguments, fields = ("--operator", "renamed"), {"savepoint_path": location}
    request = stage.resume_request(stage.new_folder(), *arguments, **fields)
    refused = refusal(lambda: stage.flink.ResumeJob(request, timeout=CALL_SECONDS))
    check_refused(refused, grpc.StatusCode.INVALID_ARGUMENT, "PROVIDER_REJECTED_ARGUMENT")
    assert "Cannot map checkpoint/savepoint state" in refused.message, refused.message
    last = first.lines()[-1]
    with stage.running(*arguments, **fields, allow_non_restored_state=True) as second:
        stage.counted(second)
        # The source goes on, the count begins anew.
        assert second.lines()[0] == (last[0] + 1, 1), f"{last}, then {second.lines()[0]}"


@case("F22", "an unknown jar is NOT_FOUND")
def unknown_jar(stage: Stage) -> None:
    request = stage.resume_request(stage.new_folder(), without_state=True)
    request.jar_id = f"{UNKNOWN_ID}_none.jar"
    check_not_found(refusal(lambda: stage.flink.ResumeJob(request, timeout=CALL_SECONDS)))


@case("F23", "a stop that is repeated with its key while it is in progress is one stop with one savepoint")
def stop_during_stop(stage: Stage) -> None:
    # With two keys they were two stops, and Flink may let both fail, and the job with them.
    target = stage.new_folder()
    fields = {"target_directory": target.as_uri(), "idempotency_key": "upgrade"}
    job = stage.resume("--hold", "1000")
    first = stage.stop(job, **fields)
    assert stage.get(job, first).status.state == STARTED
    assert {stage.stop(job, **fields) for _ in range(3)} == {first}
    stage.completed(job, first)
    until("the job ends", lambda: stage.job(job).state == flink.JOB_STATE_FINISHED)
    assert len(list(target.iterdir())) == 1


@case("F24", "a job that has ended has no more savepoints: NOT_FOUND")
def savepoint_of_ended_job(stage: Stage) -> None:
    job = stage.resume()
    stage.completed(job, stage.stop(job, drain=True))
    until("the job ends", lambda: stage.job(job).state == flink.JOB_STATE_FINISHED)
    trigger_id = stage.trigger(job)
    check_not_found(refusal(lambda: list(stage.watch(job, trigger_id))))


@case("F25", "the journey of examples/journey: a job that DLI cannot take is not stopped, another one moves")
def journey(stage: Stage) -> str:
    job = stage.resume()
    stage.counted(job, more=5)
    with Gateway("demo") as dli:
        moved = ("--obs-directory", "obs://bucket-name/savepoints", "--dli-job", "137228")
        code, output = stage.journey(dli, "--savepoint", "obs://bucket-name/savepoints/savepoint-1", *moved)
        assert code == 0, output
        # Now that job runs.
        code, output = stage.journey(dli, "--flink-job", job.job_id, *moved)
        assert code == 1 and "runs already" in output, output
        assert stage.job(job).state == flink.JOB_STATE_RUNNING
        stage.counted(job, more=5)

        moved = (*moved[:-1], "137231")
        code, output = stage.journey(dli, "--flink-job", job.job_id, *moved)
        assert code == 0 and "the job runs on DLI" in output, output
    until("the job ends", lambda: stage.job(job).state == flink.JOB_STATE_FINISHED)
    location = stage.job(job).latest_savepoint.location
    name = path_of(location).name
    assert (path_of(location) / "_metadata").is_file()
    # What the simulator says of a job that was resumed.
    assert f"started from obs://bucket-name/savepoints/{name}" in output, output
    with stage.running(savepoint_path=location) as resumed:
        return check_went_on(job.lines()[-1], resumed, stage)


# The last one: it takes the cluster away from the others.
@case("F14", "a killed cluster is UNAVAILABLE, a restarted one has forgotten jobs and ids, and a job goes on there")
def killed_and_restarted(stage: Stage) -> str:
    stopped = stage.resume()
    stage.counted(stopped, more=5)
    location = stage.completed(stopped, stage.stop(stopped))
    last = stopped.lines()[-1]

    job = stage.resume("--hold", "60000")
    trigger_id = stage.trigger(job)
    seen, watched = threading.Event(), []

    def watch() -> None:
        def read() -> None:
            for savepoint in stage.watch(job, trigger_id):
                watched.append(savepoint.status.state)
                seen.set()

        watched.append(refusal(read))

    watching = threading.Thread(target=watch)
    watching.start()
    assert seen.wait(CALL_SECONDS)
    stage.cluster.kill()
    for call in (lambda: stage.job(job), lambda: stage.get(job, trigger_id), lambda: stage.trigger(job)):
        check_refused(refusal(call), grpc.StatusCode.UNAVAILABLE, "PROVIDER_CONNECT_FAILED")

    stage.cluster.start()
    for call in (lambda: stage.job(job), lambda: stage.get(job, trigger_id)):
        check_not_found(refusal(call))
    # Through the outage, without a word from its caller.
    watching.join(CALL_SECONDS)
    assert watched[:-1] and set(watched[:-1]) == {STARTED}, f"{watched}"
    check_not_found(watched[-1])
    with stage.running(savepoint_path=location) as resumed:
        return check_went_on(last, resumed, stage)
