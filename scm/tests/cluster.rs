//! SCM over the wire, with datanodes that only pretend.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ozone_common::clock::{ManualClock, SystemClock};
use ozone_common::net::TcpNet;

use ozone_proto::hdds::block::{
    GetContainerLocationsRequest, GetScmInfoRequestProto, Status, Type,
    scm_block_location_request::Body as Ask, scm_block_location_response::Body as Told,
};
use ozone_proto::hdds::{ContainerBlockId, ExcludeListProto, LifeCycleState, ReplicationFactor};
use ozone_proto::scm::scm_datanode_service_client::ScmDatanodeServiceClient;
use ozone_proto::scm::scm_security_service_client::ScmSecurityServiceClient;
use ozone_proto::scm::{CloseContainerRequest, GetSecretKeysRequest, ListContainersRequest};
use ozone_proto::scm::{
    GetCaCertificatesRequest, RegisterRequest, SignCertificateRequest, command::Body,
};
use ozone_rpc::channel::{Channels, ClientIdentity};
use ozone_security::ca::{CertificateAuthority, Grant, KeyRequest, Standing};
use ozone_security::chain::verify_chain;
use ozone_security::credentials::{Credentials, from_pem};
use ozone_security::identity::{Role, Subject};
use ozone_security::live::Live;
use ozone_security::tls::client_config;
use support::{
    CONTAINER, FakeDatanode, Om, beat_until, config, crash_image, id, start, start_with,
};

use ReplicationFactor::{One, Three};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_registration_opens_a_pipeline_and_ends_safe_mode() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&config(dir.path())).await;
    let om = Om::connect(&server).await;
    let (status, why) = om.allocate(One, 1, None).await.unwrap_err();
    assert_eq!(status, Status::SafeModeException);
    assert!(why.contains("0 of 1 datanodes"), "{why}");
    let mut datanode = FakeDatanode::new(&server, 1).await;
    let registered = datanode.register().await;
    assert_eq!(registered.scm_id, server.identity().scm_id.to_string());
    assert_eq!(registered.heartbeat_interval_ms, 5_000);
    // One answer brings the command, the next report opens the pipeline: nobody waits for a timer.
    let told = loop {
        let told = datanode.beat().await;
        assert!(told.next_heartbeat_ms > 0 && told.term > 0);
        match told.commands.first() {
            Some(command) => break command.body.clone(),
            // SCM's disk was slower than an answer may be.
            None => continue,
        }
    };
    assert!(matches!(told, Some(Body::CreatePipeline(_))));
    let nodes = std::slice::from_mut(&mut datanode);
    let allocate = async || om.allocate(One, 2, None).await.ok();
    let blocks = beat_until("blocks", nodes, allocate).await;
    assert_eq!(blocks.len(), 2);
    let pipeline = blocks[0].pipeline.as_ref().unwrap();
    assert_eq!(pipeline.members[0].uuid, Some(datanode.uuid.to_string()));
    assert_eq!(pipeline.leader_id, Some(datanode.uuid.to_string()));
    assert!(!om.status().await.safe_mode);
    let (status, why) = om.allocate(Three, 1, None).await.unwrap_err();
    assert_eq!(status, Status::FailedToFindActivePipeline);
    assert!(why.contains("1 healthy datanodes, 3 are needed"), "{why}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_datanodes_serve_three_replicas_and_a_broken_pipeline_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&config(dir.path())).await;
    let om = Om::connect(&server).await;
    let mut datanodes = Vec::new();
    for n in 1..=3 {
        datanodes.push(FakeDatanode::new(&server, n).await);
        datanodes.last_mut().unwrap().register().await;
    }
    let allocate = || async { om.allocate(Three, 1, None).await.ok() };
    let blocks = beat_until("block of three", &mut datanodes, allocate).await;
    let pipeline = blocks[0].pipeline.clone().unwrap();
    assert_eq!(pipeline.members.len(), 3);
    let broken = pipeline.id.id.clone().unwrap();
    let container = id(&blocks[0]).container_id;
    for (n, datanode) in (1..).zip(&mut datanodes) {
        datanode.write(container, n, 10);
        datanode.cut_off = true;
    }
    datanodes[0].complain(&broken);
    let replaced = || async {
        let blocks = om.allocate(Three, 1, None).await.ok()?;
        let new = blocks[0].pipeline.clone()?;
        let pipelines = om.status().await.pipelines;
        let gone = !pipelines
            .iter()
            .any(|p| p.id.id.as_ref() == Some(&broken) && p.state == Some(2));
        (gone && new.id.id != Some(broken.clone())).then_some(new)
    };
    beat_until("replacement", &mut datanodes, replaced).await;
    // Its container ends closed, at the longest of its three lengths.
    let closed =
        || async { (state_of(&om, container).await == LifeCycleState::Closed).then_some(()) };
    beat_until("closed container", &mut datanodes, closed).await;
    let forced = datanodes.iter().map(|d| {
        d.told
            .iter()
            .filter(|b| matches!(b, Body::CloseContainer(c) if c.force))
            .count()
    });
    assert_eq!(forced.collect::<Vec<_>>(), [0, 0, 1]);
    assert!(!datanodes.iter().any(|d| d.pipelines.contains_key(&broken)));
    server.shutdown().await;
}

