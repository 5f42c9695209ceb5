// Calls the server at an address with the cases of the gRPC interoperability tests that grpc-go
// knows, and prints one line for each. A case that fails ends its process, so each runs in one of
// its own: interop ADDRESS runs all, interop ADDRESS CASE one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type call func(context.Context, *grpc.ClientConn)

func suite(run func(context.Context, grpc_testing.TestServiceClient, ...grpc.CallOption)) call {
	return func(ctx context.Context, connection *grpc.ClientConn) {
		run(ctx, grpc_testing.NewTestServiceClient(connection))
	}
}

var cases = map[string]call{
	"cancel_after_begin":          suite(interop.DoCancelAfterBegin),
	"cancel_after_first_response": suite(interop.DoCancelAfterFirstResponse),
	"client_streaming":            suite(interop.DoClientStreaming),
	"custom_metadata":             suite(interop.DoCustomMetadata),
	"empty_stream":                suite(interop.DoEmptyStream),
	"empty_unary":                 suite(interop.DoEmptyUnaryCall),
	"large_unary":                 suite(interop.DoLargeUnaryCall),
	"ping_pong":                   suite(interop.DoPingPong),
	"server_streaming":            suite(interop.DoServerStreaming),
	"special_status_message":      suite(interop.DoSpecialStatusMessage),
	"status_code_and_message":     suite(interop.DoStatusCodeAndMessage),
	"timeout_on_sleeping_server":  suite(interop.DoTimeoutOnSleepingServer),
	"unimplemented_method": func(ctx context.Context, connection *grpc.ClientConn) {
		interop.DoUnimplementedMethod(ctx, connection)
	},
	"unimplemented_service": func(ctx context.Context, connection *grpc.ClientConn) {
		interop.DoUnimplementedService(ctx, grpc_testing.NewUnimplementedServiceClient(connection))
	},
	// grpc-go has no client_compressed_unary: the same call, compressed.
	"client_compressed_unary": func(ctx context.Context, connection *grpc.ClientConn) {
		client := grpc_testing.NewTestServiceClient(connection)
		interop.DoLargeUnaryCall(ctx, client, grpc.UseCompressor(gzip.Name))
	},
	// Not among the suite's cases: metadata that is over the gateway's bound.
	"large_metadata": func(ctx context.Context, connection *grpc.ClientConn) {
		client := grpc_testing.NewTestServiceClient(connection)
		for size, want := range map[int]codes.Code{
			8 << 10: codes.OK, 17 << 10: codes.ResourceExhausted,
		} {
			ctx := metadata.AppendToOutgoingContext(ctx, "x-large", filled(size))
			_, err := client.EmptyCall(ctx, &grpc_testing.Empty{})
			if got := status.Code(err); got != want {
				fail("%d bytes of metadata: %v, want %v", size, err, want)
			}
		}
	},
}

func filled(size int) string {
	text := make([]byte, size)
	for i := range text {
		text[i] = 'x'
	}
	return string(text)
}

func fail(format string, about ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", about...)
	os.Exit(1)
}

func main() {
	if len(os.Args) == 3 {
		one(os.Args[1], os.Args[2])
		return
	}
	names := make([]string, 0, len(cases))
	for name := range cases {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		output, err := exec.Command(os.Args[0], os.Args[1], name).CombinedOutput()
		if err == nil {
			fmt.Println("passed", name)
		} else {
			fmt.Printf("failed %s: %q\n", name, output)
		}
	}
}

func one(address, name string) {
	run, known := cases[name]
	if !known {
		fail("no such case: %s", name)
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fail("%v", err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	run(ctx, connection)
}
