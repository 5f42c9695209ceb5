package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	dliv1 "savepoint-gateway/examples/go/gen/savepoint/dli/v1"
)

// The other half of an import: the job is started from its savepoint, and watched until it runs.

// errJobControlDisabled says that this gateway starts and stops no jobs: it runs without
// --enable-job-control.
var errJobControlDisabled = errors.New("this gateway starts and stops no jobs")

// jobFailedError says that a job was started, and does not run.
type jobFailedError struct{ job *dliv1.Job }

func (failed *jobFailedError) Error() string {
	return fmt.Sprintf("job %d is %s: %s",
		failed.job.GetJobId(), failed.job.GetProviderState(), failed.job.GetStateDescription())
}

func getJob(
	ctx context.Context, conn *grpc.ClientConn, request *dliv1.GetJobRequest,
) (*dliv1.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	response, err := dliv1.NewDliServiceClient(conn).GetJob(ctx, request)
	return response.GetJob(), err
}

// resumeJob starts a job from its savepoint, and waits until it runs or ctx ends. The start is
// never repeated: if its outcome is unknown, getJob tells the job's state.
func resumeJob(
	ctx context.Context, conn *grpc.ClientConn, request *dliv1.GetJobRequest,
) (*dliv1.Job, error) {
	before, err := getJob(ctx, conn, request)
	if err != nil {
		return nil, err
	}
	if err := startJob(ctx, conn, request); err != nil {
		if reasonOf(err) == "METHOD_DISABLED" {
			return nil, fmt.Errorf("%w: %w", errJobControlDisabled, err)
		}
		return nil, err
	}
	return waitUntilRunning(ctx, conn, request, before)
}

func startJob(ctx context.Context, conn *grpc.ClientConn, request *dliv1.GetJobRequest) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	_, err := dliv1.NewDliServiceClient(conn).ResumeJob(ctx, &dliv1.ResumeJobRequest{
		ProjectId: request.GetProjectId(),
		JobId:     request.GetJobId(),
	})
	return err
}

// waitUntilRunning waits for a start. before is the job before it, which may still be shown for a
// while. For a job that does not run it returns a *jobFailedError.
func waitUntilRunning(
	ctx context.Context, conn *grpc.ClientConn, request *dliv1.GetJobRequest, before *dliv1.Job,
) (*dliv1.Job, error) {
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		job, err := getJob(ctx, conn, request)
		if err != nil {
			return nil, err
		}
		if !proto.Equal(job, before) {
			switch job.GetState() {
			case dliv1.JobState_JOB_STATE_RUNNING:
				return job, nil
			case dliv1.JobState_JOB_STATE_SUBMIT_FAIL,
				dliv1.JobState_JOB_STATE_RUNNING_EXCEPTION,
				dliv1.JobState_JOB_STATE_ARREARAGE_STOPPED:
				return nil, &jobFailedError{job}
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("job %d is still %s: %w",
				job.GetJobId(), job.GetProviderState(), ctx.Err())
		case <-time.After(wait):
		}
	}
}

// reasonOf tells why a call failed, as a name that programs can compare. The text is for people.
func reasonOf(err error) string {
	for _, detail := range detailsOf(err) {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
