package com.savepoint.example;

import static com.savepoint.example.JobClient.getJob;
import static com.savepoint.example.JobClient.resumeJob;
import static com.savepoint.example.JobClient.waitUntilRunning;
import static com.savepoint.example.SavepointClient.connect;
import static com.savepoint.example.SavepointClient.credentialsFromEnvironment;
import static com.savepoint.example.SavepointClient.importSavepoint;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.savepoint.dli.v1.GetJobRequest;
import com.savepoint.dli.v1.Job;
import com.savepoint.dli.v1.JobState;
import com.savepoint.example.JobClient.JobControlDisabledException;
import com.savepoint.example.JobClient.JobFailedException;
import com.savepoint.v1.ImportSavepointRequest;
import io.grpc.ManagedChannel;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

/** The other half of an import, with the gateways that ContractTest describes. */
@EnabledIfEnvironmentVariable(named = "SAVEPOINT_GATEWAY_ADDRESS", matches = ".+")
@EnabledIfEnvironmentVariable(named = "SAVEPOINT_DEMO_ADDRESS", matches = ".+")
class JobsTest {
  private static final Duration LONG = Duration.ofSeconds(30);
  private static final GetJobRequest FAILING = GetJobRequest.newBuilder().setJobId(500).build();

  private static ManagedChannel channel;
  private static ManagedChannel demo;

  @BeforeAll
  static void open() throws Exception {
    channel = connect(System.getenv("SAVEPOINT_GATEWAY_ADDRESS"), credentialsFromEnvironment());
    demo = connect(System.getenv("SAVEPOINT_DEMO_ADDRESS"), credentialsFromEnvironment());
  }

  @AfterAll
  static void close() throws Exception {
    for (ManagedChannel each : List.of(channel, demo)) {
      each.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  @Test
  void aJobIsResumedFromTheImportedSavepoint() throws Exception {
    long jobId = ThreadLocalRandom.current().nextLong(1_000_000_000, Long.MAX_VALUE);
    String path = "obs://bucket-name/dir/savepoint/";
    importSavepoint(
        demo, ImportSavepointRequest.newBuilder().setJobId(jobId).setSavepointPath(path).build());
    GetJobRequest request = GetJobRequest.newBuilder().setJobId(jobId).build();
    Job imported = getJob(demo, request);
    assertEquals(jobId, imported.getJobId());
    assertEquals(path, imported.getSavepointPath());
    Job running = resumeJob(demo, request, LONG);
    assertEquals(JobState.JOB_STATE_RUNNING, running.getState());
    // The simulated DLI tells here what the job was started from.
    assertEquals("started from " + path, running.getStateDescription());
  }

  @Test
  void aJobThatCannotStartIsThrown() {
    JobFailedException failed =
        assertThrows(
            JobFailedException.class,
            () -> waitUntilRunning(channel, FAILING, Job.getDefaultInstance(), LONG));
    assertEquals(JobState.JOB_STATE_SUBMIT_FAIL, failed.job().getState());
    assertTrue(failed.getMessage().contains("保存点不存在"), failed.getMessage());
  }

  @Test
  void whatAJobWasBeforeIsNotTakenForItsStart() {
    Job before = getJob(channel, FAILING);
    assertThrows(
        TimeoutException.class,
        () -> waitUntilRunning(channel, FAILING, before, Duration.ofSeconds(1)));
  }

  @Test
  void jobControlThatIsOffIsToldByItsReason() {
    assertThrows(
        JobControlDisabledException.class, () -> resumeJob(channel, FAILING, LONG));
  }
}
