package com.savepoint.example;

import static com.savepoint.example.SavepointClient.connect;
import static com.savepoint.example.SavepointClient.createSavepoint;
import static com.savepoint.example.SavepointClient.credentialsFromEnvironment;
import static com.savepoint.example.SavepointClient.detailsOf;
import static com.savepoint.example.SavepointClient.getSavepoint;
import static com.savepoint.example.SavepointClient.importSavepoint;
import static com.savepoint.example.SavepointClient.instantOf;
import static com.savepoint.example.SavepointClient.listSavepoints;
import static com.savepoint.example.SavepointClient.watchSavepoint;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import com.savepoint.example.SavepointClient.SavepointFailedException;
import com.savepoint.v1.CreateSavepointRequest;
import com.savepoint.v1.GetSavepointRequest;
import com.savepoint.v1.ImportSavepointRequest;
import com.savepoint.v1.ImportSavepointResponse;
import com.savepoint.v1.ListSavepointsRequest;
import com.savepoint.v1.Savepoint;
import com.savepoint.v1.SavepointOrigin;
import com.savepoint.v1.SavepointServiceGrpc;
import com.savepoint.v1.SavepointState;
import com.savepoint.v1.SavepointStatus;
import com.savepoint.v1.WatchSavepointRequest;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;
import org.junit.jupiter.api.function.Executable;

/**
 * The contract as a Java caller sees it. The gateway at SAVEPOINT_GATEWAY_ADDRESS must stand before
 * examples/fake_provider.py, whose head lists the ids used here, and end each watch after two
 * seconds. The one at SAVEPOINT_DEMO_ADDRESS is `savepoint-gateway demo`. The one at
 * SAVEPOINT_RESTARTING_ADDRESS is like the first one, without that limit, and drained and started
 * again every two seconds.
 */
@EnabledIfEnvironmentVariable(named = "SAVEPOINT_GATEWAY_ADDRESS", matches = ".+")
@EnabledIfEnvironmentVariable(named = "SAVEPOINT_DEMO_ADDRESS", matches = ".+")
@EnabledIfEnvironmentVariable(named = "SAVEPOINT_RESTARTING_ADDRESS", matches = ".+")
class ContractTest {
  private static ManagedChannel channel;
  private static ManagedChannel demo;
  private static ManagedChannel restarting;

  @BeforeAll
  static void open() throws Exception {
    channel = connect(System.getenv("SAVEPOINT_GATEWAY_ADDRESS"), credentialsFromEnvironment());
    demo = connect(System.getenv("SAVEPOINT_DEMO_ADDRESS"), credentialsFromEnvironment());
    restarting =
        connect(System.getenv("SAVEPOINT_RESTARTING_ADDRESS"), credentialsFromEnvironment());
  }

