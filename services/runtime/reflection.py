"""gRPC reflection for either server, v1 and v1alpha: `grpcurl list`, `describe` and calls without .proto files.

Our stubs are in packages of their own, so that they do not clash with those of other libraries; what is reflected is
the same messages under the names of the wire, with the services that carry them. Both versions of the reflection
service have the same messages; clients ask for the one or the other.
"""

from collections.abc import Iterable

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection_pb2

STREAMS = 2  # at the same time in each process
STREAM_S = 10.0  # the longest one
METHOD = "ServerReflectionInfo"
SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def pool_of(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> descriptor_pool.DescriptorPool:
    """`files`, in the order of their dependencies, and the reflection services, which describe themselves too."""
    pool = descriptor_pool.DescriptorPool()
    described = reflection_pb2.DESCRIPTOR
    v1 = renamed(described, name="grpc/reflection/v1/reflection.proto", package="grpc.reflection.v1")
    for file in (*files, copy_of(described), v1):
        pool.Add(file)
    return pool


def copy_of(file: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    """As it is."""
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    return copy


def renamed(file: FileDescriptor, *, name: str, package: str) -> descriptor_pb2.FileDescriptorProto:
    """`file` as if it lay in `package`."""
    copy = copy_of(file)
    before, after = f".{copy.package}.", f".{package}."
    copy.name, copy.package = name, package
    for message in copy.message_type:
        _rename(message, before, after)
    for method in (method for service in copy.service for method in service.method):
        method.input_type = method.input_type.replace(before, after, 1)
        method.output_type = method.output_type.replace(before, after, 1)
    return copy


def _rename(message: descriptor_pb2.DescriptorProto, before: str, after: str) -> None:
    for field in message.field:
        if field.type_name.startswith(before):
            field.type_name = after + field.type_name.removeprefix(before)
    for nested in message.nested_type:
        _rename(nested, before, after)
