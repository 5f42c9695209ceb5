package com.savepoint.example;

import com.savepoint.example.SavepointClient.SavepointFailedException;
import com.savepoint.flink.v1.FlinkServiceGrpc;
import com.savepoint.flink.v1.TriggerSavepointRequest;
import com.savepoint.flink.v1.WatchSavepointRequest;
import com.savepoint.flink.v1.WatchSavepointResponse;
import com.savepoint.v1.Savepoint;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/** A savepoint of a job on a cluster of Apache Flink: begun once, and watched until complete. */
final class FlinkClient {
  private FlinkClient() {}

  /**
   * Begins a savepoint and returns its trigger id. With the same idempotency key a second call
   * begins no second savepoint, so a call whose outcome is unknown can be made again.
   */
  static String triggerSavepoint(ManagedChannel channel, TriggerSavepointRequest request) {
    return FlinkServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(SavepointClient.DEADLINE_SECONDS, TimeUnit.SECONDS)
        .triggerSavepoint(request)
        .getTriggerId();
  }

  /** Begins a savepoint and waits until it is complete. */
  static Savepoint takeSavepoint(
      ManagedChannel channel, TriggerSavepointRequest request, Duration timeout)
      throws SavepointFailedException, InterruptedException {
    TriggerSavepointRequest keyed =
        request.getIdempotencyKey().isEmpty()
            ? request.toBuilder().setIdempotencyKey(UUID.randomUUID().toString()).build()
            : request;
    String triggerId;
    try {
      triggerId = triggerSavepoint(channel, keyed);
    } catch (StatusRuntimeException failure) {
      if (failure.getStatus().getCode() != Status.Code.UNAVAILABLE) {
        throw failure;
      }
      // Once more. It has the same key, so whatever became of the first one, there is one savepoint.
      triggerId = triggerSavepoint(channel, keyed);
    }
    WatchSavepointRequest watch =
        WatchSavepointRequest.newBuilder()
            .setCluster(request.getCluster())
            .setJobId(request.getJobId())
            .setTriggerId(triggerId)
            .build();
    return SavepointClient.waitUntilComplete(
        end -> FlinkServiceGrpc.newBlockingStub(channel).withDeadline(end).watchSavepoint(watch),
        WatchSavepointResponse::getSavepoint,
        timeout);
  }
}
