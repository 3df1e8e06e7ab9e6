//! Keys and certificates of servers, as they lie on their disks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use x509_parser::pem::{Pem, parse_x509_pem};

/// The certificates of a server itself: the files beside those of authorities.
pub fn own_certificates(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.join("certs")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut own: Vec<_> = names
        .map(|name| name.into_string().expect("a name of plain text"))
        .filter(|name| name.ends_with(".crt") && !name.starts_with("CA-"))
        .collect();
    own.sort();
    own
}

/// Panics unless a server has one certificate, those of both authorities, and a key that nobody else reads.
pub fn assert_keys_and_certificates(dir: &Path) {
    let own = own_certificates(dir);
    assert_eq!(own.len(), 1, "{}: {own:?}", dir.display());
    for file in ["keys/public.pem", "certs/CA-1.crt", "certs/CA-2.crt"] {
        assert!(dir.join(file).is_file(), "{}/{file}", dir.display());
    }
    let private = fs::metadata(dir.join("keys/private.pem")).expect("a private key");
    assert_eq!(private.permissions().mode() & 0o777, 0o600);
}

/// Panics unless the certificate of a server was signed by `authority`, is for the key beside it, and
/// is named after `role`, the server's id and that of its cluster.
pub fn assert_certified(dir: &Path, authority: &Path, (role, id, cluster): (&str, &str, &str)) {
    assert_keys_and_certificates(dir);
    let file = &own_certificates(dir)[0];
    let (own, above) = (pem(&dir.join("certs").join(file)), pem(authority));
    let own = own.parse_x509().expect("a certificate");
    let above = above.parse_x509().expect("a certificate");
    assert_eq!(own.issuer(), above.subject(), "{}", dir.display());
    let signed = own.verify_signature(Some(above.public_key()));
    signed.unwrap_or_else(|e| panic!("{file} in {}: {e}", dir.display()));
    assert_eq!(*file, format!("{}.crt", own.serial));
    let public = pem(&dir.join("keys/public.pem"));
    assert_eq!(own.public_key().raw, public.contents, "{}", dir.display());
    let name = own.subject().to_string();
    assert!(name.starts_with(&format!("CN={role}@")), "{name}");
    assert!(
        name.ends_with(&format!("OU={id}, O={cluster}")),
        "{name} names neither {id} nor {cluster}"
    );
}

fn pem(file: &Path) -> Pem {
    let text = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    parse_x509_pem(&text).expect("PEM").1
}
