package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	savepointv1 "savepoint-gateway/examples/go/gen/savepoint/v1"
)

// The gateway at SAVEPOINT_GATEWAY_ADDRESS must stand before examples/fake_provider.py, whose head
// lists the ids used here, and end each watch after two seconds.
func dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return dialAt(t, "SAVEPOINT_GATEWAY_ADDRESS")
}

// `savepoint-gateway demo`.
func dialDemo(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return dialAt(t, "SAVEPOINT_DEMO_ADDRESS")
}

// A gateway like the first one, without that limit, and drained and started again every two seconds.
func dialRestarting(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return dialAt(t, "SAVEPOINT_RESTARTING_ADDRESS")
}

func dialAt(t *testing.T, variable string) *grpc.ClientConn {
	t.Helper()
	address := os.Getenv(variable)
	if address == "" {
		t.Skipf("%s is not set: no gateway to call", variable)
	}
	creds, err := credentialsFromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connect(address, creds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func tryImport(t *testing.T, conn *grpc.ClientConn, jobID int64, path string) (string, error) {
	t.Helper()
	response, err := importSavepoint(t.Context(), conn, &savepointv1.ImportSavepointRequest{
		JobId: jobID, SavepointPath: path,
	})
	return response.GetMessage(), err
}

func tryGet(t *testing.T, conn *grpc.ClientConn, id string) (*savepointv1.Savepoint, error) {
	t.Helper()
	response, err := getSavepoint(t.Context(), conn, &savepointv1.GetSavepointRequest{
		Namespace: "default-namespace", SavepointId: id,
	})
	return response.GetSavepoint(), err
}

func mustGet(t *testing.T, conn *grpc.ClientConn, id string) *savepointv1.Savepoint {
	t.Helper()
	savepoint, err := tryGet(t, conn, id)
	if err != nil {
		t.Fatal(err)
	}
	return savepoint
}

func tryCreate(
	t *testing.T, conn *grpc.ClientConn, deploymentID string,
) (*savepointv1.Savepoint, error) {
	t.Helper()
	response, err := createSavepoint(t.Context(), conn, &savepointv1.CreateSavepointRequest{
		Namespace: "default-namespace", DeploymentId: deploymentID,
	})
	return response.GetSavepoint(), err
}

func mustCreate(t *testing.T, conn *grpc.ClientConn, deploymentID string) *savepointv1.Savepoint {
	t.Helper()
	savepoint, err := tryCreate(t, conn, deploymentID)
	if err != nil {
		t.Fatal(err)
	}
	return savepoint
}

func tryWatch(
	t *testing.T, conn *grpc.ClientConn, id string, limit time.Duration,
) (*savepointv1.Savepoint, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return watchSavepoint(ctx, conn, &savepointv1.WatchSavepointRequest{
		Namespace: "default-namespace", SavepointId: id,
	})
}

func mustWatch(t *testing.T, conn *grpc.ClientConn, id string) *savepointv1.Savepoint {
	t.Helper()
	savepoint, err := tryWatch(t, conn, id, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "state", savepoint.GetStatus().GetState(),
		savepointv1.SavepointState_SAVEPOINT_STATE_COMPLETED)
	return savepoint
}

func mustList(t *testing.T, conn *grpc.ClientConn, deploymentID string) []*savepointv1.Savepoint {
	t.Helper()
	savepoints, err := listSavepoints(t.Context(), conn, &savepointv1.ListSavepointsRequest{
		Namespace: "default-namespace", DeploymentId: deploymentID, PageSize: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return savepoints
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// detail finds the only detail of type T in a failure that must have the given code.
func detail[T any](t *testing.T, err error, code codes.Code) T {
	t.Helper()
	if got := status.Code(err); got != code {
		t.Fatalf("got %v (%v), want %v", got, err, code)
	}
	var found []T
	for _, any := range detailsOf(err) {
		if typed, ok := any.(T); ok {
			found = append(found, typed)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d details of type %T in %v", len(found), *new(T), detailsOf(err))
	}
	return found[0]
}

func errorInfo(t *testing.T, err error, code codes.Code) *errdetails.ErrorInfo {
	t.Helper()
	info := detail[*errdetails.ErrorInfo](t, err, code)
	equal(t, "domain", info.GetDomain(), "savepoint-gateway")
	return info
}

func TestDocumentedAnswersArriveWhole(t *testing.T) {
	conn := dial(t)
	imported, err := importSavepoint(t.Context(), conn, &savepointv1.ImportSavepointRequest{
		JobId: 137228, SavepointPath: "obs://bucket-name/dir/savepoint/",
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "message", imported.GetMessage(), "The job is successfully updated.")
	equal(t, "request id", imported.GetRequestId(), "fake-huawei-request")

	savepoint := mustGet(t, conn, "88a8fc49-e090-430a-85d8-3ee8c79c0001")
	equal(t, "state", savepoint.GetStatus().GetState(),
		savepointv1.SavepointState_SAVEPOINT_STATE_COMPLETED)
	equal(t, "origin", savepoint.GetOrigin(),
		savepointv1.SavepointOrigin_SAVEPOINT_ORIGIN_USER_REQUEST)
	equal(t, "created", savepoint.GetCreateTime().AsTime(), time.Unix(1659066711, 0).UTC())
	equal(t, "updated", savepoint.GetUpdateTime().AsTime(), time.Unix(1659066712, 0).UTC())
	if savepoint.NativeFormat == nil || !*savepoint.NativeFormat {
		t.Errorf("native format: got %v, want true", savepoint.NativeFormat)
	}
}

func TestInt64Beyond2ToThe53IsExact(t *testing.T) {
	conn := dial(t)
	for _, jobID := range []int64{9007199254740993, 9223372036854775807} {
		message, err := tryImport(t, conn, jobID, "obs://bucket-name/dir/savepoint/")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "message", message, fmt.Sprintf("path %d, body %d", jobID, jobID))
	}
}

func TestUnicodeArrivesIntactBothWays(t *testing.T) {
	message, err := tryImport(t, dial(t), 300, "obs://桶/保存点 é/")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "message", message, "已导入 obs://桶/保存点 é/ ✓")
}

func TestUnknownEnumTextIsUnspecifiedAndKept(t *testing.T) {
	savepoint := mustGet(t, dial(t), "unknown-enums")
	equal(t, "state", savepoint.GetStatus().GetState(),
		savepointv1.SavepointState_SAVEPOINT_STATE_UNSPECIFIED)
	equal(t, "provider state", savepoint.GetStatus().GetProviderState(), "HALF_DONE")
	equal(t, "origin", savepoint.GetOrigin(),
		savepointv1.SavepointOrigin_SAVEPOINT_ORIGIN_UNSPECIFIED)
	equal(t, "provider origin", savepoint.GetProviderOrigin(), "COSMIC_RAY")
}

func TestAbsentOptionalsAreAbsent(t *testing.T) {
	conn := dial(t)
	for _, id := range []string{"sparse", "nulls"} {
		savepoint := mustGet(t, conn, id)
		equal(t, "id", savepoint.GetSavepointId(), id)
		if savepoint.NativeFormat != nil || savepoint.StopWithDrainEnabled != nil ||
			savepoint.Status != nil || savepoint.CreateTime != nil || savepoint.UpdateTime != nil {
			t.Errorf("%s: something is present in %v", id, savepoint)
		}
	}
}

func TestFalseIsNotAbsent(t *testing.T) {
	savepoint := mustGet(t, dial(t), "false-optionals")
	for _, optional := range []*bool{savepoint.NativeFormat, savepoint.StopWithDrainEnabled} {
		if optional == nil || *optional {
			t.Errorf("got %v, want false in %v", optional, savepoint)
		}
	}
}

func TestMillisecondsBecomeTimestamps(t *testing.T) {
	savepoint := mustGet(t, dial(t), "milliseconds")
	equal(t, "created", savepoint.GetCreateTime().AsTime(), time.UnixMilli(1711647009620).UTC())
	equal(t, "updated", savepoint.GetUpdateTime().AsTime(), time.UnixMilli(1711647010001).UTC())
}

func TestAFailedSavepointIsAnAnswer(t *testing.T) {
	got := mustGet(t, dial(t), "failed").GetStatus()
	equal(t, "state", got.GetState(), savepointv1.SavepointState_SAVEPOINT_STATE_FAILED)
	equal(t, "message", got.GetFailure().GetMessage(), "保存点失败 – żółć 💥")
	equal(t, "reason", got.GetFailure().GetReason(), "IO Exception")
	equal(t, "failed", got.GetFailure().GetFailTime().AsTime(), time.Unix(1660000000, 0).UTC())
}

func TestEveryBadFieldIsNamed(t *testing.T) {
	_, err := importSavepoint(t.Context(), dial(t), &savepointv1.ImportSavepointRequest{})
	var fields []string
	for _, violation := range detail[*errdetails.BadRequest](
		t, err, codes.InvalidArgument).GetFieldViolations() {
		fields = append(fields, violation.GetField())
	}
	slices.Sort(fields)
	if !slices.Equal(fields, []string{"job_id", "savepoint_path"}) {
		t.Errorf("fields: %v", fields)
	}
	info := errorInfo(t, err, codes.InvalidArgument)
	equal(t, "outcome", info.GetMetadata()["outcome"], "not_applied")
	equal(t, "reason", info.GetReason(), "INVALID_REQUEST")
}

func TestNotFoundCarriesTheProvidersWords(t *testing.T) {
	_, err := tryGet(t, dial(t), "no-such-savepoint")
	info := errorInfo(t, err, codes.NotFound)
	equal(t, "reason", info.GetReason(), "PROVIDER_NOT_FOUND")
	equal(t, "provider code", info.GetMetadata()["providerCode"], "990301")
	request := detail[*errdetails.RequestInfo](t, err, codes.NotFound)
	equal(t, "request id", request.GetRequestId(), "FAKE-ALIBABA-REQUEST")
}

func TestAReportedFailureKeepsItsUnicodeMessage(t *testing.T) {
	_, err := tryImport(t, dial(t), 400, "obs://bucket-name/dir/savepoint/")
	info := errorInfo(t, err, codes.FailedPrecondition)
	equal(t, "reason", info.GetReason(), "PROVIDER_REPORTED_FAILURE")
	equal(t, "message", info.GetMetadata()["providerMessage"], "作业正在运行 – läuft noch 🚫")
}

func TestAKnownWaitArrivesAsRetryInfo(t *testing.T) {
	conn := dial(t)
	_, importErr := tryImport(t, conn, 429, "obs://bucket-name/dir/savepoint/")
	_, getErr := tryGet(t, conn, "throttled")
	for _, err := range []error{importErr, getErr} {
		equal(t, "reason",
			errorInfo(t, err, codes.ResourceExhausted).GetReason(), "PROVIDER_THROTTLED")
		retry := detail[*errdetails.RetryInfo](t, err, codes.ResourceExhausted)
		equal(t, "delay", retry.GetRetryDelay().AsDuration(), time.Hour)
	}
}

func TestGetSavepointIsRetriedWhenUnavailable(t *testing.T) {
	// The gateway alone makes at most three attempts; the fourth is the service config's.
	savepoint := mustGet(t, dial(t), fmt.Sprintf("flaky-3-%d", rand.Uint64()))
	equal(t, "description", savepoint.GetDescription(), "answered at call 4")
}

func TestImportSavepointIsNeverRetried(t *testing.T) {
	jobID := 503_000_000 + rand.Int64N(1_000_000)
	_, err := tryImport(t, dial(t), jobID, "obs://bucket-name/dir/savepoint/")
	metadata := errorInfo(t, err, codes.Unavailable).GetMetadata()
	equal(t, "outcome", metadata["outcome"], "unknown")
	equal(t, "message", metadata["providerMessage"], fmt.Sprintf("call 1 of job %d", jobID))
}

func TestTheDeadlineEndsASlowCall(t *testing.T) {
	conn := dial(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := getSavepoint(ctx, conn, &savepointv1.GetSavepointRequest{
		Namespace: "n", SavepointId: "slow",
	})
	equal(t, "code", status.Code(err), codes.DeadlineExceeded)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestASavepointIsCreatedWatchedAndListed(t *testing.T) {
	conn := dialDemo(t)
	deploymentID := fmt.Sprintf("deployment-%d", rand.Uint64())
	created := mustCreate(t, conn, deploymentID)
	equal(t, "state", created.GetStatus().GetState(),
		savepointv1.SavepointState_SAVEPOINT_STATE_STARTED)
	complete := mustWatch(t, conn, created.GetSavepointId())
	equal(t, "deployment", complete.GetDeploymentId(), deploymentID)
	listed := mustList(t, conn, deploymentID)
	if len(listed) != 1 || !proto.Equal(listed[0], complete) {
		t.Errorf("got %v, want only %v", listed, complete)
	}
}

func TestASavepointThatFailsIsAnError(t *testing.T) {
	conn := dialDemo(t)
	created := mustCreate(t, conn, "simulate-failed-savepoint")
	_, err := tryWatch(t, conn, created.GetSavepointId(), 20*time.Second)
	var failed *savepointFailedError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	got := failed.savepoint.GetStatus()
	equal(t, "state", got.GetState(), savepointv1.SavepointState_SAVEPOINT_STATE_FAILED)
	equal(t, "message", got.GetFailure().GetMessage(), "create savepoint failed")
}

func TestAWatchOfAnUnknownSavepointEndsAtOnce(t *testing.T) {
	_, err := tryWatch(t, dialDemo(t), "simulate-not-found", 20*time.Second)
	equal(t, "reason", errorInfo(t, err, codes.NotFound).GetReason(), "PROVIDER_NOT_FOUND")
}

func TestAllPagesAreListed(t *testing.T) {
	conn := dialDemo(t)
	deploymentID := fmt.Sprintf("deployment-%d", rand.Uint64())
	var created, listed []string
	for range 3 {
		created = append(created, mustCreate(t, conn, deploymentID).GetSavepointId())
	}
	for _, savepoint := range mustList(t, conn, deploymentID) {
		listed = append(listed, savepoint.GetSavepointId())
	}
	if !slices.Equal(listed, created) {
		t.Errorf("got %v, want %v", listed, created)
	}
}

func TestCreateSavepointIsNeverRetriedAndAListTellsItsOutcome(t *testing.T) {
	conn := dial(t)
	deploymentID := fmt.Sprintf("unavailable-%d", rand.Uint64())
	_, err := tryCreate(t, conn, deploymentID)
	metadata := errorInfo(t, err, codes.Unavailable).GetMetadata()
	equal(t, "outcome", metadata["outcome"], "unknown")
	equal(t, "savepoints", len(mustList(t, conn, deploymentID)), 1)
}

func TestAWatchGoesOnWhenUnavailable(t *testing.T) {
	// The gateway alone makes at most three attempts; the others are the loop's.
	complete := mustWatch(t, dial(t), fmt.Sprintf("flaky-4-%d", rand.Uint64()))
	equal(t, "description", complete.GetDescription(), "answered at call 5")
}

func TestAWatchGoesOnAfterTheGatewaysLimit(t *testing.T) {
	mustWatch(t, dial(t), fmt.Sprintf("started-5-%d", rand.Uint64()))
}

func TestAWatchGoesOnAfterARestart(t *testing.T) {
	// One watch alone would take half a minute for as many calls.
	mustWatch(t, dialRestarting(t), fmt.Sprintf("started-7-%d", rand.Uint64()))
}

func TestTheCallersLimitEndsAWatch(t *testing.T) {
	// Beyond the gateway's limit, so that it is watched again before.
	began := time.Now()
	_, err := tryWatch(t, dial(t), "started-1000000-limit", 3*time.Second)
	equal(t, "code", status.Code(err), codes.DeadlineExceeded)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
