//! Who may do what, proved: block tokens and the keys that sign them, certificates and the
//! authority that issues them, and TLS made of those.
//!
//! * [`secret_keys`]: the symmetric keys that SCM makes and replicates.
//! * [`token`]: what a client shows a datanode to get at a block.
//! * [`ca`]: the certificate authority of a cluster.
//! * [`credentials`]: a private key and certificates, on disk; [`chain`]: whom they lead to.
//! * [`identity`]: what a certificate says of its owner; [`guard`]: whom a listener serves.
//! * [`live`]: credentials in use, which may be renewed; [`tls`]: both ends of mutual TLS.
//! * [`enrol`]: how a server comes by its certificate, and keeps it; [`signer`]: the way to SCM.
//! * [`settings`]: what the configuration says of all this.

pub mod ca;
pub mod chain;
pub mod credentials;
pub mod enrol;
mod envelope;
pub mod guard;
pub mod identity;
pub mod live;
pub mod secret_keys;
pub mod settings;
pub mod signer;
pub mod tls;
pub mod token;
