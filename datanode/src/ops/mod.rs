//! The container commands, one file each, and the registry that leads to them.
//!
//! A command is checked in this order: does it make sense, does its token allow it, does the
//! container's state allow it. Only then anything is touched.

mod close_container;
mod create_container;
mod delete_container;
mod echo;
mod get_block;
mod get_committed_block_length;
mod list_block;
mod put_block;
mod read_block;
mod read_chunk;
mod read_container;
mod write_chunk;

use std::sync::Arc;

use ozone_common::request::proceed;
use ozone_proto::hdds::datanode::container_command_request_proto::Body as Request;
use ozone_proto::hdds::datanode::container_command_response_proto::Body as Response;
use ozone_proto::hdds::datanode::{
    ContainerCommandRequestProto, ContainerCommandResponseProto, DatanodeBlockId,
    GetCommittedBlockLengthResponseProto, Result as Code, Type,
};
use tokio::sync::mpsc;

use crate::error::{OpError, OpResult};
use crate::node::Node;
use crate::sequence::Turn;
use crate::tokens::Access;

/// Where answers go.
pub(crate) type Answers = mpsc::Sender<Result<ContainerCommandResponseProto, tonic::Status>>;

/// What every command is given beside its own message.
pub(crate) struct Call {
    pub(crate) node: Arc<Node>,
    pub(crate) container: i64,
    pub(crate) pipeline: String,
    pub(crate) token: Option<String>,
    /// Everything of the answer but its result and body.
    head: ContainerCommandResponseProto,
    answers: Answers,
}

impl Call {
    /// Refuses the command unless its token allows this access to the block.
    pub(crate) fn allow(&self, block: &DatanodeBlockId, access: Access) -> OpResult<()> {
        if block.container_id != self.container || block.local_id < 0 || block.container_id < 0 {
            let text = format!(
                "request for container {} names block {}/{}",
                self.container, block.container_id, block.local_id
            );
            return Err(OpError::new(Code::ContainerIdMismatch, text));
        }
        let token = self.token.as_deref();
        self.node
            .tokens
            .check_block(token, block.container_id, block.local_id, access)
    }

    /// Refuses the command unless its token allows this access to the container.
    pub(crate) fn allow_container(&self, access: Access) -> OpResult<()> {
        if self.container < 0 {
            return Err(OpError::malformed(format!(
                "container {} is none",
                self.container
            )));
        }
        self.node
            .tokens
            .check_container(self.token.as_deref(), self.container, access)
    }

    /// Sends a part of the answer; the rest follows. False if nobody listens any more.
    pub(crate) async fn send_part(&self, body: Response) -> bool {
        let mut part = self.head.clone();
        part.set_result(Code::Success);
        part.body = Some(body);
        self.answers.send(Ok(part)).await.is_ok()
    }
}

/// Carries out one command and sends its answer, or all parts of it.
pub(crate) async fn handle(
    node: Arc<Node>,
    request: ContainerCommandRequestProto,
    turn: Turn,
    answers: Answers,
) {
    let name = name(request.cmd_type);
    let id = request.trace_id.clone();
    let work = carry_out(name, node, request, (turn, answers));
    proceed(name, id.as_deref(), work).await;
}

async fn carry_out(
    name: &'static str,
    node: Arc<Node>,
    request: ContainerCommandRequestProto,
    (turn, answers): (Turn, Answers),
) {
    let started = node.clock.monotonic();
    let head = ContainerCommandResponseProto {
        cmd_type: request.cmd_type,
        trace_id: request.trace_id,
        client_id: request.client_id,
        call_id: request.call_id,
        ..ContainerCommandResponseProto::default()
    };
    let call = Call {
        node,
        container: request.container_id,
        pipeline: request.pipeline_id.unwrap_or_default(),
        token: request.encoded_token,
        head,
        answers,
    };
    let outcome = match request.body {
        Some(body) => run(&call, body, turn).await,
        None => Err(OpError::new(
            Code::UnsupportedRequest,
            format!("command {name} is not supported, or came without its body"),
        )),
    };
    let took = call.node.clock.monotonic().saturating_sub(started);
    let mut answer = call.head;
    match outcome {
        Ok(body) => {
            tracing::debug!(container = call.container, ?took, "command done");
            answer.set_result(Code::Success);
            answer.body = Some(body);
        }
        Err(error) => {
            tracing::debug!(container = call.container, ?took, %error, "command failed");
            let code = error.code.as_str_name();
            metrics::counter!("datanode_op_failures_total", "op" => name, "code" => code)
                .increment(1);
            answer.set_result(error.code);
            answer.message = Some(error.message);
            answer.leader_uuid = error.leader;
        }
    }
    metrics::histogram!("datanode_op_seconds", "op" => name).record(took.as_secs_f64());
    // Nobody may be waiting any more; the command has had its effect.
    let _ = call.answers.send(Ok(answer)).await;
}

fn name(command: i32) -> &'static str {
    Type::try_from(command).map_or("unknown", |command| command.as_str_name())
}

async fn run(call: &Call, body: Request, turn: Turn) -> OpResult<Response> {
    match body {
        Request::WriteChunk(request) => write_chunk::run(call, request, turn).await,
        Request::PutBlock(request) => put_block::run(call, request, turn).await,
        Request::GetBlock(request) => get_block::run(call, request).await,
        Request::ReadBlock(request) => read_block::run(call, request).await,
        Request::ReadChunk(request) => read_chunk::run(call, request).await,
        Request::GetCommittedBlockLength(r) => get_committed_block_length::run(call, r).await,
        Request::ListBlock(request) => list_block::run(call, request).await,
        Request::CreateContainer(_) => create_container::run(call).await,
        Request::ReadContainer(_) => read_container::run(call),
        Request::CloseContainer(_) => close_container::run(call).await,
        Request::DeleteContainer(request) => delete_container::run(call, request).await,
        Request::Echo(request) => Ok(echo::run(request)),
    }
}

/// The id of a block as answers carry it.
pub(crate) fn block_id(container: i64, local: i64, bcsid: u64) -> DatanodeBlockId {
    DatanodeBlockId {
        container_id: container,
        local_id: local,
        block_commit_sequence_id: Some(bcsid),
        replica_index: None,
    }
}

/// The committed length as answers carry it.
pub(crate) fn committed_length(
    container: i64,
    local: i64,
    length: u64,
    bcsid: u64,
) -> GetCommittedBlockLengthResponseProto {
    GetCommittedBlockLengthResponseProto {
        block_id: block_id(container, local, bcsid),
        block_length: i64::try_from(length).unwrap_or(i64::MAX),
    }
}
