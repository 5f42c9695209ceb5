// Command savepoint-client calls every RPC of a running savepoint gateway and prints what comes
// back.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	savepointv1 "savepoint-gateway/examples/go/gen/savepoint/v1"
)

//go:generate buf generate

const deadline = 10 * time.Second

// The calls that the library may repeat by itself. ImportSavepoint and CreateSavepoint are left out:
// after an UNAVAILABLE they may have changed something, and only the caller can know whether to
// repeat them. So is WatchSavepoint: watchSavepoint repeats it, also after its first message.
const serviceConfig = `
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
`

// snippet:begin

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// savepointFailedError says that a watch has ended, and its savepoint is not complete.
type savepointFailedError struct{ savepoint *savepointv1.Savepoint }

func (failed *savepointFailedError) Error() string {
	state := failed.savepoint.GetStatus()
	return fmt.Sprintf("savepoint %s is %s: %s", failed.savepoint.GetSavepointId(),
		state.GetProviderState(), state.GetFailure().GetMessage())
}

func connect(address string, creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Finds connections that are dead, which a watch alone would not notice.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second}))
}

func getSavepoint(
	ctx context.Context, conn *grpc.ClientConn, request *savepointv1.GetSavepointRequest,
) (*savepointv1.GetSavepointResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return savepointv1.NewSavepointServiceClient(conn).GetSavepoint(ctx, request)
}

// createSavepoint is never repeated: if the outcome is unknown, listSavepoints of the deployment
// tells it.
func createSavepoint(
	ctx context.Context, conn *grpc.ClientConn, request *savepointv1.CreateSavepointRequest,
) (*savepointv1.CreateSavepointResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return savepointv1.NewSavepointServiceClient(conn).CreateSavepoint(ctx, request)
}

// watchSavepoint waits until the savepoint is complete or ctx ends. For one that failed it returns
// a *savepointFailedError.
func watchSavepoint(
	ctx context.Context, conn *grpc.ClientConn, request *savepointv1.WatchSavepointRequest,
) (*savepointv1.Savepoint, error) {
	client := savepointv1.NewSavepointServiceClient(conn)
	return waitUntilComplete(ctx, func() (func() (*savepointv1.Savepoint, error), error) {
		watch, err := client.WatchSavepoint(ctx, request)
		return func() (*savepointv1.Savepoint, error) {
			message, err := watch.Recv()
			return message.GetSavepoint(), err
		}, err
	})
}

