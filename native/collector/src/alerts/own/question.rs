// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! What a rule asks the store, with the names of the topology of now.

use insights_store::{End, FlowFilter, FlowTest, MeterKey};

use super::{Definition, DefinitionError, Measure, Within};
use crate::{
    accounts::TenantNames,
    query::{
        filter::{self, resolve::resolve},
        flows::SiteNames,
    },
    site::{Kind, PortKind, Site},
    web::meters_of,
};

/// Meters of one rule. A large tenant has more ports; their sum is in reports.
const MOST_METERS: usize = 4_096;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Question {
    Records(FlowFilter),
    Meters { keys: Vec<MeterKey>, packets: bool },
}

impl Definition {
    /// Whether all that it names is there.
    pub fn looks_at(&self, site: &Site, tenants: &TenantNames) -> Result<(), DefinitionError> {
        self.question(site, tenants).map(drop)
    }

    /// Fails where the site has not what it names.
    pub(super) fn question(&self, site: &Site, tenants: &TenantNames) -> Result<Question, DefinitionError> {
        self.check()?;
        if self.measure == Measure::Records {
            let filter = resolve(&filter::parse(&self.filter)?, &SiteNames(site, tenants))?;
            let place = match &self.scope {
                Within::Site => None,
                Within::Tenant { id } => Some(FlowTest::Tenant(End::Either, id.clone())),
                Within::Device { kind, id } => Some(match known(site, kind, *id)? {
                    Kind::Host => FlowTest::Host(*id),
                    Kind::Rule => FlowTest::RuleMatched(*id),
                    Kind::Network | Kind::Router | Kind::Port | Kind::Chain | Kind::LoadBalancer | Kind::Pool | Kind::PortGroup | Kind::Mirror => {
                        FlowTest::Device(*id)
                    }
                    other => return Err(DefinitionError::NotCounted(other.label().to_owned())),
                }),
            };
            return Ok(Question::Records(match place {
                Some(test) => filter.and(FlowFilter::Is(test)),
                None => filter,
            }));
        }
        let (incoming, outgoing): (Vec<MeterKey>, Vec<MeterKey>) = match &self.scope {
            Within::Site => ports(site, |port| port.kind == PortKind::Uplink, true),
            Within::Tenant { id } => ports(
                site,
                |port| matches!(port.kind, PortKind::Vm | PortKind::Exterior) && port.tenant.as_ref() == Some(id),
                false,
            ),
            Within::Device { kind, id } => {
                let kind = known(site, kind, *id)?;
                let groups = meters_of(site, kind, *id).ok_or_else(|| DefinitionError::NotCounted(kind.label().to_owned()))?;
                (groups.incoming, groups.outgoing)
            }
        };
        let mut keys = match self.measure {
            Measure::BitsIn | Measure::PacketsIn => incoming,
            Measure::BitsOut | Measure::PacketsOut => outgoing,
            _ => [incoming, outgoing].concat(),
        };
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Err(DefinitionError::Gone("metered port".to_owned()));
        }
        keys.truncate(MOST_METERS);
        Ok(Question::Meters {
            keys,
            packets: self.measure.packets(),
        })
    }
}

/// Meters of ports, in and out: of uplinks in is into the cloud, of VMs in is towards the VM.
fn ports(site: &Site, is: impl Fn(&crate::site::Port) -> bool, into_device: bool) -> (Vec<MeterKey>, Vec<MeterKey>) {
    let found = site.ports().filter(is).map(|port| {
        let (rx, tx) = (MeterKey::PortRx(port.id), MeterKey::PortTx(port.id));
        if into_device { (rx, tx) } else { (tx, rx) }
    });
    found.unzip()
}

fn known(site: &Site, slug: &str, id: uuid::Uuid) -> Result<Kind, DefinitionError> {
    let kind = Kind::from_slug(slug).ok_or_else(|| DefinitionError::Gone("device".to_owned()))?;
    match site.describe(id) {
        Some(object) if object.kind == kind => Ok(kind),
        _ => Err(DefinitionError::Gone(kind.label().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use insights_store::catalog::Level;
    use uuid::Uuid;

    use super::*;
    use crate::{alerts::own::Condition, site::golden_tests::golden_site};

    fn rule(measure: Measure, filter: &str, scope: Within) -> Definition {
        Definition {
            name: "x".into(),
            measure,
            filter: filter.into(),
            scope,
            condition: Condition::Absent { minutes: 5 },
            level: Level::Warning,
        }
    }

    #[test]
    fn a_rule_asks_what_the_pages_ask() {
        let (site, tenants) = (golden_site(), TenantNames::default());
        let host = site.hosts().next().unwrap();
        let of_host = Within::Device {
            kind: "host".into(),
            id: host.id,
        };
        let asked = rule(Measure::Records, "result = dropped", of_host.clone())
            .question(&site, &tenants)
            .unwrap();
        let Question::Records(FlowFilter::And(parts)) = &asked else {
            panic!("{asked:?}")
        };
        assert_eq!(parts.last(), Some(&FlowFilter::Is(FlowTest::Host(host.id))));
        let Question::Meters { keys, packets: false } = rule(Measure::BitsIn, "", of_host).question(&site, &tenants).unwrap() else {
            panic!("meters of ports")
        };
        assert_eq!(keys.len(), meters_of(&site, Kind::Host, host.id).unwrap().incoming.len());
        assert!(matches!(
            rule(Measure::Bits, "", Within::Site).question(&site, &tenants),
            Ok(Question::Meters { .. })
        ));
    }

    #[test]
    fn what_is_not_there_is_no_question() {
        let (site, tenants) = (golden_site(), TenantNames::default());
        let nil = |kind: &str| Within::Device {
            kind: kind.into(),
            id: Uuid::nil(),
        };
        for (definition, why) in [
            (rule(Measure::Records, "host = nobody", Within::Site), "nobody"),
            (rule(Measure::Records, "", nil("router")), "no such"),
            (rule(Measure::Bits, "", nil("nonsense")), "no such device"),
            (rule(Measure::Bits, "", Within::Tenant { id: "nobody".into() }), "no such metered port"),
        ] {
            let error = definition.question(&site, &tenants).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let zone = site.ids_of_class("TunnelZone").next().unwrap();
        let of_zone = Within::Device {
            kind: "tunnel_zone".into(),
            id: zone,
        };
        assert!(rule(Measure::Records, "", of_zone).question(&site, &tenants).is_err());
    }
}
