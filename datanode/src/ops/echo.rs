//! Echo: is anyone there?

use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{EchoRequestProto, EchoResponseProto};

pub(super) fn run(request: EchoRequestProto) -> Response {
    Response::Echo(EchoResponseProto {
        payload: request.payload,
    })
}
