package main

import (
	"context"
	"crypto/rand"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	flinkv1 "savepoint-gateway/examples/go/gen/savepoint/flink/v1"
	savepointv1 "savepoint-gateway/examples/go/gen/savepoint/v1"
)

// A savepoint of a job on a cluster of Apache Flink: begun once, and watched until it is complete.

// triggerSavepoint begins a savepoint and returns its trigger id. With the same idempotency key a
// second call begins no second savepoint, so a call whose outcome is unknown can be made again.
func triggerSavepoint(
	ctx context.Context, conn *grpc.ClientConn, request *flinkv1.TriggerSavepointRequest,
) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	response, err := flinkv1.NewFlinkServiceClient(conn).TriggerSavepoint(ctx, request)
	return response.GetTriggerId(), err
}

// takeSavepoint begins a savepoint and waits until it is complete or ctx ends. For one that failed
// it returns a *savepointFailedError.
func takeSavepoint(
	ctx context.Context, conn *grpc.ClientConn, request *flinkv1.TriggerSavepointRequest,
) (*savepointv1.Savepoint, error) {
	request = proto.CloneOf(request)
	if request.IdempotencyKey == "" {
		request.IdempotencyKey = rand.Text()
	}
	triggerID, err := triggerSavepoint(ctx, conn, request)
	if status.Code(err) == codes.Unavailable {
		// Once more. It has the same key, so whatever became of the first one, there is one savepoint.
		triggerID, err = triggerSavepoint(ctx, conn, request)
	}
	if err != nil {
		return nil, err
	}
	client, watched := flinkv1.NewFlinkServiceClient(conn), &flinkv1.WatchSavepointRequest{
		Cluster: request.GetCluster(), JobId: request.GetJobId(), TriggerId: triggerID,
	}
	return waitUntilComplete(ctx, func() (func() (*savepointv1.Savepoint, error), error) {
		watch, err := client.WatchSavepoint(ctx, watched)
		return func() (*savepointv1.Savepoint, error) {
			message, err := watch.Recv()
			return message.GetSavepoint(), err
		}, err
	})
}
