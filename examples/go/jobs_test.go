package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	dliv1 "savepoint-gateway/examples/go/gen/savepoint/dli/v1"
	savepointv1 "savepoint-gateway/examples/go/gen/savepoint/v1"
)

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func TestJobIsResumedFromTheImportedSavepoint(t *testing.T) {
	conn, ctx := dialDemo(t), within(t, 30*time.Second)
	jobID, path := 1_000_000_000+rand.Int64N(1<<62), "obs://bucket-name/dir/savepoint/"
	_, err := importSavepoint(ctx, conn, &savepointv1.ImportSavepointRequest{
		JobId: jobID, SavepointPath: path,
	})
	if err != nil {
		t.Fatal(err)
	}
	request := &dliv1.GetJobRequest{JobId: jobID}
	imported, err := getJob(ctx, conn, request)
	if err != nil {
		t.Fatal(err)
	}
	if imported.GetJobId() != jobID || imported.GetSavepointPath() != path {
		t.Errorf("after the import: %v", imported)
	}
	running, err := resumeJob(ctx, conn, request)
	if err != nil {
		t.Fatal(err)
	}
	// The simulated DLI tells here what the job was started from.
	if running.GetState() != dliv1.JobState_JOB_STATE_RUNNING ||
		running.GetStateDescription() != "started from "+path {
		t.Errorf("after the start: %v", running)
	}
}

func TestJobThatCannotStartIsAnError(t *testing.T) {
	conn, ctx := dial(t), within(t, 20*time.Second)
	_, err := waitUntilRunning(ctx, conn, &dliv1.GetJobRequest{JobId: 500}, &dliv1.Job{})
	var failed *jobFailedError
	if !errors.As(err, &failed) {
		t.Fatalf("%v", err)
	}
	if failed.job.GetState() != dliv1.JobState_JOB_STATE_SUBMIT_FAIL ||
		!strings.Contains(err.Error(), "保存点不存在") {
		t.Errorf("%v", err)
	}
}

func TestWhatAJobWasBeforeIsNotTakenForItsStart(t *testing.T) {
	conn, request := dial(t), &dliv1.GetJobRequest{JobId: 500}
	before, err := getJob(t.Context(), conn, request)
	if err != nil {
		t.Fatal(err)
	}
	_, err = waitUntilRunning(within(t, time.Second), conn, request, before)
	var failed *jobFailedError
	if err == nil || errors.As(err, &failed) {
		t.Errorf("%v", err)
	}
}

func TestJobControlThatIsOffIsToldByItsReason(t *testing.T) {
	conn, ctx := dial(t), within(t, 20*time.Second)
	_, err := resumeJob(ctx, conn, &dliv1.GetJobRequest{JobId: 500})
	if !errors.Is(err, errJobControlDisabled) {
		t.Errorf("%v", err)
	}
}
