// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Service-discovery entries: one ephemeral node per instance below `R/service-discovery/<name>`, named by the instance's id, with JSON data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An instance of a service.
///
/// It is written with exactly the nine members that Curator 2.9.1 knows, in its order: an agent that meets another member at its start never
/// sends a flow record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    pub name: String,
    /// Also the name of the node.
    pub id: String,
    pub address: Option<String>,
    pub port: Option<u16>,
    /// ms since the epoch.
    pub registration_ms: i64,
    pub service_type: ServiceType,
    /// The URI of an instance that is registered by one; such an instance has no port.
    pub uri: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServiceType {
    Dynamic,
    Static,
    Permanent,
}

/// The data is not an instance.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    #[error("read a discovery entry as JSON")]
    Json(#[source] serde_json::Error),
    #[error("discovery entry has more than {MAX_INSTANCE_BYTES} bytes")]
    TooLong,
}

/// Bound of an entry that is read; one of MidoNet has about 200 bytes.
pub const MAX_INSTANCE_BYTES: usize = 64 << 10;

impl Instance {
    /// An instance with an address and a port, as agents need it.
    pub fn host_and_port(name: &str, id: &str, address: &str, port: u16, registration_ms: i64) -> Instance {
        Instance {
            name: name.to_owned(),
            id: id.to_owned(),
            address: Some(address.to_owned()),
            port: Some(port),
            registration_ms,
            service_type: ServiceType::Dynamic,
            uri: None,
        }
    }

    /// Reads an entry. Members that are missing or unknown don't matter; only the name must be there.
    pub fn parse(bytes: &[u8]) -> Result<Instance, InstanceError> {
        if bytes.len() > MAX_INSTANCE_BYTES {
            return Err(InstanceError::TooLong);
        }
        let raw: Read = serde_json::from_slice(bytes).map_err(InstanceError::Json)?;
        Ok(Instance {
            name: raw.name,
            id: raw.id,
            address: raw.address,
            port: raw.port.as_ref().and_then(port),
            registration_ms: raw.registration_ms.as_ref().and_then(Value::as_i64).unwrap_or(0),
            service_type: raw
                .service_type
                .and_then(|text| serde_json::from_value(text).ok())
                .unwrap_or(ServiceType::Dynamic),
            uri: raw.uri_spec.as_ref().and_then(uri),
        })
    }

    /// The entry's data.
    pub fn to_json(&self) -> String {
        let part = |value| Part { value, variable: false };
        let write = Write {
            name: &self.name,
            id: &self.id,
            address: self.address.as_deref(),
            port: self.port,
            ssl_port: None,
            payload: None,
            registration_ms: self.registration_ms,
            service_type: self.service_type,
            uri_spec: self.uri.as_deref().map(|uri| UriSpec { parts: [part(uri)] }),
        };
        serde_json::to_string(&write).expect("strings and numbers always have a JSON form")
    }

    /// What an agent connects to: nothing unless both are there.
    pub fn endpoint(&self) -> Option<(&str, u16)> {
        self.address.as_deref().zip(self.port)
    }
}

#[derive(Deserialize)]
struct Read {
    name: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    port: Option<Value>,
    #[serde(rename = "registrationTimeUTC", default)]
    registration_ms: Option<Value>,
    #[serde(rename = "serviceType", default)]
    service_type: Option<Value>,
    #[serde(rename = "uriSpec", default)]
    uri_spec: Option<Value>,
}

/// A number, or a string of one.
fn port(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64()?.try_into().ok(),
    }
}

/// The parts in a row; an instance with variables has no URI of its own.
fn uri(spec: &Value) -> Option<String> {
    let parts = spec.get("parts")?.as_array()?;
    let fixed = |part: &Value| {
        if part.get("variable")? == &Value::Bool(false) {
            part.get("value")?.as_str().map(str::to_owned)
        } else {
            None
        }
    };
    parts.iter().map(fixed).collect()
}

#[derive(Serialize)]
struct Write<'a> {
    name: &'a str,
    id: &'a str,
    address: Option<&'a str>,
    port: Option<u16>,
    #[serde(rename = "sslPort")]
    ssl_port: Option<u16>,
    payload: Option<()>,
    #[serde(rename = "registrationTimeUTC")]
    registration_ms: i64,
    #[serde(rename = "serviceType")]
    service_type: ServiceType,
    #[serde(rename = "uriSpec")]
    uri_spec: Option<UriSpec<'a>>,
}

#[derive(Serialize)]
struct UriSpec<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    value: &'a str,
    variable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_nine_members_in_order() {
        let instance = Instance::host_and_port("insights", "5d0c3f0e-6a55-4c6e-9f36-2f1f3c1b7a10", "192.0.2.10", 5005, 1494288000000);
        let expected = concat!(
            r#"{"name":"insights","id":"5d0c3f0e-6a55-4c6e-9f36-2f1f3c1b7a10","address":"192.0.2.10","port":5005,"sslPort":null,"#,
            r#""payload":null,"registrationTimeUTC":1494288000000,"serviceType":"DYNAMIC","uriSpec":null}"#
        );
        assert_eq!(instance.to_json(), expected);
        assert_eq!(Instance::parse(expected.as_bytes()).unwrap(), instance);
        assert_eq!(instance.endpoint(), Some(("192.0.2.10", 5005)));
    }

    #[test]
    fn reading_is_tolerant() {
        let instance = Instance::parse(br#"{"name":"clio","port":"5005","enabled":true,"serviceType":"NEW","address":"h"}"#).unwrap();
        assert_eq!(instance.endpoint(), Some(("h", 5005)));
        assert_eq!(instance.service_type, ServiceType::Dynamic);
        for port in ["null", "\"x\"", "70000", "-1", "{}"] {
            let text = format!(r#"{{"name":"clio","address":"h","port":{port}}}"#);
            assert_eq!(Instance::parse(text.as_bytes()).unwrap().endpoint(), None, "{port}");
        }
        let variable = br#"{"name":"n","uriSpec":{"parts":[{"value":"scheme","variable":true}]}}"#;
        assert_eq!(Instance::parse(variable).unwrap().uri, None);
        assert!(matches!(Instance::parse(b"{}"), Err(InstanceError::Json(_))));
        assert!(matches!(
            Instance::parse(&vec![b' '; MAX_INSTANCE_BYTES + 1]),
            Err(InstanceError::TooLong)
        ));
    }
}