/// Makes the copies that datanodes were told to make since the last call.
fn copy_replicas(datanodes: &mut [FakeDatanode], told: &mut [usize]) {
    let mut copies = Vec::new();
    for (datanode, told) in datanodes.iter().zip(told) {
        for body in &datanode.told[*told..] {
            if let Body::ReplicateContainer(copy) = body {
                let target = copy.target.as_ref().unwrap().uuid().to_owned();
                copies.push((target, datanode.containers[&copy.container_id].clone()));
            }
        }
        *told = datanode.told.len();
    }
    for (target, replica) in copies {
        let mut live = datanodes.iter_mut();
        let target = live.find(|datanode| datanode.uuid.to_string() == target);
        let target = target.expect("a live target");
        target.containers.insert(replica.container_id, replica);
    }
}

/// Datanodes that hold the container.
fn holders(datanodes: &[FakeDatanode], container: i64) -> usize {
    let held = |datanode: &&FakeDatanode| datanode.containers.contains_key(&container);
    datanodes.iter().filter(held).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_lost_are_made_anew_and_one_too_many_goes() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(1_771_013_425_196));
    let server = start_with(&config(dir.path()), clock.clone()).await;
    let om = Om::connect(&server).await;
    let mut datanodes = Vec::new();
    for n in 1..=3 {
        datanodes.push(FakeDatanode::new(&server, n).await);
        datanodes.last_mut().unwrap().register().await;
    }
    let allocate = || async { om.allocate(Three, 1, None).await.ok() };
    let blocks = beat_until("block of three", &mut datanodes, allocate).await;
    let container = id(&blocks[0]).container_id;
    for datanode in &mut datanodes {
        datanode.write(container, 4, 1000);
    }
    let close = CloseContainerRequest {
        container_id: container,
    };
    om.admin().close_container(close).await.unwrap();
    let closed =
        || async { (state_of(&om, container).await == LifeCycleState::Closed).then_some(()) };
    beat_until("closed container", &mut datanodes, closed).await;

    // One falls silent for good, and a spare one comes.
    let mut lost = datanodes.remove(0);
    datanodes.push(FakeDatanode::new(&server, 4).await);
    datanodes.last_mut().unwrap().register().await;
    let mut told = vec![0; 3];
    let deadline = Instant::now() + Duration::from_secs(60);
    while holders(&datanodes, container) < 3 {
        assert!(Instant::now() < deadline, "no copy was ordered");
        clock.advance(Duration::from_secs(30));
        for datanode in &mut datanodes {
            datanode.beat().await;
        }
        copy_replicas(&mut datanodes, &mut told);
    }
    // It comes back with its replica: four are one too many.
    lost.register().await;
    datanodes.push(lost);
    assert_eq!(holders(&datanodes, container), 4);
    while holders(&datanodes, container) > 3 {
        assert!(Instant::now() < deadline, "four replicas stay");
        for datanode in &mut datanodes {
            datanode.beat().await;
        }
    }
    for datanode in &mut datanodes {
        datanode.beat().await;
    }
    assert_eq!(holders(&datanodes, container), 3, "three are enough");
    server.shutdown().await;
}

