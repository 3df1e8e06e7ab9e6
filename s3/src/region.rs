//! The one region that there is. Requests may be signed for any name of a region; what is none (s3cmd signs for `US`
//! until it knows better) is answered as Amazon answers a wrong one, which tells the client what to sign for.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use s3s::Body;

/// Where everything is.
pub(crate) const REGION: &str = "us-east-1";

/// The answer to a request that is signed for what is no region.
pub(crate) fn refuse(request: &Parts) -> Option<Response<Body>> {
    let authorization = request.headers.get(header::AUTHORIZATION)?;
    let (_, rest) = authorization.to_str().ok()?.split_once("Credential=")?;
    // `<access id>/<day>/<region>/s3/aws4_request`
    let region = rest.split(',').next()?.trim().rsplit('/').nth(2)?;
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !region.is_empty() && region.bytes().all(is_region) {
        return None;
    }
    let code = "AuthorizationHeaderMalformed";
    let message =
        format!("The authorization header is malformed; the region is wrong; expecting '{REGION}'");
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Error><Code>{code}</Code><Message>{message}</Message><Region>{REGION}</Region></Error>"
    );
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    let headers = answer.headers_mut();
    let xml = HeaderValue::from_static("application/xml");
    headers.insert(header::CONTENT_TYPE, xml);
    headers.insert("x-amz-bucket-region", HeaderValue::from_static(REGION));
    Some(answer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(authorization: &str) -> bool {
        let request = http::Request::builder().header("authorization", authorization);
        refuse(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn only_what_can_be_a_region_is_let_through() {
        let signed = |region: &str| {
            let scope = format!("bil/bo/20260101/{region}/s3/aws4_request");
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0")
        };
        assert!(!refused(&signed("us-east-1")));
        assert!(!refused(&signed("eu-central-1")));
        assert!(refused(&signed("US")));
        assert!(refused(&signed("")));
        assert!(!refused("AWS bilbo:abc"), "that is refused for what it is");
    }
}
