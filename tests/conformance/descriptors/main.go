// Writes the descriptors of grpc.testing, the service of the gRPC interoperability tests, as a
// google.protobuf.FileDescriptorSet: the Go module carries them, and no .proto.
package main

import (
	"log"
	"os"

	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	set := &descriptorpb.FileDescriptorSet{}
	service := grpc_testing.File_grpc_testing_test_proto
	for i := range service.Imports().Len() {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(service.Imports().Get(i)))
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(service))
	bytes, err := proto.Marshal(set)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(bytes); err != nil {
		log.Fatal(err)
	}
}
