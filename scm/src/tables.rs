//! The tables of `scm.db`: names and key forms are Apache Ozone's, values are the rows of
//! [`crate::rows`].

use ozone_kv::{Db, EncodeKey, KvError, ReadView, TableSpec, WriteTarget, key_after};

use ozone_security::secret_keys::SecretKey;

use crate::container::Container;
use crate::model::{Change, Model};
use crate::pipeline::Pipeline;
use crate::rows::{
    CertificateRow, Datanode, DeletedBlocksRow, DeletedBlocksSummary, Row, RowError, SequenceRow,
};

/// Pipeline id (16 bytes) → pipeline.
pub(crate) const PIPELINES: &str = Pipeline::TABLE;
/// Container id (8 bytes, big endian) → container.
pub(crate) const CONTAINERS: &str = Container::TABLE;
/// Datanode id (16 bytes) → datanode.
pub(crate) const DATANODES: &str = Datanode::TABLE;
/// Transaction id (8 bytes, big endian) → blocks to be deleted in one container.
pub(crate) const DELETED_BLOCKS: &str = DeletedBlocksRow::TABLE;
/// Name of a counter → the last number that it gave.
pub(crate) const SEQUENCE_ID: &str = SequenceRow::TABLE;
/// Serial number (big endian) → certificate of a node that is no SCM.
pub(crate) const VALID_CERTS: &str = CertificateRow::TABLE;
/// Serial number (big endian) → certificate of an SCM.
pub(crate) const VALID_SCM_CERTS: &str = "validSCMCerts";
/// Name of a service → what it keeps.
pub(crate) const STATEFUL_SERVICE_CONFIG: &str = DeletedBlocksSummary::TABLE;
/// Key id (16 bytes) → signing key.
pub(crate) const SECRET_KEYS: &str = SecretKey::TABLE;
/// Name → one-off value.
pub(crate) const META: &str = "meta";
/// `#TRANSACTIONINFO` → the Raft position of everything in the database.
pub(crate) const TRANSACTION_INFO: &str = "scmTransactionInfos";

/// Key of the position in [`TRANSACTION_INFO`].
pub(crate) const POSITION_KEY: &[u8] = b"#TRANSACTIONINFO";
/// Key of the queue's sums in [`STATEFUL_SERVICE_CONFIG`].
const DELETED_SUMMARY_KEY: &[u8] = b"DeletedBlocksSummary";

/// Every table.
pub(crate) const ALL: &[TableSpec] = &[
    TableSpec::lookup(PIPELINES),
    TableSpec::lookup(CONTAINERS),
    TableSpec::lookup(DATANODES),
    TableSpec::queue(DELETED_BLOCKS),
    TableSpec::lookup(SEQUENCE_ID),
    TableSpec::lookup(VALID_CERTS),
    TableSpec::lookup(VALID_SCM_CERTS),
    TableSpec::lookup(STATEFUL_SERVICE_CONFIG),
    TableSpec::lookup(SECRET_KEYS),
    TableSpec::lookup(META),
    TableSpec::lookup(TRANSACTION_INFO),
];

/// Rows read at a time when the model is built.
const PAGE: usize = 4096;

/// A table that could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// The database failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A row is not what it should be.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Writes a change.
pub(crate) fn write(target: &mut impl WriteTarget, change: &Change) {
    match change {
        Change::Pipeline(row) => target.put(PIPELINES, row.id.encode(), row.encode_row()),
        Change::PipelineGone(id) => target.delete(PIPELINES, id.encode()),
        Change::Container(row) => target.put(CONTAINERS, row.id.encode(), row.encode_row()),
        Change::Datanode(row) => target.put(DATANODES, row.id.encode(), row.encode_row()),
        Change::Sequence(name, row) => target.put(SEQUENCE_ID, name.encode(), row.encode_row()),
        Change::SigningKey(row) => target.put(SECRET_KEYS, row.id.encode(), row.encode_row()),
        Change::SigningKeyGone(id) => target.delete(SECRET_KEYS, id.encode()),
        Change::DeletedBlocks(id, row) => {
            target.put(DELETED_BLOCKS, id.encode(), row.encode_row());
        }
        Change::DeletedBlocksGone(id) => target.delete(DELETED_BLOCKS, id.encode()),
        Change::DeletedBlocksSummary(row) => {
            let key = DELETED_SUMMARY_KEY.to_vec();
            target.put(STATEFUL_SERVICE_CONFIG, key, row.encode_row());
        }
        Change::Certificate { serial, row, scm } => {
            let table = if *scm { VALID_SCM_CERTS } else { VALID_CERTS };
            target.put(table, serial.clone(), row.encode_row());
        }
    }
}

/// Builds the model from the tables.
pub(crate) fn load(db: &Db) -> Result<Model, TableError> {
    let mut model = Model::default();
    let row = |_: &[u8], value: &[u8]| Row::decode_row(value).map(Change::Datanode);
    absorb(db, DATANODES, &mut model, row)?;
    let row = |_: &[u8], value: &[u8]| Row::decode_row(value).map(Change::Pipeline);
    absorb(db, PIPELINES, &mut model, row)?;
    let row = |_: &[u8], value: &[u8]| Row::decode_row(value).map(Change::Container);
    absorb(db, CONTAINERS, &mut model, row)?;
    let row = |_: &[u8], value: &[u8]| Row::decode_row(value).map(Change::SigningKey);
    absorb(db, SECRET_KEYS, &mut model, row)?;
    let row = |key: &[u8], value: &[u8]| {
        let name = String::from_utf8_lossy(key).into_owned();
        Ok(Change::Sequence(name, Row::decode_row(value)?))
    };
    absorb(db, SEQUENCE_ID, &mut model, row)?;
    if let Some(value) = db.get(STATEFUL_SERVICE_CONFIG, DELETED_SUMMARY_KEY)? {
        model.absorb(&Change::DeletedBlocksSummary(Row::decode_row(&value)?));
    }
    Ok(model)
}

/// A transaction that is not done.
pub(crate) fn transaction(
    view: &impl ReadView,
    id: u64,
) -> Result<Option<DeletedBlocksRow>, TableError> {
    let found = view.get(DELETED_BLOCKS, &id.encode())?;
    Ok(found.map(|value| Row::decode_row(&value)).transpose()?)
}

/// Up to `limit` transactions after `after`, in order.
pub(crate) fn transactions(
    view: &impl ReadView,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, DeletedBlocksRow)>, TableError> {
    let from = after.saturating_add(1).encode();
    let rows = view.scan(DELETED_BLOCKS, b"", &from, limit)?;
    let decode = |(key, value): (Vec<u8>, Vec<u8>)| {
        let id = key.as_slice().try_into().map(u64::from_be_bytes);
        let id = id.map_err(|_| RowError::Field {
            table: DELETED_BLOCKS,
            field: "key",
        })?;
        Ok((id, Row::decode_row(&value)?))
    };
    rows.into_iter().map(decode).collect()
}

/// Takes every row of a table into the model.
fn absorb(
    view: &impl ReadView,
    table: &'static str,
    model: &mut Model,
    change: impl Fn(&[u8], &[u8]) -> Result<Change, RowError>,
) -> Result<(), TableError> {
    let mut from = Vec::new();
    loop {
        let rows = view.scan(table, b"", &from, PAGE)?;
        for (key, value) in &rows {
            model.absorb(&change(key, value)?);
        }
        match rows.last() {
            Some((key, _)) if rows.len() == PAGE => from = key_after(key),
            _ => return Ok(()),
        }
    }
}
