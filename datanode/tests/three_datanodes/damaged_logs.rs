//! Members that find the log of their pipeline damaged when they start.

use std::path::{Path, PathBuf};

use ozone_proto::scm::ClosePipeline;
use ozone_proto::scm::command::Body;

use crate::bed::Bed;
use crate::common::{http, start};

/// Below `dir`, the one that is called so.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let dirs: Vec<_> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    let found = dirs.iter().find(|dir| dir.ends_with(name)).cloned();
    found.or_else(|| dirs.iter().find_map(|dir| find(dir, name)))
}

fn spoil(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => spoil(&path),
            false => std::fs::write(path, [0xff; 200]).unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scm_hears_at_once_of_a_pipeline_that_a_member_cannot_open_again() {
    let mut bed = Bed::new(&[]).await;
    let member = bed.others(bed.leader)[0];
    bed.datanodes.remove(&member).unwrap().shutdown().await;
    let dir = bed.dirs[&member].path().to_owned();
    let log = find(&dir.join("meta"), &bed.pipeline).unwrap();
    spoil(&log);
    let datanode = start(&bed.scm, &dir, &[]).await;
    let action = bed.scm.action(member).await;
    assert_eq!(action.pipeline_id, bed.pipeline);
    assert!(!action.can_wait, "{}", action.reason);
    let text = http(&datanode, "/health").await;
    assert!(
        text.starts_with("HTTP/1.1 503") && text.contains("cannot be opened again"),
        "{text}"
    );
    let close = Body::ClosePipeline(ClosePipeline {
        pipeline_id: bed.pipeline.clone(),
    });
    let closed = bed.scm.execute(member, close).await;
    assert!(closed.success, "{}", closed.message);
    assert!(!log.exists(), "others have it");
    let text = http(&datanode, "/health").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    datanode.shutdown().await;
    let datanode = start(&bed.scm, &dir, &[]).await;
    assert!(datanode.pipeline_failures().is_empty());
}
