//! Who may do what, proved: block tokens and the keys that sign them, certificates and the
//! authority that issues them, and TLS made of those.
//!
//! * [`secret_keys`]: the symmetric keys that SCM makes and replicates.
//! * [`token`]: what a client shows a datanode to get at a block.
//! * [`ca`]: the certificate authority of a cluster.
//! * [`credentials`]: a server's private key and certificates, on disk.
//! * [`identity`]: what a certificate says of its owner.
//! * [`tls`]: both ends of mutual TLS.

pub mod ca;
pub mod credentials;
mod envelope;
pub mod identity;
pub mod secret_keys;
pub mod tls;
pub mod token;
