//! One line of the difference of two snapshots.

use ozone_proto::om::DiffReportEntryProto;
use ozone_proto::om::diff_report_entry_proto::DiffTypeProto;

/// One line of the difference; the order of kinds is that of the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It was in the first snapshot alone.
    Deleted(Vec<u8>),
    /// It has another name.
    Renamed(Vec<u8>, Vec<u8>),
    /// It is in the second snapshot alone.
    Created(Vec<u8>),
    /// It has other content or attributes; the name is that in the first snapshot.
    Modified(Vec<u8>),
}

const DELETED: u8 = 1;
const RENAMED: u8 = 2;
const CREATED: u8 = 3;
const MODIFIED: u8 = 4;
/// Ends a path: no name has it.
const END: u8 = 0;

impl Difference {
    /// As the protocol says it, with paths that begin with `./`.
    pub fn entry(&self) -> DiffReportEntryProto {
        let text = |path: &[u8]| Some(format!("./{}", String::from_utf8_lossy(path)));
        let (kind, source, target) = match self {
            Self::Deleted(path) => (DiffTypeProto::Delete, text(path), None),
            Self::Renamed(from, to) => (DiffTypeProto::Rename, text(from), text(to)),
            Self::Created(path) => (DiffTypeProto::Create, text(path), None),
            Self::Modified(path) => (DiffTypeProto::Modify, text(path), None),
        };
        DiffReportEntryProto {
            diff_type: Some(kind.into()),
            source_path: source,
            target_path: target,
        }
    }

    /// As bytes, in the order of the lines.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Deleted(path) => [&[DELETED], path.as_slice()].concat(),
            Self::Renamed(from, to) => [&[RENAMED], from.as_slice(), &[END], to].concat(),
            Self::Created(path) => [&[CREATED], path.as_slice()].concat(),
            Self::Modified(path) => [&[MODIFIED], path.as_slice()].concat(),
        }
    }

    /// What was [encoded](Self::encode).
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, path) = bytes.split_first()?;
        Some(match *kind {
            DELETED => Self::Deleted(path.to_vec()),
            CREATED => Self::Created(path.to_vec()),
            MODIFIED => Self::Modified(path.to_vec()),
            RENAMED => {
                let end = path.iter().position(|byte| *byte == END)?;
                Self::Renamed(path[..end].to_vec(), path[end + 1..].to_vec())
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_order_of_the_lines_and_tell_all_of_them() {
        let path = |text: &str| text.as_bytes().to_vec();
        let lines = [
            Difference::Deleted(path("a")),
            Difference::Deleted(path("a/b")),
            Difference::Renamed(path("a"), path("z")),
            Difference::Renamed(path("a b"), path("a")),
            Difference::Created(path("a")),
            Difference::Modified(path("a")),
        ];
        assert!(lines.is_sorted());
        let encoded = lines.clone().map(|line| line.encode());
        assert!(encoded.is_sorted());
        let decoded = encoded.map(|bytes| Difference::decode(&bytes));
        assert_eq!(decoded, lines.map(Some));
    }
}