async fn state_of(om: &Om, container: i64) -> LifeCycleState {
    let request = ListContainersRequest {
        start: container,
        count: 1,
    };
    let listed = om
        .admin()
        .list_containers(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.containers[0].container_id, container);
    listed.containers[0].state()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_with_both_values() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&config(dir.path())).await;
    let mut datanode = FakeDatanode::new(&server, 1).await;
    datanode.register().await;
    let ours = server.identity();
    let good = datanode.registration();
    let newer = ozone_scm::LAYOUT_VERSION + 1;
    let cases = [
        (
            RegisterRequest {
                cluster_id: "CID-x".to_owned(),
                ..good.clone()
            },
            ["CID-x".to_owned(), ours.cluster_id.clone()],
        ),
        (
            RegisterRequest {
                c_time: 12,
                ..good.clone()
            },
            ["12".to_owned(), ours.c_time.to_string()],
        ),
        (
            RegisterRequest {
                layout_version: newer,
                ..good.clone()
            },
            [newer.to_string(), ozone_scm::LAYOUT_VERSION.to_string()],
        ),
    ];
    for (request, values) in cases {
        let answer = datanode.send(request).await;
        assert!(!answer.accepted && answer.secret_keys.is_empty());
        assert!(
            values.iter().all(|v| answer.refusal.contains(v)),
            "{}",
            answer.refusal
        );
    }
    assert!(datanode.send(good).await.accepted);
    server.shutdown().await;
}

