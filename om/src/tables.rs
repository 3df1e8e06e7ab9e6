//! The OM's tables: names and key forms are Apache Ozone's, values are the rows of `namespace.proto`.
//!
//! Ids inside text keys are decimal. Names are the last part of a key and may hold any byte but `/`
//! and NUL, so a key's parts can always be told apart.

/// A column family of `om.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Table = Table($text);)*
        /// Every table, in the order in which the database declares them.
        pub const ALL: &[Table] = &[$($name),*];
    };
}

tables! {
    /// `#<what>` -> one-off values: counters, the root directory, the layout version.
    META = "metaTable";
    /// `#TRANSACTIONINFO` -> the Raft position of everything in the database.
    TRANSACTION_INFO = "transactionInfoTable";
    /// `/<volume>` -> VolumeRow
    VOLUME = "volumeTable";
    /// `/<volumeId>` -> the volume's name
    VOLUME_ID = "volumeIdTable";
    /// `/<volume>/<bucket>` -> BucketRow
    BUCKET = "bucketTable";
    /// `/<volumeId>/<bucketId>` -> `/<volume>/<bucket>`
    BUCKET_ID = "bucketIdTable";
    /// `/<volumeId>/<bucketId>/<parentId>/<name>` -> InodeRow of a directory
    DIRECTORY = "directoryTable";
    /// `/<volumeId>/<bucketId>/<directoryId>` -> PlaceRow
    DIRECTORY_ID = "directoryIdTable";
    /// `/<volumeId>/<bucketId>/<parentId>/<name>` -> InodeRow of anything else
    FILE = "fileTable";
    /// `/<volume>/<bucket>/<key>` -> InodeRow of a key of an object-store bucket
    KEY = "keyTable";
    /// `/<volumeId>/<bucketId>/<objectId>` -> InodeRow of an inode with several names
    INODE = "inodeTable";
    /// `/<volumeId>/<bucketId>/<objectId>` -> OrphanRow
    ORPHAN = "orphanTable";
    /// session id, object id (8 bytes each, big endian) -> the key in orphanTable
    SESSION_ORPHAN = "sessionOrphanTable";
    /// object id, segment number (8 bytes each, big endian) -> ExtentSegment
    EXTENT = "extentTable";
    /// object id, inline id (8 bytes each, big endian) -> the bytes
    INLINE = "inlineTable";
    /// 0, due time in ms, object id (8 bytes each, big endian) -> empty; and 1, object id -> FoldRow
    FOLD = "inlineFoldTable";
    /// container, local id, object id (8 bytes each, big endian) -> BlockRefRow; and where only
    /// snapshots still see the reference, its birth after these -> empty
    BLOCK_REF = "blockRefTable";
    /// `/<volume>/<bucket>/<snapshot>` -> SnapshotRow
    SNAPSHOT_INFO = "snapshotInfoTable";
    /// bucket id, 2^64-1 - index (8 bytes each, big endian) -> the key in snapshotInfoTable: newest first
    SNAPSHOT = "snapshotIndexTable";
    /// bucket id, index (8 bytes each, big endian) -> SnapshotRow of a deleted snapshot
    SNAPSHOT_DELETED = "snapshotDeletedTable";
    /// bucket id, index of the newest snapshot that sees it, birth, container, local id, object id
    /// (8 bytes each, big endian) -> empty: what only snapshots still refer to
    SNAPSHOT_BLOCK = "snapshotBlockTable";
    /// bucket id, index of a command (8 bytes each, big endian), then what it changed -> empty
    CHANGE_LOG = "changeLogTable";
    /// object id, directory id (8 bytes each, big endian), name -> empty: the names in inodeTable's rows
    LINK = "linkTable";
    /// session, container, local id (8 bytes each, big endian) -> OpenBlockRow; and once more under
    /// session 0, to be found by block
    OPEN_BLOCK = "openBlockTable";
    /// container, local id (8 bytes each, big endian) -> FreedBlockRow
    FREED_BLOCK = "freedBlockTable";
    /// `/<volumeId>/<bucketId>/<objectId>` -> DeletedRow of a file
    DELETED = "deletedTable";
    /// `/<volumeId>/<bucketId>/<objectId>` -> DeletedRow of a directory whose children remain
    DELETED_DIRECTORY = "deletedDirectoryTable";
    /// `/<volume>/<bucket>/<key>/<client id>` -> OpenKeyRow
    OPEN_KEY = "openKeyTable";
    /// `/<volume>/<bucket>/<key>/<upload id>` -> MultipartRow
    MULTIPART_INFO = "multipartInfoTable";
    /// `<upload id>/`, part number (4 bytes, big endian) -> PartRow
    MULTIPART_PARTS = "multipartPartsTable";
    /// `<access id>` -> S3SecretRow
    S3_SECRET = "s3SecretTable";
    /// session id (8 bytes, big endian) -> SessionRow
    SESSION = "sessionTable";
    /// client id (16 bytes), call id (8 bytes, big endian) -> ReplyRow
    REPLY = "replyTable";
}

