//! Secrets of S3: what a user signs requests with. The leader makes them up and says so in the command, so that
//! every replica stores the same.

use std::fmt::Write;

use ozone_proto::namespace::S3SecretRow;
use ozone_proto::om::{
    GetS3SecretRequest, GetS3SecretResponse, LookupS3SecretRequest, LookupS3SecretResponse,
    RevokeS3SecretRequest, RevokeS3SecretResponse, S3Secret, SetS3SecretRequest,
    SetS3SecretResponse, Status,
};

use crate::apply::Apply;
use crate::error::{OmError, Result, refuse};
use crate::leader::Leader;
use crate::namespace::ROW_VERSION;
use crate::rows::Rows;
use crate::tables;

/// Characters of the shortest secret that can be set.
const SHORTEST: usize = 8;
/// Characters of the longest access id and secret.
const LONGEST: usize = 1024;

/// Leader: makes a secret up, whatever the request says.
pub fn prepare(request: &mut GetS3SecretRequest, leader: &Leader) {
    let mut bytes = [0; 32];
    leader.rng.fill(&mut bytes);
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    request.generated = Some(hex);
}

/// A user's first secret; it is told this once.
pub fn get(request: &GetS3SecretRequest, apply: &mut Apply<'_>) -> Result<GetS3SecretResponse> {
    let id = &request.kerberos_id;
    check_id(id)?;
    if find(apply, id)?.is_some() {
        let message = format!("Secret for '{id}' already exists");
        return Err(OmError::refused(Status::S3SecretAlreadyExists, message));
    }
    if !request.create_if_not_exist() {
        return Err(not_found(id));
    }
    let secret = request.generated.clone();
    let secret = secret.ok_or_else(|| refuse::invalid("no secret was made up"))?;
    store(apply, id, &secret);
    Ok(GetS3SecretResponse {
        s3_secret: S3Secret {
            kerberos_id: id.clone(),
            aws_secret: secret,
        },
    })
}

/// Sets a secret, in place of the one before.
pub fn set(request: &SetS3SecretRequest, apply: &mut Apply<'_>) -> Result<SetS3SecretResponse> {
    check_id(&request.access_id)?;
    if request.secret_key.is_empty() {
        return Err(refuse::invalid("secretKey cannot be null or empty."));
    }
    if !(SHORTEST..=LONGEST).contains(&request.secret_key.len()) {
        let message = format!("Secret key length should be at least {SHORTEST} characters");
        return Err(refuse::invalid(message));
    }
    store(apply, &request.access_id, &request.secret_key);
    Ok(SetS3SecretResponse {
        access_id: request.access_id.clone(),
        secret_key: request.secret_key.clone(),
    })
}

/// Takes a secret away.
pub fn revoke(
    request: &RevokeS3SecretRequest,
    apply: &mut Apply<'_>,
) -> Result<RevokeS3SecretResponse> {
    let id = &request.kerberos_id;
    if find(apply, id)?.is_none() {
        return Err(not_found(id));
    }
    apply.delete(tables::S3_SECRET, id.as_bytes());
    Ok(RevokeS3SecretResponse {})
}

/// The secret of an access id, if it has one.
pub fn lookup(request: &LookupS3SecretRequest, rows: &impl Rows) -> Result<LookupS3SecretResponse> {
    Ok(LookupS3SecretResponse {
        secret_key: find(rows, &request.access_id)?.map(|row| row.secret),
    })
}

fn find(rows: &impl Rows, id: &str) -> Result<Option<S3SecretRow>> {
    rows.get(tables::S3_SECRET, id.as_bytes())
}

fn store(apply: &mut Apply<'_>, id: &str, secret: &str) {
    let row = S3SecretRow {
        version: ROW_VERSION,
        secret: secret.to_owned(),
    };
    apply.put(tables::S3_SECRET, id.as_bytes(), &row);
}

fn check_id(id: &str) -> Result<()> {
    let fits = !id.is_empty() && id.len() <= LONGEST;
    if fits && !id.contains(|c: char| c.is_control() || c == '/' || c == ' ') {
        return Ok(());
    }
    Err(refuse::invalid(format!("{id:?} cannot be an access id")))
}

fn not_found(id: &str) -> OmError {
    OmError::refused(
        Status::S3SecretNotFound,
        format!("Secret for '{id}' doesn't exist"),
    )
}