/// A cluster of one datanode that has a pipeline.
async fn one(server: &ozone_scm::ScmServer) -> (Om, Vec<FakeDatanode>) {
    let om = Om::connect(server).await;
    let mut datanodes = vec![FakeDatanode::new(server, 1).await];
    datanodes[0].register().await;
    let allocate = || async { om.allocate(One, 1, None).await.ok() };
    beat_until("block", &mut datanodes, allocate).await;
    (om, datanodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_block_is_handed_out_twice_across_restarts_and_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let (home, crashed) = (dir.path().join("home"), dir.path().join("crashed"));
    std::fs::create_dir(&home).unwrap();
    let mut seen = HashSet::new();
    let mut take = |blocks: Vec<_>| {
        for block in &blocks {
            let local = id(block).local_id;
            assert!(seen.insert(local), "{local} twice");
        }
    };
    let server = start(&config(&home)).await;
    let (om, mut datanodes) = one(&server).await;
    take(om.allocate(One, 500, None).await.unwrap());
    datanodes[0].beat().await;
    // A crash: the directories as they are, with nothing flushed for the occasion.
    crash_image(&home, &crashed);
    take(om.allocate(One, 500, None).await.unwrap());
    server.shutdown().await;

    let server = start(&config(&home)).await;
    datanodes[0].reconnect(&server).await;
    let om = Om::connect(&server).await;
    take(om.allocate(One, 500, None).await.unwrap());
    server.shutdown().await;

    let server = start(&config(&crashed)).await;
    datanodes[0].reconnect(&server).await;
    let om = Om::connect(&server).await;
    let after_crash = om.allocate(One, 500, None).await.unwrap();
    let before: HashSet<_> = (1..=501).collect();
    assert!(
        after_crash
            .iter()
            .all(|block| !before.contains(&id(block).local_id))
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_blocks_survive_a_restart_and_leave_the_queue_when_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let server = start(&config).await;
    let (om, mut datanodes) = one(&server).await;
    let blocks: Vec<_> = om
        .allocate(One, 10, None)
        .await
        .unwrap()
        .iter()
        .map(id)
        .collect();
    for block in &blocks {
        datanodes[0].write(block.container_id, 10, 100);
    }
    datanodes[0].beat().await;
    datanodes[0].withhold = true;
    let nowhere = ContainerBlockId {
        container_id: 999,
        local_id: 1,
    };
    om.delete(&[blocks.clone(), vec![nowhere]].concat()).await;
    assert_eq!(om.status().await.pending_deleted_blocks, 10);
    let mut told = false;
    while !told {
        datanodes[0].beat().await;
        told = datanodes[0]
            .told
            .iter()
            .any(|body| matches!(body, Body::DeleteBlocks(_)));
    }
    server.shutdown().await;

    let server = start(&config).await;
    let om = Om::connect(&server).await;
    assert_eq!(om.status().await.pending_deleted_blocks, 10);
    datanodes[0].withhold = false;
    datanodes[0].reconnect(&server).await;
    let done = || async { (om.status().await.pending_deleted_blocks == 0).then_some(()) };
    beat_until("empty queue", &mut datanodes, done).await;
    let deleted = datanodes[0].deleted.clone();
    assert_eq!(
        deleted,
        blocks
            .iter()
            .map(|b| (b.container_id, b.local_id))
            .collect()
    );
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_and_unwanted_containers_close_and_others_take_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(&config(dir.path())).await;
    let (om, mut datanodes) = one(&server).await;
    let first = id(&om.allocate(One, 1, None).await.unwrap()[0]).container_id;
    datanodes[0].write(first, 5, CONTAINER * 9 / 10);
    let closed = || async { (state_of(&om, first).await == LifeCycleState::Closed).then_some(()) };
    beat_until("closed container", &mut datanodes, closed).await;
    let second = id(&om.allocate(One, 1, None).await.unwrap()[0]).container_id;
    assert_ne!(first, second);
    let exclude = ExcludeListProto {
        container_ids: vec![second],
        ..ExcludeListProto::default()
    };
    let third = id(&om.allocate(One, 1, Some(exclude)).await.unwrap()[0]).container_id;
    assert!(third != second && third != first);
    datanodes[0].write(second, 1, 10);
    let request = CloseContainerRequest {
        container_id: second,
    };
    om.admin().close_container(request).await.unwrap();
    let closed = || async { (state_of(&om, second).await == LifeCycleState::Closed).then_some(()) };
    beat_until("closed container", &mut datanodes, closed).await;
    // Where they are is known, closed or not.
    let ask = GetContainerLocationsRequest {
        container_i_ds: vec![first, third, 999],
    };
    let answer = om
        .ask(
            Type::GetContainerLocations,
            Ask::GetContainerLocationsRequest(ask),
        )
        .await;
    let Some(Told::GetContainerLocationsResponse(told)) = answer.body else {
        panic!("{answer:?}");
    };
    let members = told
        .locations
        .iter()
        .map(|l| l.pipeline.as_ref().map(|p| p.members.len()));
    assert_eq!(members.collect::<Vec<_>>(), [Some(1), Some(1), None]);
    assert_eq!(told.capacity, Some(10 << 30));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_handed_out_and_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let server = start(&config).await;
    let (om, mut datanodes) = one(&server).await;
    let keys = datanodes[0].keys.clone();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].key.len(), 32);
    let address = format!("http://{}", server.addresses().security);
    let mut security = ScmSecurityServiceClient::connect(address).await.unwrap();
    let told = security
        .get_secret_keys(GetSecretKeysRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(told.keys, keys);
    let answer = om.ask(
        Type::GetScmInfo,
        Ask::GetScmInfoRequest(GetScmInfoRequestProto::default()),
    );
    let Some(Told::GetScmInfoResponse(info)) = answer.await.body else {
        panic!("no info")
    };
    assert_eq!(info.cluster_id, server.identity().cluster_id);
    assert_eq!(info.peer_roles.len(), 1);
    server.shutdown().await;
    let server = start(&config).await;
    datanodes[0].reconnect(&server).await;
    assert_eq!(datanodes[0].keys, keys);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_signed_below_the_root_and_numbered() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let server = start(&config).await;
    for file in [
        "ca/certs/certificate.crt",
        "ca/keys/private.pem",
        "sub-ca/certs/2.crt",
        "sub-ca/certs/CA-1.crt",
    ] {
        assert!(dir.path().join("scm").join(file).is_file(), "{file}");
    }
    let address = format!("http://{}", server.addresses().security);
    let mut security = ScmSecurityServiceClient::connect(address).await.unwrap();
    let subject = Subject {
        role: Role::Om,
        host: "om1".to_owned(),
        id: "om-uuid".to_owned(),
        cluster_id: "CID-made-up".to_owned(),
    };
    let mut serials = Vec::new();
    for _ in 0..2 {
        let key = KeyRequest::generate(&subject, &["om1".to_owned()]).unwrap();
        let request = SignCertificateRequest {
            csr_pem: key.pem(),
            node_type: "OM".to_owned(),
            node_uuid: "om-uuid".to_owned(),
            host: "om1".to_owned(),
            valid_ms: 0,
        };
        let signed = security
            .sign_certificate(request)
            .await
            .unwrap()
            .into_inner();
        let certificate = from_pem(&signed.certificate_pem).unwrap();
        let chain: Vec<_> = signed
            .ca_chain_pem
            .iter()
            .map(|pem| from_pem(pem).unwrap())
            .collect();
        let now = ozone_common::clock::Clock::wall_ms(&SystemClock::new());
        verify_chain(&certificate, &chain, &chain[1..], now).unwrap();
        // The cluster is what SCM says, not what was asked for.
        let found = Subject::of_certificate(&certificate).unwrap();
        assert_eq!(found.cluster_id, server.identity().cluster_id);
        serials.push(signed.serial);
    }
    assert_eq!(serials, ["3", "4"]);
    let told = security
        .get_ca_certificates(GetCaCertificatesRequest {})
        .await
        .unwrap();
    assert_eq!(told.into_inner().certificates_pem.len(), 2);
    let nonsense = SignCertificateRequest {
        node_type: "OM".to_owned(),
        ..Default::default()
    };
    assert!(security.sign_certificate(nonsense).await.is_err());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_security_strangers_without_a_certificate_are_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let secure = config(dir.path())
        .with([("ozone.security.enabled", "true")])
        .unwrap();
    let server = start(&secure).await;
    let address = format!("http://{}", server.addresses().datanode);
    let plain = ScmDatanodeServiceClient::connect(address).await;
    let refused = match plain {
        Ok(mut client) => client.register(RegisterRequest::default()).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    // One with a certificate of the cluster is.
    let root = Credentials::load(&dir.path().join("scm/sub-ca"))
        .unwrap()
        .unwrap();
    let authority = CertificateAuthority::from_credentials(root).unwrap();
    let uuid = uuid::Uuid::from_u128(1);
    let subject = Subject {
        role: Role::Datanode,
        host: "localhost".to_owned(),
        id: uuid.to_string(),
        cluster_id: server.identity().cluster_id.clone(),
    };
    let key = KeyRequest::generate(&subject, &["127.0.0.1".to_owned()]).unwrap();
    let now_ms = ozone_common::clock::Clock::wall_ms(&SystemClock::new());
    let grant = Grant {
        subject,
        serial: 77,
        now_ms,
        lifetime: Duration::from_secs(60),
        standing: Standing::Proven,
    };
    let issued = authority.sign_request(key.der(), &grant).unwrap();
    let own = key.into_credentials(issued).unwrap();
    let identity = ClientIdentity::Tls(client_config(&Live::new(own).unwrap()).unwrap());
    let channels = Channels::new(TcpNet::shared(), identity);
    let port = server.addresses().datanode.port();
    let channel = channels.get(&format!("127.0.0.1:{port}")).unwrap();
    let datanode = FakeDatanode::over(channel, 1);
    assert!(datanode.send(datanode.registration()).await.accepted);
    // It may not speak for another.
    let other = RegisterRequest {
        datanode: FakeDatanode::over(channels.get(&format!("127.0.0.1:{port}")).unwrap(), 2)
            .registration()
            .datanode,
        ..datanode.registration()
    };
    let denied = datanode.try_send(other).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    server.shutdown().await;
}