/// Key of the Raft position in [`TRANSACTION_INFO`].
pub const POSITION_KEY: &[u8] = b"#TRANSACTIONINFO";
/// Key of the object id counter in [`META`].
pub const NEXT_ID_KEY: &[u8] = b"#NEXTOBJECTID";
/// Key of the root directory's row in [`META`].
pub const ROOT_KEY: &[u8] = b"#ROOT";

/// Key in [`TRANSACTION_INFO`] of the index of the last command.
pub const LAST_COMMAND_KEY: &[u8] = b"#LASTCOMMAND";
/// Key in [`META`] of the row of the snapshot that was made last.
pub const LAST_SNAPSHOT_KEY: &[u8] = b"#LASTSNAPSHOT";
/// Key in [`META`] of the number of snapshots.
pub const SNAPSHOTS_KEY: &[u8] = b"#SNAPSHOTS";

/// Key of a volume, by name.
pub fn volume_key(volume: &str) -> Vec<u8> {
    format!("/{volume}").into_bytes()
}

/// Key of a bucket, by names.
pub fn bucket_key(volume: &str, bucket: &str) -> Vec<u8> {
    format!("/{volume}/{bucket}").into_bytes()
}

/// Key of a volume, by id.
pub fn volume_id_key(volume: u64) -> Vec<u8> {
    format!("/{volume}").into_bytes()
}

/// Key of anything that an id inside a bucket names, and of a bucket by `object` alone.
pub fn id_key(volume: u64, bucket: u64, object: u64) -> Vec<u8> {
    format!("/{volume}/{bucket}/{object}").into_bytes()
}

/// Key of a bucket, by ids.
pub fn bucket_id_key(volume: u64, bucket: u64) -> Vec<u8> {
    format!("/{volume}/{bucket}").into_bytes()
}

/// Prefix of everything that a directory holds, in [`DIRECTORY`] and [`FILE`].
pub fn children_prefix(volume: u64, bucket: u64, parent: u64) -> Vec<u8> {
    format!("/{volume}/{bucket}/{parent}/").into_bytes()
}

/// Key of a name in a directory, in [`DIRECTORY`] and [`FILE`].
pub fn child_key(volume: u64, bucket: u64, parent: u64, name: &[u8]) -> Vec<u8> {
    let mut key = children_prefix(volume, bucket, parent);
    key.extend_from_slice(name);
    key
}

/// The bucket in a key of [`id_key`].
pub fn bucket_of_id_key(key: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(key).ok()?;
    text.split('/').nth(2)?.parse().ok()
}

/// What [`child_key`] was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildKey<'k> {
    /// The bucket.
    pub bucket: u64,
    /// The directory.
    pub parent: u64,
    /// The name in it.
    pub name: &'k [u8],
}

/// Takes a key of [`child_key`] apart.
pub fn parse_child_key(key: &[u8]) -> Option<ChildKey<'_>> {
    let mut parts = key.strip_prefix(b"/")?.splitn(4, |byte| *byte == b'/');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    let (_volume, bucket, parent): (u64, u64, u64) = (number()?, number()?, number()?);
    let name = parts.next()?;
    Some(ChildKey {
        bucket,
        parent,
        name,
    })
}

/// Big-endian key of numbers.
pub fn number_key(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

/// Reads the numbers of such a key back; `None` when its length is another.
pub fn parse_number_key<const N: usize>(key: &[u8]) -> Option<[u64; N]> {
    if key.len() != N * 8 {
        return None;
    }
    let mut numbers = [0; N];
    for (number, bytes) in numbers.iter_mut().zip(key.chunks_exact(8)) {
        *number = u64::from_be_bytes(bytes.try_into().ok()?);
    }
    Some(numbers)
}

/// Key of an open key.
pub fn open_key(volume: &str, bucket: &str, key: &str, client: u64) -> Vec<u8> {
    format!("/{volume}/{bucket}/{key}/{client}").into_bytes()
}

/// Prefix of the multipart uploads of a bucket.
pub fn multipart_prefix(volume: &str, bucket: &str) -> Vec<u8> {
    format!("/{volume}/{bucket}/").into_bytes()
}

/// Key of a multipart upload.
pub fn multipart_key(volume: &str, bucket: &str, key: &str, upload: &str) -> Vec<u8> {
    format!("/{volume}/{bucket}/{key}/{upload}").into_bytes()
}

/// Prefix of the parts of an upload.
pub fn parts_prefix(upload: &str) -> Vec<u8> {
    format!("{upload}/").into_bytes()
}

/// Key of a part.
pub fn part_key(upload: &str, number: u32) -> Vec<u8> {
    let mut key = parts_prefix(upload);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Key of a remembered reply.
pub fn reply_key(client: &[u8], call: u64) -> Vec<u8> {
    let mut key = client.to_vec();
    key.extend_from_slice(&call.to_be_bytes());
    key
}
