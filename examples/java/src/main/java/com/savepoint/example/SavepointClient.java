package com.savepoint.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import com.savepoint.v1.GetSavepointRequest;
import com.savepoint.v1.GetSavepointResponse;
import com.savepoint.v1.ImportSavepointRequest;
import com.savepoint.v1.ImportSavepointResponse;
import com.savepoint.v1.Savepoint;
import com.savepoint.v1.SavepointServiceGrpc;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/** Calls both RPCs of a running savepoint gateway and prints what comes back. */
public final class SavepointClient {
  static final long DEADLINE_SECONDS = 10;

  // GetSavepoint has no side effects and may be repeated. ImportSavepoint is left out: after an
  // UNAVAILABLE its job may have been changed, and only the caller can know whether to repeat it.
  static final Map<String, ?> SERVICE_CONFIG =
      Map.of(
          "methodConfig",
          List.of(
              Map.of(
                  "name",
                  List.of(
                      Map.of(
                          "service", "savepoint.v1.SavepointService", "method", "GetSavepoint")),
                  "retryPolicy",
                  Map.of(
                      "maxAttempts", 4.0,
                      "initialBackoff", "0.1s",
                      "maxBackoff", "1s",
                      "backoffMultiplier", 2.0,
                      "retryableStatusCodes", List.of("UNAVAILABLE")))));

  private static final List<Class<? extends Message>> DETAIL_TYPES =
      List.of(ErrorInfo.class, BadRequest.class, RequestInfo.class, RetryInfo.class);

  private SavepointClient() {}

  // snippet:begin
  static ManagedChannel connect(String address, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(address, credentials)
        .defaultServiceConfig(SERVICE_CONFIG)
        .build();
  }

  static GetSavepointResponse getSavepoint(ManagedChannel channel, GetSavepointRequest request) {
    return SavepointServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS)
        .getSavepoint(request);
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
    System.out.printf("  at %s%n", savepoint.getSavepointLocation());
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

  private static void callBoth(ManagedChannel channel) {
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
  }

  private static int run(ManagedChannel channel) throws InvalidProtocolBufferException {
    try {
      callBoth(channel);
    } catch (StatusRuntimeException failure) {
      printFailure(failure);
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
