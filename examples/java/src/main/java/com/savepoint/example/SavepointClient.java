package com.savepoint.example;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import com.savepoint.v1.CreateSavepointRequest;
import com.savepoint.v1.CreateSavepointResponse;
import com.savepoint.v1.GetSavepointRequest;
import com.savepoint.v1.GetSavepointResponse;
import com.savepoint.v1.ImportSavepointRequest;
import com.savepoint.v1.ImportSavepointResponse;
import com.savepoint.v1.ListSavepointsRequest;
import com.savepoint.v1.ListSavepointsResponse;
import com.savepoint.v1.Savepoint;
import com.savepoint.v1.SavepointServiceGrpc;
import com.savepoint.v1.SavepointState;
import com.savepoint.v1.WatchSavepointRequest;
import com.savepoint.v1.WatchSavepointResponse;
import io.grpc.ChannelCredentials;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** Calls every RPC of a running savepoint gateway and prints what comes back. */
public final class SavepointClient {
  static final long DEADLINE_SECONDS = 10;

  // The calls that the library may repeat by itself. ImportSavepoint and CreateSavepoint are left
  // out: after an UNAVAILABLE they may have changed something, and only the caller can know whether
  // to repeat them. So is WatchSavepoint: watchSavepoint repeats it, also after its first message.
  private static final String SERVICE_CONFIG =
      """
      {"methodConfig": [{
        "name": [
          {"service": "savepoint.v1.SavepointService", "method": "GetSavepoint"},
          {"service": "savepoint.v1.SavepointService", "method": "ListSavepoints"},
          {"service": "savepoint.dli.v1.DliService", "method": "GetJob"},
          {"service": "savepoint.flink.v1.FlinkService", "method": "GetSavepoint"},
          {"service": "savepoint.flink.v1.FlinkService", "method": "GetJob"}
        ],
        "retryPolicy": {
          "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
          "retryableStatusCodes": ["UNAVAILABLE"]
        }
      }]}
      """;

  private static final List<Class<? extends Message>> DETAIL_TYPES =
      List.of(ErrorInfo.class, BadRequest.class, RequestInfo.class, RetryInfo.class);

  private SavepointClient() {}

  // snippet:begin
  // A watch that ends with one of these says nothing about its savepoint.
  private static final Set<Status.Code> WATCH_AGAIN =
      EnumSet.of(Status.Code.UNAVAILABLE, Status.Code.DEADLINE_EXCEEDED);
  private static final long FIRST_BACKOFF_MS = 500;
  private static final long MAX_BACKOFF_MS = 10_000;

  /** A watch has ended, and its savepoint is not complete. */
  static final class SavepointFailedException extends Exception {
    private final transient Savepoint savepoint;

    SavepointFailedException(Savepoint savepoint) {
      super(
          "savepoint %s is %s: %s"
              .formatted(
                  savepoint.getSavepointId(),
                  savepoint.getStatus().getProviderState(),
                  savepoint.getStatus().getFailure().getMessage()));
      this.savepoint = savepoint;
    }

    Savepoint savepoint() {
      return savepoint;
    }
  }

  static ManagedChannel connect(String address, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(address, credentials)
        .defaultServiceConfig(new Gson().fromJson(SERVICE_CONFIG, new TypeToken<Map<String, ?>>() {}))
        // Finds connections that are dead, which a watch alone would not notice.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .build();
  }

