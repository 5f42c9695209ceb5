package com.savepoint.example;

import static com.savepoint.example.FlinkClient.takeSavepoint;
import static com.savepoint.example.FlinkClient.triggerSavepoint;
import static com.savepoint.example.SavepointClient.connect;
import static com.savepoint.example.SavepointClient.credentialsFromEnvironment;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.savepoint.flink.v1.TriggerSavepointRequest;
import com.savepoint.v1.Savepoint;
import com.savepoint.v1.SavepointState;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** Savepoints on Apache Flink, with the simulated cluster of `savepoint-gateway demo`. */
@EnabledIfEnvironmentVariable(named = "SAVEPOINT_DEMO_ADDRESS", matches = ".+")
class FlinkTest {
  private static final Duration LONG = Duration.ofSeconds(30);

  private static ManagedChannel demo;

  @BeforeAll
  static void open() throws Exception {
    demo = connect(System.getenv("SAVEPOINT_DEMO_ADDRESS"), credentialsFromEnvironment());
  }

  @AfterAll
  static void close() throws Exception {
    demo.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  private static TriggerSavepointRequest.Builder request() {
    return TriggerSavepointRequest.newBuilder()
        .setJobId(UUID.randomUUID().toString().replace("-", ""))
        .setTargetDirectory("s3://bucket/savepoints");
  }

  @Test
  void aSavepointIsBegunAndWatchedUntilItIsComplete() throws Exception {
    Savepoint savepoint = takeSavepoint(demo, request().build(), LONG);
    assertEquals(SavepointState.SAVEPOINT_STATE_COMPLETED, savepoint.getStatus().getState());
    String location = savepoint.getSavepointLocation();
    assertTrue(location.startsWith("s3://bucket/savepoints"), location);
  }

  @Test
  void theSameKeyBeginsOneSavepoint() {
    TriggerSavepointRequest.Builder keyed = request().setIdempotencyKey("before-the-upgrade");
    String first = triggerSavepoint(demo, keyed.build());
    assertEquals(first, triggerSavepoint(demo, keyed.build()));
    assertNotEquals(first, triggerSavepoint(demo, keyed.setIdempotencyKey("another").build()));
  }

  @Test
  void anInvalidRequestIsRefusedAtOnce() {
    TriggerSavepointRequest invalid = request().setJobId("no hexadecimal digits").build();
    StatusRuntimeException refused =
        assertThrows(StatusRuntimeException.class, () -> takeSavepoint(demo, invalid, LONG));
    assertEquals(Status.Code.INVALID_ARGUMENT, refused.getStatus().getCode());
  }
}