// waitUntilComplete does the same with any call that sends savepoints: begin returns what receives
// the next one.
func waitUntilComplete(
	ctx context.Context, begin func() (func() (*savepointv1.Savepoint, error), error),
) (*savepointv1.Savepoint, error) {
	backoff := firstBackoff
	for {
		var savepoint *savepointv1.Savepoint
		receive, err := begin()
		for err == nil {
			var next *savepointv1.Savepoint
			if next, err = receive(); err == nil {
				savepoint, backoff = next, firstBackoff
			}
		}
		switch {
		case err == io.EOF:
			if savepoint.GetStatus().GetState() != savepointv1.SavepointState_SAVEPOINT_STATE_COMPLETED {
				return nil, &savepointFailedError{savepoint}
			}
			return savepoint, nil
		case status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		// Jitter, because many watches may have ended together.
		case <-time.After(backoff/2 + rand.N(backoff/2)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// listSavepoints returns the savepoints of all pages.
func listSavepoints(
	ctx context.Context, conn *grpc.ClientConn, request *savepointv1.ListSavepointsRequest,
) ([]*savepointv1.Savepoint, error) {
	var savepoints []*savepointv1.Savepoint
	page := proto.CloneOf(request)
	for {
		response, err := listPage(ctx, conn, page)
		if err != nil {
			return nil, err
		}
		savepoints = append(savepoints, response.GetSavepoints()...)
		if response.GetNextPageToken() == "" {
			return savepoints, nil
		}
		page.PageToken = response.GetNextPageToken()
	}
}

func listPage(
	ctx context.Context, conn *grpc.ClientConn, request *savepointv1.ListSavepointsRequest,
) (*savepointv1.ListSavepointsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return savepointv1.NewSavepointServiceClient(conn).ListSavepoints(ctx, request)
}

// detailsOf returns what grpc-status-details-bin holds: an *errdetails.ErrorInfo, and a
// *errdetails.BadRequest, RequestInfo and RetryInfo where they apply.
func detailsOf(err error) []any {
	return status.Convert(err).Details()
}

// snippet:end

func importSavepoint(
	ctx context.Context, conn *grpc.ClientConn, request *savepointv1.ImportSavepointRequest,
) (*savepointv1.ImportSavepointResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	return savepointv1.NewSavepointServiceClient(conn).ImportSavepoint(ctx, request)
}

// credentialsFromEnvironment answers plaintext, which belongs on loopback only, when
// SAVEPOINT_GATEWAY_CA is not set.
func credentialsFromEnvironment() (credentials.TransportCredentials, error) {
	caPath := os.Getenv("SAVEPOINT_GATEWAY_CA")
	if caPath == "" {
		return insecure.NewCredentials(), nil
	}
	ca, err := os.ReadFile(caPath)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", caPath)
	}
	if path := os.Getenv("SAVEPOINT_GATEWAY_CLIENT_CERT"); path != "" {
		pair, err := tls.LoadX509KeyPair(path, os.Getenv("SAVEPOINT_GATEWAY_CLIENT_KEY"))
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

func printSavepoint(out io.Writer, savepoint *savepointv1.Savepoint) {
	state := savepoint.GetStatus()
	fmt.Fprintf(out, "  %s: %s (%s)\n",
		savepoint.GetSavepointId(), state.GetState(), state.GetProviderState())
	if location := savepoint.GetSavepointLocation(); location != "" {
		fmt.Fprintf(out, "  at %s\n", location)
	}
	if created := savepoint.GetCreateTime(); created != nil {
		fmt.Fprintf(out, "  created %s\n", created.AsTime().Format(time.RFC3339Nano))
	}
	// A pointer, because absent and false are different answers.
	if savepoint.NativeFormat != nil {
		fmt.Fprintf(out, "  native format: %t\n", savepoint.GetNativeFormat())
	}
}

func printFailure(out io.Writer, err error) {
	fmt.Fprintf(out, "  %s: %s\n", status.Code(err), status.Convert(err).Message())
	for _, detail := range detailsOf(err) {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Fprintf(out, "  reason %s of %s\n", detail.GetReason(), detail.GetDomain())
			metadata := detail.GetMetadata()
			for _, key := range slices.Sorted(maps.Keys(metadata)) {
				fmt.Fprintf(out, "    %s: %s\n", key, metadata[key])
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				fmt.Fprintf(out, "  field %s: %s\n", violation.GetField(), violation.GetDescription())
			}
		case *errdetails.RequestInfo:
			fmt.Fprintf(out, "  the provider's request id: %s\n", detail.GetRequestId())
		case *errdetails.RetryInfo:
			fmt.Fprintf(out, "  try again in %s\n", detail.GetRetryDelay().AsDuration())
		}
	}
}

func run(ctx context.Context, out io.Writer) error {
	creds, err := credentialsFromEnvironment()
	if err != nil {
		return err
	}
	address := cmp.Or(os.Getenv("SAVEPOINT_GATEWAY_ADDRESS"), "127.0.0.1:50051")
	conn, err := connect(address, creds)
	if err != nil {
		return err
	}
	defer conn.Close()

	fmt.Fprintln(out, "ImportSavepoint")
	imported, err := importSavepoint(ctx, conn, &savepointv1.ImportSavepointRequest{
		ProjectId:     "0605767b3300d5762fb7c0186d9e1779",
		JobId:         137228,
		SavepointPath: "obs://bucket-name/dir/savepoint/",
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %s (request %s)\n", imported.GetMessage(), imported.GetRequestId())

	fmt.Fprintln(out, "GetSavepoint")
	got, err := getSavepoint(ctx, conn, &savepointv1.GetSavepointRequest{
		Workspace:   "a14bd5d90a0001",
		Namespace:   "default-namespace",
		SavepointId: "88a8fc49-e090-430a-85d8-3ee8c79c0001",
	})
	if err != nil {
		return err
	}
	printSavepoint(out, got.GetSavepoint())

	fmt.Fprintln(out, "CreateSavepoint")
	created, err := createSavepoint(ctx, conn, &savepointv1.CreateSavepointRequest{
		Workspace:    "a14bd5d90a0001",
		Namespace:    "default-namespace",
		DeploymentId: "58718c99-3b29-4c5e-93bb-c9fc4ec60001",
		Description:  "before the upgrade",
	})
	if err != nil {
		return err
	}
	printSavepoint(out, created.GetSavepoint())

	fmt.Fprintln(out, "WatchSavepoint")
	watchCtx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	complete, err := watchSavepoint(watchCtx, conn, &savepointv1.WatchSavepointRequest{
		Workspace:   "a14bd5d90a0001",
		Namespace:   "default-namespace",
		SavepointId: created.GetSavepoint().GetSavepointId(),
	})
	if err != nil {
		return err
	}
	printSavepoint(out, complete)

	fmt.Fprintln(out, "ListSavepoints")
	listed, err := listSavepoints(ctx, conn, &savepointv1.ListSavepointsRequest{
		Workspace:    "a14bd5d90a0001",
		Namespace:    "default-namespace",
		DeploymentId: "58718c99-3b29-4c5e-93bb-c9fc4ec60001",
	})
	if err != nil {
		return err
	}
	for _, savepoint := range listed {
		printSavepoint(out, savepoint)
	}

	fmt.Fprintln(out, "ImportSavepoint with an empty request, to show what a failure carries")
	_, err = importSavepoint(ctx, conn, &savepointv1.ImportSavepointRequest{})
	if err == nil {
		return errors.New("an empty request was accepted, which the contract rules out")
	}
	printFailure(out, err)
	return nil
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		printFailure(os.Stderr, err)
		os.Exit(1)
	}
}