  @AfterAll
  static void close() throws Exception {
    for (ManagedChannel each : List.of(channel, demo, restarting)) {
      each.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private static ImportSavepointResponse importJob(long jobId, String path) {
    return importSavepoint(
        channel,
        ImportSavepointRequest.newBuilder().setJobId(jobId).setSavepointPath(path).build());
  }

  private static ImportSavepointResponse importJob(long jobId) {
    return importJob(jobId, "obs://bucket-name/dir/savepoint/");
  }

  private static Savepoint get(String savepointId) {
    GetSavepointRequest request =
        GetSavepointRequest.newBuilder()
            .setNamespace("default-namespace")
            .setSavepointId(savepointId)
            .build();
    return getSavepoint(channel, request).getSavepoint();
  }

  private static Savepoint create(ManagedChannel channel, String deploymentId) {
    CreateSavepointRequest request =
        CreateSavepointRequest.newBuilder()
            .setNamespace("default-namespace")
            .setDeploymentId(deploymentId)
            .build();
    return createSavepoint(channel, request).getSavepoint();
  }

  private static Savepoint watch(ManagedChannel channel, String savepointId, Duration timeout)
      throws Exception {
    WatchSavepointRequest request =
        WatchSavepointRequest.newBuilder()
            .setNamespace("default-namespace")
            .setSavepointId(savepointId)
            .build();
    return watchSavepoint(channel, request, timeout);
  }

  private static Savepoint watch(ManagedChannel channel, String savepointId) throws Exception {
    return watch(channel, savepointId, Duration.ofSeconds(20));
  }

  private static List<Savepoint> list(ManagedChannel channel, String deploymentId) {
    ListSavepointsRequest request =
        ListSavepointsRequest.newBuilder()
            .setNamespace("default-namespace")
            .setDeploymentId(deploymentId)
            .setPageSize(1)
            .build();
    return listSavepoints(channel, request);
  }

  private static long random() {
    return ThreadLocalRandom.current().nextLong(Long.MAX_VALUE);
  }

  /** The details of a call that must fail with {@code code}. */
  private static Map<Class<?>, Message> failure(Status.Code code, Executable call)
      throws Exception {
    StatusRuntimeException failure = assertThrows(StatusRuntimeException.class, call);
    assertEquals(code, failure.getStatus().getCode(), failure::toString);
    Map<Class<?>, Message> details = new HashMap<>();
    for (Message detail : detailsOf(failure)) {
      details.put(detail.getClass(), detail);
    }
    assertEquals("savepoint-gateway", errorInfo(details).getDomain());
    return details;
  }

  private static ErrorInfo errorInfo(Map<Class<?>, Message> details) {
    return (ErrorInfo) details.get(ErrorInfo.class);
  }

  @Test
  void documentedAnswersArriveWhole() {
    ImportSavepointResponse imported = importJob(137228);
    assertEquals("The job is successfully updated.", imported.getMessage());
    assertEquals("fake-huawei-request", imported.getRequestId());

    Savepoint savepoint = get("88a8fc49-e090-430a-85d8-3ee8c79c0001");
    assertEquals(SavepointState.SAVEPOINT_STATE_COMPLETED, savepoint.getStatus().getState());
    assertEquals(SavepointOrigin.SAVEPOINT_ORIGIN_USER_REQUEST, savepoint.getOrigin());
    assertEquals(Instant.parse("2022-07-29T03:51:51Z"), instantOf(savepoint.getCreateTime()));
    assertEquals(Instant.parse("2022-07-29T03:51:52Z"), instantOf(savepoint.getUpdateTime()));
    assertTrue(savepoint.hasNativeFormat() && savepoint.getNativeFormat());
  }

  @Test
  void int64Beyond2ToThe53IsExact() {
    for (long jobId : new long[] {9007199254740993L, Long.MAX_VALUE}) {
      assertEquals("path %d, body %d".formatted(jobId, jobId), importJob(jobId).getMessage());
    }
  }

  @Test
  void unicodeArrivesIntactBothWays() {
    String path = "obs://桶/保存点 é/";
    assertEquals("已导入 " + path + " ✓", importJob(300, path).getMessage());
  }

  @Test
  void unknownEnumTextIsUnspecifiedAndKept() {
    Savepoint savepoint = get("unknown-enums");
    assertEquals(SavepointState.SAVEPOINT_STATE_UNSPECIFIED, savepoint.getStatus().getState());
    assertEquals("HALF_DONE", savepoint.getStatus().getProviderState());
    assertEquals(SavepointOrigin.SAVEPOINT_ORIGIN_UNSPECIFIED, savepoint.getOrigin());
    assertEquals("COSMIC_RAY", savepoint.getProviderOrigin());
  }

  @Test
  void absentOptionalsAreAbsent() {
    for (String savepointId : List.of("sparse", "nulls")) {
      Savepoint savepoint = get(savepointId);
      assertEquals(savepointId, savepoint.getSavepointId());
      assertFalse(savepoint.hasNativeFormat());
      assertFalse(savepoint.hasStopWithDrainEnabled());
      assertFalse(savepoint.hasStatus());
      assertFalse(savepoint.hasCreateTime());
      assertFalse(savepoint.hasUpdateTime());
    }
  }

  @Test
  void falseIsNotAbsent() {
    Savepoint savepoint = get("false-optionals");
    assertTrue(savepoint.hasNativeFormat());
    assertFalse(savepoint.getNativeFormat());
    assertTrue(savepoint.hasStopWithDrainEnabled());
    assertFalse(savepoint.getStopWithDrainEnabled());
  }

  @Test
  void millisecondsBecomeTimestamps() {
    Savepoint savepoint = get("milliseconds");
    assertEquals(Instant.ofEpochMilli(1711647009620L), instantOf(savepoint.getCreateTime()));
    assertEquals(Instant.ofEpochMilli(1711647010001L), instantOf(savepoint.getUpdateTime()));
  }

  @Test
  void aFailedSavepointIsAnAnswer() {
    SavepointStatus status = get("failed").getStatus();
    assertEquals(SavepointState.SAVEPOINT_STATE_FAILED, status.getState());
    assertEquals("保存点失败 – żółć 💥", status.getFailure().getMessage());
    assertEquals("IO Exception", status.getFailure().getReason());
    assertEquals(
        Instant.ofEpochSecond(1660000000), instantOf(status.getFailure().getFailTime()));
  }

  @Test
  void everyBadFieldIsNamed() throws Exception {
    Map<Class<?>, Message> details =
        failure(
            Status.Code.INVALID_ARGUMENT,
            () -> importSavepoint(channel, ImportSavepointRequest.getDefaultInstance()));
    BadRequest badRequest = (BadRequest) details.get(BadRequest.class);
    Set<String> fields =
        badRequest.getFieldViolationsList().stream()
            .map(BadRequest.FieldViolation::getField)
            .collect(Collectors.toSet());
    assertEquals(Set.of("job_id", "savepoint_path"), fields);
    assertEquals("INVALID_REQUEST", errorInfo(details).getReason());
    assertEquals("not_applied", errorInfo(details).getMetadataMap().get("outcome"));
  }

  @Test
  void notFoundCarriesTheProvidersWords() throws Exception {
    Map<Class<?>, Message> details =
        failure(Status.Code.NOT_FOUND, () -> get("no-such-savepoint"));
    assertEquals("PROVIDER_NOT_FOUND", errorInfo(details).getReason());
    assertEquals("990301", errorInfo(details).getMetadataMap().get("providerCode"));
    RequestInfo request = (RequestInfo) details.get(RequestInfo.class);
    assertEquals("FAKE-ALIBABA-REQUEST", request.getRequestId());
  }

  @Test
  void aReportedFailureKeepsItsUnicodeMessage() throws Exception {
    Map<Class<?>, Message> details =
        failure(Status.Code.FAILED_PRECONDITION, () -> importJob(400));
    assertEquals("PROVIDER_REPORTED_FAILURE", errorInfo(details).getReason());
    assertEquals(
        "作业正在运行 – läuft noch 🚫", errorInfo(details).getMetadataMap().get("providerMessage"));
  }

  @Test
  void aKnownWaitArrivesAsRetryInfo() throws Exception {
    for (Executable call : List.<Executable>of(() -> importJob(429), () -> get("throttled"))) {
      Map<Class<?>, Message> details = failure(Status.Code.RESOURCE_EXHAUSTED, call);
      assertEquals("PROVIDER_THROTTLED", errorInfo(details).getReason());
      RetryInfo retry = (RetryInfo) details.get(RetryInfo.class);
      assertEquals(3600, retry.getRetryDelay().getSeconds());
    }
  }

  @Test
  void getSavepointIsRetriedWhenUnavailable() {
    // The gateway alone makes at most three attempts; the fourth is the service config's.
    Savepoint savepoint = get("flaky-3-" + random());
    assertEquals("answered at call 4", savepoint.getDescription());
  }

  @Test
  void importSavepointIsNeverRetried() throws Exception {
    long jobId = 503_000_000 + ThreadLocalRandom.current().nextInt(1_000_000);
    Map<Class<?>, Message> details = failure(Status.Code.UNAVAILABLE, () -> importJob(jobId));
    Map<String, String> metadata = errorInfo(details).getMetadataMap();
    assertEquals("unknown", metadata.get("outcome"));
    assertEquals("call 1 of job " + jobId, metadata.get("providerMessage"));
  }

  @Test
  void theDeadlineEndsASlowCall() {
    GetSavepointRequest request =
        GetSavepointRequest.newBuilder().setNamespace("n").setSavepointId("slow").build();
    long began = System.nanoTime();
    StatusRuntimeException failure =
        assertThrows(
            StatusRuntimeException.class,
            () ->
                SavepointServiceGrpc.newBlockingStub(channel)
                    .withDeadlineAfter(500, TimeUnit.MILLISECONDS)
                    .getSavepoint(request));
    assertEquals(Status.Code.DEADLINE_EXCEEDED, failure.getStatus().getCode());
    assertTrue(System.nanoTime() - began < TimeUnit.SECONDS.toNanos(5));
  }

  @Test
  void aSavepointIsCreatedWatchedAndListed() throws Exception {
    String deploymentId = "deployment-" + random();
    Savepoint created = create(demo, deploymentId);
    assertEquals(SavepointState.SAVEPOINT_STATE_STARTED, created.getStatus().getState());
    Savepoint complete = watch(demo, created.getSavepointId());
    assertEquals(SavepointState.SAVEPOINT_STATE_COMPLETED, complete.getStatus().getState());
    assertEquals(deploymentId, complete.getDeploymentId());
    assertEquals(List.of(complete), list(demo, deploymentId));
  }

  @Test
  void aSavepointThatFailsIsThrown() {
    Savepoint created = create(demo, "simulate-failed-savepoint");
    SavepointFailedException failed =
        assertThrows(
            SavepointFailedException.class, () -> watch(demo, created.getSavepointId()));
    SavepointStatus status = failed.savepoint().getStatus();
    assertEquals(SavepointState.SAVEPOINT_STATE_FAILED, status.getState());
    assertEquals("create savepoint failed", status.getFailure().getMessage());
  }

  @Test
  void aWatchOfAnUnknownSavepointEndsAtOnce() throws Exception {
    Map<Class<?>, Message> details =
        failure(Status.Code.NOT_FOUND, () -> watch(demo, "simulate-not-found"));
    assertEquals("PROVIDER_NOT_FOUND", errorInfo(details).getReason());
  }

  @Test
  void allPagesAreListed() {
    String deploymentId = "deployment-" + random();
    List<String> created =
        Stream.generate(() -> create(demo, deploymentId).getSavepointId()).limit(3).toList();
    List<String> listed =
        list(demo, deploymentId).stream().map(Savepoint::getSavepointId).toList();
    assertEquals(created, listed);
  }

  @Test
  void createSavepointIsNeverRetriedAndAListTellsItsOutcome() throws Exception {
    String deploymentId = "unavailable-" + random();
    Map<Class<?>, Message> details =
        failure(Status.Code.UNAVAILABLE, () -> create(channel, deploymentId));
    assertEquals("unknown", errorInfo(details).getMetadataMap().get("outcome"));
    assertEquals(1, list(channel, deploymentId).size());
  }

  @Test
  void aWatchGoesOnWhenUnavailable() throws Exception {
    // The gateway alone makes at most three attempts; the others are the loop's.
    Savepoint complete = watch(channel, "flaky-4-" + random());
    assertEquals("answered at call 5", complete.getDescription());
  }

  @Test
  void aWatchGoesOnAfterTheGatewaysLimit() throws Exception {
    Savepoint complete = watch(channel, "started-5-" + random());
    assertEquals(SavepointState.SAVEPOINT_STATE_COMPLETED, complete.getStatus().getState());
  }

  @Test
  void aWatchGoesOnAfterARestart() throws Exception {
    // One watch alone would take half a minute for as many calls.
    Savepoint complete = watch(restarting, "started-7-" + random());
    assertEquals(SavepointState.SAVEPOINT_STATE_COMPLETED, complete.getStatus().getState());
  }

  @Test
  void theCallersLimitEndsAWatch() {
    // Beyond the gateway's limit, so that it is watched again before.
    long began = System.nanoTime();
    StatusRuntimeException failure =
        assertThrows(
            StatusRuntimeException.class,
            () -> watch(channel, "started-1000000-limit", Duration.ofSeconds(3)));
    assertEquals(Status.Code.DEADLINE_EXCEEDED, failure.getStatus().getCode());
    assertTrue(System.nanoTime() - began < TimeUnit.SECONDS.toNanos(5));
  }
}
