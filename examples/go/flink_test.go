package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	flinkv1 "savepoint-gateway/examples/go/gen/savepoint/flink/v1"
	savepointv1 "savepoint-gateway/examples/go/gen/savepoint/v1"
)

// A savepoint of a job of the simulated cluster of `savepoint-gateway demo`.
func ofFlink(key string) *flinkv1.TriggerSavepointRequest {
	return &flinkv1.TriggerSavepointRequest{
		JobId:           fmt.Sprintf("%016x%016x", rand.Uint64()|1<<63, rand.Uint64()),
		TargetDirectory: "s3://bucket/savepoints",
		IdempotencyKey:  key,
	}
}

func TestFlinkSavepointIsBegunAndWatchedUntilItIsComplete(t *testing.T) {
	savepoint, err := takeSavepoint(within(t, 30*time.Second), dialDemo(t), ofFlink(""))
	if err != nil {
		t.Fatal(err)
	}
	if savepoint.GetStatus().GetState() != savepointv1.SavepointState_SAVEPOINT_STATE_COMPLETED ||
		!strings.HasPrefix(savepoint.GetSavepointLocation(), "s3://bucket/savepoints") {
		t.Errorf("%v", savepoint)
	}
}

func TestTheSameKeyBeginsOneSavepoint(t *testing.T) {
	conn, ctx, request := dialDemo(t), within(t, 30*time.Second), ofFlink("before-the-upgrade")
	var ids []string
	for _, key := range []string{"before-the-upgrade", "before-the-upgrade", "another"} {
		request.IdempotencyKey = key
		id, err := triggerSavepoint(ctx, conn, request)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("%v", ids)
	}
}

func TestInvalidFlinkRequestIsRefusedAtOnce(t *testing.T) {
	request := ofFlink("")
	request.JobId = "no hexadecimal digits"
	_, err := takeSavepoint(within(t, 30*time.Second), dialDemo(t), request)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v", err)
	}
}
