//! Starting the servers of an embedded cluster, each in directories of its own.

use std::path::Path;
use std::time::Duration;

use ozone_client::{Client, ClientConfig};
use ozone_common::caller::Caller;
use ozone_common::config::Config;
use ozone_common::net::TcpNet;
use ozone_datanode::{DatanodeOptions, DatanodeServer};
use ozone_om::OmServer;
use ozone_s3::S3Server;
use ozone_scm::{CertificateFor, ScmOptions, ScmServer};
use ozone_security::settings::{CLIENT_FILE, JOIN_FILE, tls_wanted};

use super::Cluster;
use super::ports::{self, Ports};
use crate::daemon::{blocking, om_options};

/// How long the servers have for their first certificate.
const JOIN_LIFETIME: Duration = Duration::from_secs(3600);

/// Servers that run for an OM that does not yet.
struct Below {
    scm: ScmServer,
    datanodes: Vec<DatanodeServer>,
}

impl Below {
    async fn stop(self) {
        for datanode in self.datanodes {
            datanode.shutdown().await;
        }
        self.scm.shutdown().await;
    }
}

/// Starts everything; returns when it listens and the OM answers. What runs when something else
/// cannot be started is stopped in order.
pub(super) async fn start(
    dir: &Path,
    config: &Config,
    nodes: (&Ports, u16),
) -> Result<Cluster, String> {
    let mut below = Below {
        scm: start_scm(dir, config).await?,
        datanodes: Vec::new(),
    };
    let (om, config) = match start_above(dir, config, nodes, &mut below).await {
        Ok(started) => started,
        Err(error) => {
            below.stop().await;
            return Err(error);
        }
    };
    let om_address = om.addresses().client.to_string();
    let (client, s3) = match start_faces(&config, &om_address).await {
        Ok(started) => started,
        Err(error) => {
            om.shutdown().await;
            below.stop().await;
            return Err(error);
        }
    };
    let Below { scm, datanodes } = below;
    Ok(Cluster {
        scm,
        om,
        datanodes,
        client,
        s3,
        om_address,
        config,
    })
}

/// The client of this process, and the S3 gateway that uses it.
async fn start_faces(config: &Config, om: &str) -> Result<(Client, S3Server), String> {
    let mut client = ClientConfig::from_config(config).map_err(|e| e.to_string())?;
    client.om = vec![om.to_owned()];
    let client = Client::connect(client).await.map_err(|e| e.to_string())?;
    let s3 = S3Server::start(config, &*TcpNet::shared(), client.clone()).await;
    Ok((client, s3.map_err(|e| e.to_string())?))
}

/// Starts what needs SCM; gives the OM, and the configuration that all of them share.
async fn start_above(
    dir: &Path,
    config: &Config,
    (ports, count): (&Ports, u16),
    below: &mut Below,
) -> Result<(OmServer, Config), String> {
    let config = with_certificates(dir, config).await?;
    for node in 0..count {
        let datanode = start_datanode(dir, &config, ports, node).await?;
        below.datanodes.push(datanode);
    }
    Ok((start_om(dir, &config).await?, config))
}

fn with_dirs(config: &Config, base: &Path, keys: &[(&str, &str)]) -> Result<Config, String> {
    let pairs = keys
        .iter()
        .map(|(key, name)| ((*key).to_owned(), base.join(name).display().to_string()));
    config.with(pairs).map_err(|e| e.to_string())
}

fn scm_config(dir: &Path, config: &Config) -> Result<Config, String> {
    let keys = [
        ("ozone.scm.db.dirs", "data"),
        ("ozone.metadata.dirs", "ozone-metadata"),
        ("ozone.scm.ratis.storage.dir", "scm-ha"),
    ];
    with_dirs(config, &dir.join("scm"), &keys)
}

/// With security on: the files with which the other servers join, and with which the user who runs
/// the cluster asks it; made anew at each start.
async fn with_certificates(dir: &Path, config: &Config) -> Result<Config, String> {
    if !tls_wanted(config).map_err(|e| e.to_string())? {
        return Ok(config.clone());
    }
    let options = ScmOptions::new(scm_config(dir, config)?);
    let user = Caller::of_process().user;
    let servers = ["OM", "DATANODE"].map(str::to_owned).to_vec();
    let mut pairs = Vec::new();
    for (key, name, whom, valid) in [
        (CLIENT_FILE, "client.pem", CertificateFor::User(user), None),
        (
            JOIN_FILE,
            "join.pem",
            CertificateFor::Servers(servers),
            Some(JOIN_LIFETIME),
        ),
    ] {
        let file = dir.join(name);
        let issued = ozone_scm::issue(&options, whom, valid, &file).await;
        issued.map_err(|e| e.to_string())?;
        if !config.is_set(key) {
            pairs.push((key, file.display().to_string()));
        }
    }
    config.with(pairs).map_err(|e| e.to_string())
}

async fn start_scm(dir: &Path, config: &Config) -> Result<ScmServer, String> {
    let config = scm_config(dir, config)?;
    let initial = config.clone();
    blocking(move || ozone_scm::init(&initial, None))
        .await?
        .map_err(|e| e.to_string())?;
    let scm = ScmServer::start(ScmOptions::new(config))
        .await
        .map_err(|e| e.to_string())?;
    scm.wait_ready().await.map_err(|e| e.to_string())?;
    Ok(scm)
}

/// The directory of a datanode, the first of which is 0, in that of the cluster.
pub(super) fn datanode_dir(node: u16) -> String {
    format!("datanode-{}", node + 1)
}

async fn start_datanode(
    dir: &Path,
    config: &Config,
    ports: &Ports,
    node: u16,
) -> Result<DatanodeServer, String> {
    let keys = [
        ("hdds.datanode.dir", "data"),
        ("ozone.metadata.dirs", "ozone-metadata"),
        ("hdds.container.ratis.datanode.storage.dir", "ratis"),
    ];
    let config = with_dirs(config, &dir.join(datanode_dir(node)), &keys)?;
    let config = config
        .with(ports::of_datanode(ports, node))
        .map_err(|e| e.to_string())?;
    let server = DatanodeServer::start(DatanodeOptions::new(config))
        .await
        .map_err(|e| e.to_string())?;
    server.wait_registered().await.map_err(|e| e.to_string())?;
    Ok(server)
}

async fn start_om(dir: &Path, config: &Config) -> Result<OmServer, String> {
    let keys = [
        ("ozone.om.db.dirs", "data"),
        ("ozone.metadata.dirs", "ozone-metadata"),
        ("ozone.om.ratis.storage.dir", "ratis"),
    ];
    let options = om_options(with_dirs(config, &dir.join("om"), &keys)?);
    ozone_om::server::init(&options)
        .await
        .map_err(|e| e.to_string())?;
    OmServer::start(options).await.map_err(|e| e.to_string())
}
