package com.savepoint.example;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.savepoint.dli.v1.DliServiceGrpc;
import com.savepoint.dli.v1.GetJobRequest;
import com.savepoint.dli.v1.Job;
import com.savepoint.dli.v1.JobState;
import com.savepoint.dli.v1.ResumeJobRequest;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The other half of an import: the job is started from its savepoint, and watched until it runs. */
final class JobClient {
  private static final Set<JobState> FAILED =
      EnumSet.of(
          JobState.JOB_STATE_SUBMIT_FAIL,
          JobState.JOB_STATE_RUNNING_EXCEPTION,
          JobState.JOB_STATE_ARREARAGE_STOPPED);
  private static final long FIRST_WAIT_MS = 500;
  private static final long MAX_WAIT_MS = 10_000;

  private JobClient() {}

  /** The job was started, and does not run. */
  static final class JobFailedException extends Exception {
    private final transient Job job;

    JobFailedException(Job job) {
      super(
          "job %d is %s: %s"
              .formatted(job.getJobId(), job.getProviderState(), job.getStateDescription()));
      this.job = job;
    }

    Job job() {
      return job;
    }
  }

  /** This gateway starts and stops no jobs: it runs without --enable-job-control. */
  static final class JobControlDisabledException extends Exception {
    JobControlDisabledException(StatusRuntimeException cause) {
      super(cause);
    }
  }

  static Job getJob(ManagedChannel channel, GetJobRequest request) {
    return DliServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(SavepointClient.DEADLINE_SECONDS, TimeUnit.SECONDS)
        .getJob(request)
        .getJob();
  }

  /**
   * Starts a job from its savepoint, and waits until it runs. The start is never repeated: if its
   * outcome is unknown, getJob tells the job's state.
   */
  static Job resumeJob(ManagedChannel channel, GetJobRequest request, Duration timeout)
      throws JobFailedException,
          JobControlDisabledException,
          TimeoutException,
          InterruptedException,
          InvalidProtocolBufferException {
    Job before = getJob(channel, request);
    ResumeJobRequest resume =
        ResumeJobRequest.newBuilder()
            .setProjectId(request.getProjectId())
            .setJobId(request.getJobId())
            .build();
    try {
      DliServiceGrpc.newBlockingStub(channel)
          .withDeadlineAfter(SavepointClient.DEADLINE_SECONDS, TimeUnit.SECONDS)
          .resumeJob(resume);
    } catch (StatusRuntimeException failure) {
      if (reasonOf(failure).equals("METHOD_DISABLED")) {
        throw new JobControlDisabledException(failure);
      }
      throw failure;
    }
    return waitUntilRunning(channel, request, before, timeout);
  }

  /** Waits for a start. `before` is the job before it, which may still be shown for a while. */
  static Job waitUntilRunning(
      ManagedChannel channel, GetJobRequest request, Job before, Duration timeout)
      throws JobFailedException, TimeoutException, InterruptedException {
    long end = System.nanoTime() + timeout.toNanos();
    long wait = FIRST_WAIT_MS;
    while (true) {
      Job job = getJob(channel, request);
      if (!job.equals(before)) {
        if (job.getState() == JobState.JOB_STATE_RUNNING) {
          return job;
        }
        if (FAILED.contains(job.getState())) {
          throw new JobFailedException(job);
        }
      }
      if (end - System.nanoTime() <= TimeUnit.MILLISECONDS.toNanos(wait)) {
        throw new TimeoutException(
            "job %d is still %s".formatted(job.getJobId(), job.getProviderState()));
      }
      Thread.sleep(wait);
      wait = Math.min(2 * wait, MAX_WAIT_MS);
    }
  }

  /** Why a call failed, as a name that programs can compare. The text is for people. */
  static String reasonOf(StatusRuntimeException failure) throws InvalidProtocolBufferException {
    for (Message detail : SavepointClient.detailsOf(failure)) {
      if (detail instanceof ErrorInfo info) {
        return info.getReason();
      }
    }
    return "";
  }
}
