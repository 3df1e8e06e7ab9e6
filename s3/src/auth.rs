//! Who signs: the one place where the gateway gets secrets from, and the only way from a request to the cluster.
//!
//! An access id is a user's name. Its secret is looked up at the OM and believed for [`FRESH`], so that a secret that
//! was revoked serves no longer than that. What cannot be looked up is refused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ozone_client::{Client, Objects};
use ozone_common::caller::Caller;
use parking_lot::Mutex;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Request, S3Result, s3_error};

use crate::error::answer;

/// How long a secret is believed.
const FRESH: Duration = Duration::from_secs(2);
/// Users that are remembered at a time.
const REMEMBERED: usize = 10_000;

/// The users of the gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Users {
    /// The gateway's own client.
    own: Client,
    known: Arc<Mutex<HashMap<String, User>>>,
}

#[derive(Clone)]
struct User {
    secret: SecretKey,
    client: Client,
    since: Instant,
}

impl Users {
    pub(crate) fn new(own: Client) -> Self {
        Self {
            own,
            known: Arc::default(),
        }
    }

    /// The cluster, for the gateway itself.
    pub(crate) fn own(&self) -> &Client {
        &self.own
    }

    /// The cluster, for the user who has signed the request; nobody else gets there.
    pub(crate) async fn objects<T>(&self, request: &S3Request<T>) -> S3Result<Objects> {
        let signed = request.credentials.as_ref();
        let signed = signed.ok_or_else(|| s3_error!(AccessDenied, "Signature is required"))?;
        let user = self.find(&signed.access_key).await?;
        Ok(user.client.objects().clone())
    }

    async fn find(&self, access_id: &str) -> S3Result<User> {
        let known = self.known.lock().get(access_id).cloned();
        if let Some(user) = known.filter(|user| user.since.elapsed() < FRESH) {
            return Ok(user);
        }
        let since = Instant::now();
        let secret = self.own.objects().lookup_s3_secret(access_id).await;
        let Some(secret) = secret.map_err(answer)? else {
            self.known.lock().remove(access_id);
            return Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records: `ozone s3 getsecret` makes one"
            ));
        };
        let user = User {
            secret: SecretKey::from(secret),
            client: self.own.as_caller(caller(access_id).await?),
            since,
        };
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(access_id.to_owned(), user.clone());
        Ok(user)
    }
}

/// The user of an access id, which may be a Kerberos principal. The system's user database blocks.
async fn caller(access_id: &str) -> S3Result<Caller> {
    let short = access_id.split(['@', '/']).next().unwrap_or_default();
    let short = short.to_owned();
    let named = tokio::task::spawn_blocking(move || Caller::named(&short)).await;
    named.map_err(|error| s3_error!(error, InternalError))
}

#[async_trait::async_trait]
impl S3Auth for Users {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        Ok(self.find(access_key).await?.secret)
    }
}