  static GetSavepointResponse getSavepoint(ManagedChannel channel, GetSavepointRequest request) {
    return SavepointServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS)
        .getSavepoint(request);
  }

  /** Never repeated: if the outcome is unknown, listSavepoints of the deployment tells it. */
  static CreateSavepointResponse createSavepoint(
      ManagedChannel channel, CreateSavepointRequest request) {
    return SavepointServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS)
        .createSavepoint(request);
  }

  /** Waits until the savepoint is complete. */
  static Savepoint watchSavepoint(
      ManagedChannel channel, WatchSavepointRequest request, Duration timeout)
      throws SavepointFailedException, InterruptedException {
    return waitUntilComplete(
        end -> SavepointServiceGrpc.newBlockingStub(channel).withDeadline(end).watchSavepoint(request),
        WatchSavepointResponse::getSavepoint,
        timeout);
  }

  /** The same with any call that sends savepoints. */
  static <T> Savepoint waitUntilComplete(
      Function<Deadline, Iterator<T>> begin, Function<T, Savepoint> savepointOf, Duration timeout)
      throws SavepointFailedException, InterruptedException {
    Deadline end = Deadline.after(timeout.toMillis(), TimeUnit.MILLISECONDS);
    long backoff = FIRST_BACKOFF_MS;
    while (true) {
      try {
        Savepoint savepoint = Savepoint.getDefaultInstance();
        Iterator<T> watch = begin.apply(end);
        while (watch.hasNext()) {
          savepoint = savepointOf.apply(watch.next());
          backoff = FIRST_BACKOFF_MS;
        }
        if (savepoint.getStatus().getState() != SavepointState.SAVEPOINT_STATE_COMPLETED) {
          throw new SavepointFailedException(savepoint);
        }
        return savepoint;
      } catch (StatusRuntimeException failure) {
        // Jitter, because many watches may have ended together.
        long wait = ThreadLocalRandom.current().nextLong(backoff / 2, backoff);
        if (!WATCH_AGAIN.contains(failure.getStatus().getCode())
            || end.timeRemaining(TimeUnit.MILLISECONDS) <= wait) {
          throw failure;
        }
        Thread.sleep(wait);
        backoff = Math.min(2 * backoff, MAX_BACKOFF_MS);
      }
    }
  }

  /** The savepoints of all pages. */
  static List<Savepoint> listSavepoints(ManagedChannel channel, ListSavepointsRequest request) {
    List<Savepoint> savepoints = new ArrayList<>();
    ListSavepointsRequest page = request;
    while (true) {
      ListSavepointsResponse response =
          SavepointServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS)
              .listSavepoints(page);
      savepoints.addAll(response.getSavepointsList());
      if (response.getNextPageToken().isEmpty()) {
        return savepoints;
      }
      page = request.toBuilder().setPageToken(response.getNextPageToken()).build();
    }
  }

  /** What grpc-status-details-bin holds: ErrorInfo, and the others where they apply. */
  static List<Message> detailsOf(StatusRuntimeException failure)
      throws InvalidProtocolBufferException {
    List<Message> details = new ArrayList<>();
    for (Any packed : StatusProto.fromThrowable(failure).getDetailsList()) {
      for (Class<? extends Message> type : DETAIL_TYPES) {
        if (packed.is(type)) {
          details.add(packed.unpack(type));
        }
      }
    }
    return details;
  }
  // snippet:end

  static ImportSavepointResponse importSavepoint(
      ManagedChannel channel, ImportSavepointRequest request) {
    return SavepointServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS)
        .importSavepoint(request);
  }

  /** Plaintext, which belongs on loopback only, when SAVEPOINT_GATEWAY_CA is not set. */
  static ChannelCredentials credentialsFromEnvironment() throws IOException {
    Optional<String> ca = environment("SAVEPOINT_GATEWAY_CA");
    if (ca.isEmpty()) {
      return InsecureChannelCredentials.create();
    }
    TlsChannelCredentials.Builder tls =
        TlsChannelCredentials.newBuilder().trustManager(new File(ca.get()));
    Optional<String> certificate = environment("SAVEPOINT_GATEWAY_CLIENT_CERT");
    if (certificate.isPresent()) {
      String key = environment("SAVEPOINT_GATEWAY_CLIENT_KEY").orElse("");
      tls.keyManager(new File(certificate.get()), new File(key));
    }
    return tls.build();
  }

  private static Optional<String> environment(String name) {
    return Optional.ofNullable(System.getenv(name)).filter(value -> !value.isEmpty());
  }

  private static void printSavepoint(Savepoint savepoint) {
    System.out.printf(
        "  %s: %s (%s)%n",
        savepoint.getSavepointId(),
        savepoint.getStatus().getState(),
        savepoint.getStatus().getProviderState());
    if (!savepoint.getSavepointLocation().isEmpty()) {
      System.out.printf("  at %s%n", savepoint.getSavepointLocation());
    }
    if (savepoint.hasCreateTime()) {
      System.out.printf("  created %s%n", instantOf(savepoint.getCreateTime()));
    }
    if (savepoint.hasNativeFormat()) {
      System.out.printf("  native format: %s%n", savepoint.getNativeFormat());
    }
  }

  static Instant instantOf(Timestamp timestamp) {
    return Instant.ofEpochSecond(timestamp.getSeconds(), timestamp.getNanos());
  }

  private static void printFailure(StatusRuntimeException failure)
      throws InvalidProtocolBufferException {
    System.out.printf(
        "  %s: %s%n", failure.getStatus().getCode(), failure.getStatus().getDescription());
    for (Message detail : detailsOf(failure)) {
      if (detail instanceof ErrorInfo info) {
        System.out.printf("  reason %s of %s%n", info.getReason(), info.getDomain());
        new TreeMap<>(info.getMetadataMap())
            .forEach((key, value) -> System.out.printf("    %s: %s%n", key, value));
      } else if (detail instanceof BadRequest badRequest) {
        for (BadRequest.FieldViolation violation : badRequest.getFieldViolationsList()) {
          System.out.printf("  field %s: %s%n", violation.getField(), violation.getDescription());
        }
      } else if (detail instanceof RequestInfo request) {
        System.out.printf("  the provider's request id: %s%n", request.getRequestId());
      } else if (detail instanceof RetryInfo retry) {
        com.google.protobuf.Duration delay = retry.getRetryDelay();
        System.out.printf(
            "  try again in %s%n", Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
      }
    }
  }

  private static void callAll(ManagedChannel channel)
      throws SavepointFailedException, InterruptedException {
    System.out.println("ImportSavepoint");
    ImportSavepointResponse imported =
        importSavepoint(
            channel,
            ImportSavepointRequest.newBuilder()
                .setProjectId("0605767b3300d5762fb7c0186d9e1779")
                .setJobId(137228)
                .setSavepointPath("obs://bucket-name/dir/savepoint/")
                .build());
    System.out.printf("  %s (request %s)%n", imported.getMessage(), imported.getRequestId());

    System.out.println("GetSavepoint");
    GetSavepointResponse got =
        getSavepoint(
            channel,
            GetSavepointRequest.newBuilder()
                .setWorkspace("a14bd5d90a0001")
                .setNamespace("default-namespace")
                .setSavepointId("88a8fc49-e090-430a-85d8-3ee8c79c0001")
                .build());
    printSavepoint(got.getSavepoint());

    System.out.println("CreateSavepoint");
    CreateSavepointResponse created =
        createSavepoint(
            channel,
            CreateSavepointRequest.newBuilder()
                .setWorkspace("a14bd5d90a0001")
                .setNamespace("default-namespace")
                .setDeploymentId("58718c99-3b29-4c5e-93bb-c9fc4ec60001")
                .setDescription("before the upgrade")
                .build());
    printSavepoint(created.getSavepoint());

    System.out.println("WatchSavepoint");
    Savepoint complete =
        watchSavepoint(
            channel,
            WatchSavepointRequest.newBuilder()
                .setWorkspace("a14bd5d90a0001")
                .setNamespace("default-namespace")
                .setSavepointId(created.getSavepoint().getSavepointId())
                .build(),
            Duration.ofMinutes(10));
    printSavepoint(complete);

    System.out.println("ListSavepoints");
    listSavepoints(
            channel,
            ListSavepointsRequest.newBuilder()
                .setWorkspace("a14bd5d90a0001")
                .setNamespace("default-namespace")
                .setDeploymentId("58718c99-3b29-4c5e-93bb-c9fc4ec60001")
                .build())
        .forEach(SavepointClient::printSavepoint);
  }

  private static int run(ManagedChannel channel)
      throws InvalidProtocolBufferException, InterruptedException {
    try {
      callAll(channel);
    } catch (StatusRuntimeException failure) {
      printFailure(failure);
      return 1;
    } catch (SavepointFailedException failed) {
      System.out.printf("  %s%n", failed.getMessage());
      return 1;
    }
    System.out.println("ImportSavepoint with an empty request, to show what a failure carries");
    try {
      importSavepoint(channel, ImportSavepointRequest.getDefaultInstance());
    } catch (StatusRuntimeException failure) {
      printFailure(failure);
      return 0;
    }
    System.out.println("  it was accepted, which the contract rules out");
    return 1;
  }

  /** Calls the gateway at SAVEPOINT_GATEWAY_ADDRESS. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    String address = environment("SAVEPOINT_GATEWAY_ADDRESS").orElse("127.0.0.1:50051");
    ManagedChannel channel = connect(address, credentialsFromEnvironment());
    int exitCode;
    try {
      exitCode = run(channel);
    } finally {
      channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
    }
    System.exit(exitCode);
  }
}
