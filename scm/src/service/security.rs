//! `ScmSecurityService`: the keys that sign block tokens, and certificates.

use std::sync::Arc;

use ozone_proto::scm::scm_security_service_server::ScmSecurityService;
use ozone_proto::scm::{
    GetCaCertificatesRequest, GetCaCertificatesResponse, GetSecretKeysRequest,
    GetSecretKeysResponse, SignCertificateRequest, SignCertificateResponse,
};
use ozone_security::identity::Role;
use tonic::{Request, Response, Status};

use super::status;
use crate::scm::Scm;
use crate::transport::require;

/// The service.
#[derive(Clone)]
pub(crate) struct SecurityService(pub(crate) Arc<Scm>);

#[tonic::async_trait]
impl ScmSecurityService for SecurityService {
    async fn get_secret_keys(
        &self,
        request: Request<GetSecretKeysRequest>,
    ) -> Result<Response<GetSecretKeysResponse>, Status> {
        const ROLES: &[Role] = &[Role::Om, Role::Datanode, Role::Scm];
        require(&request, &self.0.identity, ROLES)?;
        let (keys, version) = self.0.secret_keys();
        Ok(Response::new(GetSecretKeysResponse { keys, version }))
    }

    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        self.may_sign(&request)?;
        let signed = self.0.sign_certificate(request.into_inner()).await;
        signed
            .map(Response::new)
            .map_err(|error| status(&self.0, &error))
    }

    async fn get_ca_certificates(
        &self,
        _: Request<GetCaCertificatesRequest>,
    ) -> Result<Response<GetCaCertificatesResponse>, Status> {
        let certificates_pem = self.0.authority_certificates();
        Ok(Response::new(GetCaCertificatesResponse {
            certificates_pem,
        }))
    }
}

impl SecurityService {
    /// Everybody may have the own certificate renewed, a join bundle may have servers certified, and
    /// an SCM may ask for anybody.
    fn may_sign(&self, request: &Request<SignCertificateRequest>) -> Result<(), Status> {
        const ROLES: &[Role] = &[
            Role::Om,
            Role::Datanode,
            Role::Client,
            Role::Join,
            Role::Scm,
        ];
        let Some(caller) = require(request, &self.0.identity, ROLES)? else {
            return Ok(());
        };
        let asked = request.get_ref();
        let may = match caller.role {
            Role::Scm => true,
            Role::Join => caller.id.split(',').any(|kind| kind == asked.node_type),
            role => role.node_type() == asked.node_type && asked.node_uuid == caller.id,
        };
        match may {
            true => Ok(()),
            false => Err(Status::permission_denied(format!(
                "{caller} may not ask for a certificate of {} {}",
                asked.node_type, asked.node_uuid
            ))),
        }
    }
}
